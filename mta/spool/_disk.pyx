"""The disk thread: writes and syncs files on a native thread that never needs the interpreter.

The thread is a plain pthread. It takes jobs from a bounded ring, one after the other: write some buffers at an offset,
sync, store the committed position into shared memory, ring the reader's eventfd. It touches no Python object, so a slow
disk holds up neither the interpreter nor an event loop, and the position is published at the moment it is true, however
busy the interpreter is. `_disk.pyi` is the description for callers.

Memory order: a job is written by the submitting thread before `submitted` grows, and by the disk thread before `done`
grows; both counters change under the mutex only. The position's location is stored last and with release order.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_SetFromErrno
from libc.errno cimport EINTR, EINVAL, EIO, ENOSYS, EOPNOTSUPP, errno
from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free, realloc

from mta._pieces cimport iovec, mta_pass


cdef extern from * nogil:
    """
    #include <errno.h>
    #include <pthread.h>
    #include <signal.h>
    #include <sys/eventfd.h>
    #include <sys/uio.h>
    #include <unistd.h>

    static void mta_store(uint64_t *word, uint64_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }
    static uint64_t mta_load(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }

    static void mta_set_errno(int value) { errno = value; }

    /* Starts a thread that takes no signals: those are for the interpreter's main thread. */
    static int mta_start(pthread_t *thread, void *(*body)(void *), void *argument)
    {
        sigset_t all, before;
        int failed;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        failed = pthread_create(thread, NULL, body, argument);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        return failed;
    }
    """
    ctypedef unsigned long pthread_t
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_cond_t:
        pass
    int EFD_CLOEXEC, EFD_NONBLOCK
    int RWF_DSYNC
    int eventfd(unsigned int value, int flags)
    int close(int fd)
    int fsync(int fd)
    int fdatasync(int fd)
    ssize_t read(int fd, void* data, size_t size)
    ssize_t write(int fd, const void* data, size_t size)
    ssize_t pwritev2(int fd, const iovec* pieces, int count, long long offset, int flags)
    int pthread_mutex_init(pthread_mutex_t* mutex, void* attributes)
    int pthread_mutex_lock(pthread_mutex_t* mutex)
    int pthread_mutex_unlock(pthread_mutex_t* mutex)
    int pthread_mutex_destroy(pthread_mutex_t* mutex)
    int pthread_cond_init(pthread_cond_t* cond, void* attributes)
    int pthread_cond_wait(pthread_cond_t* cond, pthread_mutex_t* mutex)
    int pthread_cond_signal(pthread_cond_t* cond)
    int pthread_cond_destroy(pthread_cond_t* cond)
    int pthread_join(pthread_t thread, void** result)
    void mta_store(uint64_t* word, uint64_t value)
    void set_errno "mta_set_errno"(int value)
    uint64_t mta_load(const uint64_t* word)
    int mta_start(pthread_t* thread, void* (*body)(void*) noexcept nogil, void* argument)


cdef enum:
    JOBS = 256  # places in the ring; a power of two
    PIECES_PER_WRITE = 1024  # IOV_MAX of Linux
    POSITION_WORDS = 3
    SYNC_NONE = 0
    SYNC_RANGE = 1
    SYNC_DATA = 2
    SYNC_FULL = 3

NO_SYNC = SYNC_NONE
RANGE_SYNC = SYNC_RANGE
DATA_SYNC = SYNC_DATA
FULL_SYNC = SYNC_FULL
CAPACITY = JOBS


cdef struct Job:
    int fd
    int sync
    int publish
    int error  # errno, 0 when it went well
    long long offset
    iovec* pieces  # kept and grown from job to job
    int count
    int room
    uint64_t position[POSITION_WORDS]


cdef struct State:
    pthread_t thread
    pthread_mutex_t mutex
    pthread_cond_t wanted  # signalled when there is a job, or the end
    int running
    int stopping
    uint64_t submitted  # jobs ever put in
    uint64_t done  # jobs ever ended
    int done_fd
    int wake_fd
    uint64_t* position
    Job jobs[JOBS]


# --- the thread: no Python from here on -----------------------------------------------------------------------------


cdef int write_pieces(Job* job) noexcept nogil:
    """Write all buffers of a job, continuing after short writes; returns an errno or 0. Uses up `job.pieces`."""
    cdef iovec* piece = job.pieces
    cdef int left = job.count
    cdef long long offset = job.offset
    cdef int flags = RWF_DSYNC if job.sync == SYNC_RANGE and left <= PIECES_PER_WRITE else 0
    cdef ssize_t written
    while left > 0:
        written = pwritev2(job.fd, piece, min(left, PIECES_PER_WRITE), offset, flags)
        if written < 0:
            if errno == EINTR:
                continue
            if flags and (errno == EOPNOTSUPP or errno == EINVAL or errno == ENOSYS):
                flags = 0  # a file system without synchronous writes by flag: sync behind the write
                continue
            return errno
        if written == 0:
            return EIO  # no file that we write to does this; never spin
        offset += written
        piece = mta_pass(piece, &left, <size_t> written)
    if job.sync == SYNC_RANGE and flags == 0 and fdatasync(job.fd) != 0:
        return errno
    return 0


cdef int sync_file(Job* job) noexcept nogil:
    """The sync that a job asks for behind its write; returns an errno or 0."""
    cdef int failed = 0
    if job.sync == SYNC_DATA:
        failed = fdatasync(job.fd)
    elif job.sync == SYNC_FULL:
        failed = fsync(job.fd)
    return errno if failed else 0


cdef void ring(int fd) noexcept nogil:
    """Add one to an eventfd. It can fail only where the counter is full, and then it is readable anyway."""
    cdef uint64_t one = 1
    if write(fd, &one, sizeof(one)) < 0:
        pass


cdef void publish(State* state, Job* job) noexcept nogil:
    """Store a position, location last, and wake who waits for it."""
    cdef int word = POSITION_WORDS - 1
    if state.position != NULL:
        while word >= 0:
            mta_store(&state.position[word], job.position[word])
            word -= 1
    if state.wake_fd >= 0:
        ring(state.wake_fd)


cdef void* run(void* argument) noexcept nogil:
    """The thread: jobs in order, until it is stopped and none is left."""
    cdef State* state = <State*> argument
    cdef Job* job
    while True:
        pthread_mutex_lock(&state.mutex)
        while state.done == state.submitted and not state.stopping:
            pthread_cond_wait(&state.wanted, &state.mutex)
        if state.done == state.submitted:
            pthread_mutex_unlock(&state.mutex)
            return NULL
        job = &state.jobs[state.done % JOBS]
        pthread_mutex_unlock(&state.mutex)

        job.error = write_pieces(job)
        if job.error == 0:
            job.error = sync_file(job)
        if job.error == 0 and job.publish:
            publish(state, job)

        pthread_mutex_lock(&state.mutex)
        state.done += 1
        pthread_mutex_unlock(&state.mutex)
        ring(state.done_fd)


# --- the shell: Python's side ---------------------------------------------------------------------------------------


cdef class DiskThread:
    cdef State* state
    cdef uint64_t collected  # jobs whose result has been handed out
    cdef list held  # what the jobs in the ring refer to, one place a job
    cdef Py_buffer view
    cdef bint viewed

    def __cinit__(self, *, int wake_fd=-1, position=None):
        self.held = [None] * JOBS
        self.state = <State*> calloc(1, sizeof(State))
        if self.state == NULL:
            raise MemoryError
        self.state.wake_fd = wake_fd
        if position is not None:
            PyObject_GetBuffer(position, &self.view, PyBUF_SIMPLE | PyBUF_WRITABLE)
            self.viewed = True
            if <size_t> self.view.len < POSITION_WORDS * sizeof(uint64_t) or <size_t> self.view.buf % sizeof(uint64_t):
                raise ValueError("a position is three aligned words of 8 bytes")
            self.state.position = <uint64_t*> self.view.buf
        self.state.done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        if self.state.done_fd < 0:
            PyErr_SetFromErrno(OSError)
        pthread_mutex_init(&self.state.mutex, NULL)
        pthread_cond_init(&self.state.wanted, NULL)
        cdef int failed = mta_start(&self.state.thread, run, self.state)
        if failed:
            close(self.state.done_fd)
            set_errno(failed)
            PyErr_SetFromErrno(OSError)
        self.state.running = 1

    def __dealloc__(self):
        cdef int i
        self.stop()
        if self.viewed:
            PyBuffer_Release(&self.view)
        if self.state != NULL:
            for i in range(JOBS):
                free(self.state.jobs[i].pieces)
            free(self.state)

    cdef void stop(self) noexcept:
        cdef State* state = self.state
        if state == NULL or not state.running:
            return
        state.running = 0
        with nogil:
            pthread_mutex_lock(&state.mutex)
            state.stopping = 1
            pthread_cond_signal(&state.wanted)
            pthread_mutex_unlock(&state.mutex)
            pthread_join(state.thread, NULL)
        pthread_mutex_destroy(&state.mutex)
        pthread_cond_destroy(&state.wanted)
        close(state.done_fd)

    def submit(self, int fd, long long offset, buffers, int sync, publish=None):
        cdef State* state = self.state
        cdef tuple held = tuple(buffers)
        cdef uint64_t ticket = state.submitted
        cdef Job* job = &state.jobs[ticket % JOBS]
        cdef Py_ssize_t pieces = len(held)
        cdef void* grown
        cdef object piece
        if not state.running:
            raise ValueError("the disk thread is closed")
        if ticket - self.collected >= JOBS:
            raise BlockingIOError("the disk thread has no room; collect completions first")
        if pieces > job.room:
            grown = realloc(job.pieces, <size_t> pieces * sizeof(iovec))
            if grown == NULL:
                raise MemoryError
            job.pieces = <iovec*> grown
            job.room = <int> pieces
        job.count = 0
        for piece in held:
            if type(piece) is not bytes:
                raise TypeError("buffers are bytes objects")
            if PyBytes_GET_SIZE(piece) != 0:
                job.pieces[job.count].iov_base = PyBytes_AS_STRING(piece)
                job.pieces[job.count].iov_len = <size_t> PyBytes_GET_SIZE(piece)
                job.count += 1
        job.fd = fd
        job.offset = offset
        job.sync = sync
        job.error = 0
        job.publish = publish is not None
        if publish is not None:
            job.position[0], job.position[1], job.position[2] = publish
        self.held[ticket % JOBS] = held
        pthread_mutex_lock(&state.mutex)
        state.submitted += 1
        pthread_cond_signal(&state.wanted)
        pthread_mutex_unlock(&state.mutex)
        return ticket

    def room(self):
        return JOBS - (self.state.submitted - self.collected)

    def completions(self):
        cdef State* state = self.state
        cdef uint64_t done
        cdef uint64_t counter = 0
        cdef int place
        cdef list results = []
        if not state.running:
            return results
        # First empty the eventfd, then look: a job that ends in between rings it again.
        read(state.done_fd, &counter, sizeof(counter))
        pthread_mutex_lock(&state.mutex)
        done = state.done
        pthread_mutex_unlock(&state.mutex)
        while self.collected < done:
            place = self.collected % JOBS
            results.append((self.collected, state.jobs[place].error))
            self.held[place] = None
            self.collected += 1
        return results

    def fileno(self):
        if not self.state.running:
            raise ValueError("the disk thread is closed")
        return self.state.done_fd

    def close(self):
        self.stop()
        self.held = [None] * JOBS
        if self.viewed:
            PyBuffer_Release(&self.view)
            self.viewed = False
            self.state.position = NULL


def load(words, int index):
    """One 8-byte word of a mapped position, read in one piece and with acquire order."""
    cdef Py_buffer view
    PyObject_GetBuffer(words, &view, PyBUF_SIMPLE)
    try:
        if index < 0 or <size_t> view.len < (<size_t> index + 1) * sizeof(uint64_t) or <size_t> view.buf % 8:
            raise ValueError("not an aligned word of that memory")
        return mta_load(<const uint64_t*> view.buf + index)
    finally:
        PyBuffer_Release(&view)
