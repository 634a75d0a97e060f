"""Many small files in one call, without the interpreter: each is written where it is not to be seen yet, or moved.

One by one, from Python, each of a file's five system calls gives up the interpreter lock and asks for it again, beside
threads that do the same; here the lock is given up once for all files. `_files.pyi` is the description for callers.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.errno cimport EINTR, ENOSPC, errno
from libc.stdlib cimport calloc, free
from libc.string cimport strlen

from mta._pieces cimport iovec, mta_pass


cdef extern from * nogil:
    """
    #include <fcntl.h>
    #include <stdio.h>
    #include <unistd.h>
    """
    int O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW, O_CLOEXEC
    int openat(int folder_fd, const char* name, int flags, unsigned int mode)
    int renameat(int from_fd, const char* name, int to_fd, const char* new_name)
    int unlinkat(int folder_fd, const char* name, int flags)
    int fdatasync(int fd)
    int close(int fd)
    ssize_t writev(int fd, const iovec* pieces, int count)


cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL


cdef enum:
    PIECES = 2  # of a file: the fields in front, and the content
    MODE = 0o600

FILE_MODE = MODE


cdef struct File:
    const char* name
    int folder_fd
    int to_fd  # where it is moved to
    int error  # errno, 0 when it went well
    iovec pieces[PIECES]


# --- no Python from here on -----------------------------------------------------------------------------------------


cdef int write_pieces(int fd, iovec* piece) noexcept nogil:
    """Write all pieces, continuing after short writes; returns an errno or 0. Uses up `piece`."""
    cdef int left = PIECES
    cdef ssize_t written
    while left > 0:
        written = writev(fd, piece, left)
        if written < 0:
            if errno == EINTR:
                continue
            return errno
        if written == 0 and piece.iov_len + (piece[1].iov_len if left > 1 else 0) > 0:
            return ENOSPC  # no file that we write to does this; never spin
        piece = mta_pass(piece, &left, <size_t> written)
    return 0


cdef int store_one(File* file, bint sync) noexcept nogil:
    """Create one file and fill it; what fails is taken away again. Returns an errno or 0."""
    cdef int error
    cdef int fd = openat(file.folder_fd, file.name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, MODE)
    if fd < 0:
        return errno
    error = write_pieces(fd, file.pieces)
    if error == 0 and sync and fdatasync(fd) != 0:
        error = errno
    if close(fd) != 0 and error == 0:
        error = errno  # some file systems over a network tell here that the disk is full
    if error:
        unlinkat(file.folder_fd, file.name, 0)
    return error


# --- Python's side --------------------------------------------------------------------------------------------------


cdef const char* file_name(object name) except NULL:
    """The bytes of a name; they live as long as it does."""
    cdef Py_ssize_t size = 0
    cdef const char* text = PyUnicode_AsUTF8AndSize(name, &size)
    if strlen(text) != <size_t> size:
        raise ValueError("a file name holds no NUL")
    return text


cdef int set_piece(iovec* piece, bytes data) except -1:
    if data is None:
        raise TypeError("a piece of a file is bytes")
    piece.iov_base = PyBytes_AS_STRING(data)
    piece.iov_len = <size_t> PyBytes_GET_SIZE(data)
    return 0


cdef File* make_room(Py_ssize_t count) except NULL:
    """Memory for so many, all zeros; to be freed."""
    cdef File* files = <File*> calloc(<size_t> count + 1, sizeof(File))
    if files == NULL:
        raise MemoryError
    return files


cdef list errors(File* files, Py_ssize_t count):
    cdef Py_ssize_t index
    cdef list found = []
    for index in range(count):
        found.append(files[index].error)
    return found


def store(wanted, bint sync):
    cdef tuple held = tuple(wanted)  # keeps what the structs point at, whatever becomes of the caller's list
    cdef Py_ssize_t count = len(held)
    cdef Py_ssize_t index
    cdef tuple one
    cdef object name
    cdef bytes head, content
    cdef File* files = make_room(count)
    try:
        for index in range(count):
            one = held[index]
            files[index].folder_fd, name, head, content = one
            files[index].name = file_name(name)
            set_piece(&files[index].pieces[0], head)
            set_piece(&files[index].pieces[1], content)
        with nogil:
            for index in range(count):
                files[index].error = store_one(&files[index], sync)
        return errors(files, count)
    finally:
        free(files)


def move(wanted):
    cdef tuple held = tuple(wanted)
    cdef Py_ssize_t count = len(held)
    cdef Py_ssize_t index
    cdef tuple one
    cdef object name
    cdef File* files = make_room(count)
    try:
        for index in range(count):
            one = held[index]
            name, files[index].folder_fd, files[index].to_fd = one
            files[index].name = file_name(name)
        with nogil:
            for index in range(count):
                if renameat(files[index].folder_fd, files[index].name, files[index].to_fd, files[index].name) != 0:
                    files[index].error = errno
        return errors(files, count)
    finally:
        free(files)
