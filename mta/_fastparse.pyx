# cython: auto_pickle=False
"""Commands, lines and the DATA stream, compiled. `_fastparse.pyi` says what the names mean, `_blocks.h` finds bytes.

The stream is taken in blocks of 64 bytes. Plain ones, with nothing to remove, are most: `mta_take_plain` copies them,
many at a time. The other way is the careful one: masks, bit n for byte n, of where CR, LF and dot stand; shifts by one
pair each byte with the one before it, and a few flags carry that over to the next block or the next feed.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF
from libc.stdint cimport uint64_t
from libc.string cimport memchr, memcpy, memmove, memset

cdef extern from "Python.h":
    PyObject *new_bytes "PyBytes_FromStringAndSize"(const char *text, Py_ssize_t size) except NULL
    int _PyBytes_Resize(PyObject **text, Py_ssize_t size) except -1

cdef extern from "_blocks.h" nogil:
    ctypedef struct mta_block:
        pass
    mta_block mta_load(const unsigned char *source) noexcept
    uint64_t mta_equal(mta_block block, unsigned char value) noexcept
    uint64_t mta_high(mta_block block) noexcept
    int mta_lowest(uint64_t mask) noexcept
    int mta_count(uint64_t mask) noexcept
    ctypedef struct mta_text:
        Py_ssize_t line_bytes, longest_line
        bint nul, high, in_header, has_empty_line
    ctypedef Py_ssize_t (*mta_take_plain_function)(
        const unsigned char *source, unsigned char *target, Py_ssize_t blocks, uint64_t *line_ends, mta_text *text
    ) noexcept nogil
    mta_take_plain_function mta_choose_take_plain() noexcept

cdef enum:
    TAB = 0x09
    LF = 0x0A
    CR = 0x0D
    SPACE = 0x20
    DOT = 0x2E
    COLON = 0x3A
    LESS = 0x3C
    GREATER = 0x3E
    AT = 0x40
    HYPHEN = 0x2D
    LETTER_R = 0x52
    UPPER_MASK = 0xDF  # clears the bit between the cases of a letter; nothing but a letter becomes one
    BLOCK_BYTES = 64  # bits in a mask
    BLOCK_SHIFT = 6  # its logarithm
    CHUNK_BLOCKS = 512  # taken at once: 32 KiB, whose masks are 4 KiB on the stack
    RECEIVED_BYTES = 9  # "received:"
    RECEIVED_WITHIN = 131072  # bytes of content where it is looked for: each hop adds its own at the top
    LOCAL_BYTES = 64  # RFC 5321 section 4.5.3.1.1
    DOMAIN_BYTES = 255  # RFC 5321 section 4.5.3.1.2
    PATH_BYTES = 256  # RFC 5321 section 4.5.3.1.3, the angle brackets included
    LABEL_BYTES = 63  # RFC 1035 section 2.3.4
    IDLE_BYTES = 2048  # a line buffer over this size is given back once empty: idle sessions are many

cpdef enum:
    LINE_TOO_LONG = 1
    LINE_BARE_LF = 2


# --- the bytes of an argument -----------------------------------------------------------------------------------------

cdef struct Piece:
    const unsigned char *bytes
    Py_ssize_t length
    bint is_view  # `view` has to be released
    Py_buffer view


cdef inline int open_piece(Piece *piece, object data, Py_ssize_t start, Py_ssize_t end) except -1:
    """Point `piece` at `data[start:end]`; the caller closes it. Raises TypeError and ValueError."""
    cdef const unsigned char *whole
    cdef Py_ssize_t length
    piece.is_view = not PyBytes_CheckExact(data)
    if piece.is_view:
        PyObject_GetBuffer(data, &piece.view, PyBUF_SIMPLE)
        whole = <const unsigned char *>piece.view.buf
        length = piece.view.len
    else:
        whole = <const unsigned char *>PyBytes_AS_STRING(data)
        length = PyBytes_GET_SIZE(data)
    if end < 0:
        end = length
    if start < 0 or start > end or end > length:
        close_piece(piece)
        raise ValueError(f"start {start} and end {end} are not within {length} bytes")
    piece.bytes = whole + start
    piece.length = end - start
    return 0


cdef inline void close_piece(Piece *piece) noexcept:
    if piece.is_view:
        PyBuffer_Release(&piece.view)


cdef inline object adopt(PyObject *owned):
    """An object that we hold the only reference to, given to the reference counting of Cython."""
    cdef object result = <object>owned
    Py_DECREF(result)
    return result


# --- commands ---------------------------------------------------------------------------------------------------------

cdef enum:
    VERB_COUNT = 17
    VERB_BYTES = 8  # of the longest verb known; as many fit into one word
    ATEXT = 1  # RFC 5322 section 3.2.3
    LET_DIG = 2  # RFC 5321 section 4.1.2

# The most frequent first.
cdef tuple verbs = (
    b"MAIL", b"RCPT", b"DATA", b"EHLO", b"QUIT", b"RSET", b"HELO", b"NOOP",
    b"VRFY", b"HELP", b"EXPN", b"LHLO", b"BDAT", b"AUTH", b"STARTTLS", b"XCLIENT", b"XFORWARD",
)
cdef uint64_t[VERB_COUNT] verb_words
cdef unsigned char[256] kinds


cdef inline unsigned char upper(unsigned char byte) noexcept nogil:
    return byte - 32 if 97 <= byte <= 122 else byte


cdef inline uint64_t verb_word(const unsigned char *verb, Py_ssize_t length) noexcept nogil:
    """A verb of at most eight bytes as one number, in upper case. `length` bytes are readable."""
    cdef uint64_t word = 0
    cdef Py_ssize_t at
    for at in range(length):
        word = word << 8 | upper(verb[at])
    return word


cdef fill_tables():
    cdef int index, byte
    cdef bytes verb
    for index, verb in enumerate(verbs):
        verb_words[index] = verb_word(verb, len(verb))
    for byte in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789":
        kinds[byte] = ATEXT | LET_DIG
    for byte in b"!#$%&'*+-/=?^_`{|}~":
        kinds[byte] = ATEXT


fill_tables()


cdef bytes upper_verb(const unsigned char *text, Py_ssize_t length):
    cdef uint64_t word
    cdef Py_ssize_t index
    if length <= VERB_BYTES:
        word = verb_word(text, length)
        for index in range(VERB_COUNT):
            # The length tells a verb from one with NULs in front of it.
            if verb_words[index] == word and PyBytes_GET_SIZE(verbs[index]) == length:
                return <bytes>verbs[index]
    return text[:length].upper()


def parse_command(bytes line not None):
    cdef const unsigned char *text = <const unsigned char *>PyBytes_AS_STRING(line)
    cdef Py_ssize_t end = PyBytes_GET_SIZE(line)
    cdef Py_ssize_t verb_end = 0
    cdef Py_ssize_t begin
    while verb_end < end and text[verb_end] != SPACE and text[verb_end] != TAB:
        verb_end += 1
    begin = verb_end
    while begin < end and (text[begin] == SPACE or text[begin] == TAB):
        begin += 1
    while end > begin and (text[end - 1] == SPACE or text[end - 1] == TAB):
        end -= 1
    return upper_verb(text, verb_end), text[begin:end]


cdef inline Py_ssize_t dot_string(const unsigned char *text, Py_ssize_t length) noexcept nogil:
    """Bytes of the dot-atom that `text` begins with, 0 when there is none."""
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t atom
    while True:
        atom = at
        while at < length and kinds[text[at]] & ATEXT:
            at += 1
        if at == atom:
            return 0
        if at == length or text[at] != DOT:
            return at
        at += 1


cdef inline Py_ssize_t domain_name(const unsigned char *text, Py_ssize_t length) noexcept nogil:
    """Bytes of the domain name that `text` begins with, 0 when there is none."""
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t label
    while True:
        label = at
        while at < length and (kinds[text[at]] & LET_DIG or text[at] == HYPHEN):
            at += 1
        if at == label or at - label > LABEL_BYTES or text[label] == HYPHEN or text[at - 1] == HYPHEN:
            return 0
        # RFC 5890 section 2.3.1: such a label, an A-label it should be, has more rules than these.
        if at - label > 3 and text[label + 2] == HYPHEN and text[label + 3] == HYPHEN:
            return 0
        if at == length or text[at] != DOT:
            return at
        at += 1


def parse_path(bytes argument not None, bytes keyword not None):
    cdef const unsigned char *text = <const unsigned char *>PyBytes_AS_STRING(argument)
    cdef const unsigned char *name = <const unsigned char *>PyBytes_AS_STRING(keyword)
    cdef Py_ssize_t length = PyBytes_GET_SIZE(argument)
    cdef Py_ssize_t at = PyBytes_GET_SIZE(keyword)
    cdef Py_ssize_t index, path, local_bytes, domain_bytes
    cdef bytes local, domain
    if at >= length or text[at] != COLON:
        return None
    for index in range(at):
        if upper(text[index]) != name[index]:
            return None
    at += 1
    while at < length and (text[at] == SPACE or text[at] == TAB):
        at += 1
    path = at
    if at + 1 >= length or text[at] != LESS:
        return None
    at += 1
    local_bytes = domain_bytes = 0
    if text[at] != GREATER:
        local_bytes = dot_string(text + at, length - at)
        at += local_bytes
        if local_bytes == 0 or local_bytes > LOCAL_BYTES or at == length or text[at] != AT:
            return None
        at += 1
        domain_bytes = domain_name(text + at, length - at)
        at += domain_bytes
        if domain_bytes == 0 or domain_bytes > DOMAIN_BYTES or at == length or text[at] != GREATER:
            return None
    at += 1
    if at - path > PATH_BYTES:
        return None
    path += 1
    local = text[path:path + local_bytes]
    domain = text[path + local_bytes + 1:path + local_bytes + 1 + domain_bytes] if domain_bytes else b""
    if at < length and text[at] != SPACE and text[at] != TAB:
        return None
    while at < length and (text[at] == SPACE or text[at] == TAB):
        at += 1
    while length > at and (text[length - 1] == SPACE or text[length - 1] == TAB):
        length -= 1
    return local, domain, text[at:length]


# --- lines ------------------------------------------------------------------------------------------------------------

@cython.final
cdef class LineSplitter:
    # What is not yet returned is buffer[begin:end]; there is no LF in buffer[begin:scanned].
    cdef unsigned char *buffer
    cdef Py_ssize_t capacity, begin, scanned, end
    cdef Py_ssize_t limit_bytes
    cdef bint dropped  # the beginning of an over-long line

    def __init__(self, Py_ssize_t limit_bytes):
        if limit_bytes < 2:
            raise ValueError("limit_bytes has to have room for CR LF")
        self.limit_bytes = limit_bytes

    def __dealloc__(self):
        PyMem_Free(self.buffer)

    @property
    def pending(self):
        return self.end - self.begin

    def feed(self, data, Py_ssize_t start=0, Py_ssize_t end=-1):
        cdef Piece piece
        open_piece(&piece, data, start, end)
        try:
            if piece.length > 0:
                self.make_room(piece.length)
                memcpy(self.buffer + self.end, piece.bytes, piece.length)
                self.end += piece.length
        finally:
            close_piece(&piece)

    cdef int make_room(self, Py_ssize_t length) except -1:
        """Make `length` bytes behind `end` writable. Raises MemoryError."""
        cdef Py_ssize_t needed = self.end - self.begin + length
        cdef void *grown
        if self.end + length <= self.capacity:
            return 0
        if self.begin > 0:
            memmove(self.buffer, self.buffer + self.begin, self.end - self.begin)
            self.scanned -= self.begin
            self.end -= self.begin
            self.begin = 0
        if needed > self.capacity:
            needed = (needed + 255) & ~<Py_ssize_t>255
            grown = PyMem_Realloc(self.buffer, needed)
            if grown is NULL:
                raise MemoryError
            self.buffer = <unsigned char *>grown
            self.capacity = needed
        return 0

    def next_line(self):
        cdef Py_ssize_t begin = self.begin
        cdef Py_ssize_t length
        cdef const unsigned char *found = NULL
        cdef bint too_long
        cdef bytes line = None
        if self.scanned < self.end:
            found = <const unsigned char *>memchr(self.buffer + self.scanned, LF, self.end - self.scanned)
        if found is NULL:
            self.scanned = self.end
            if self.dropped or self.end - begin >= self.limit_bytes:
                self.dropped = True
                self.forget(self.end)
            return None
        length = found + 1 - (self.buffer + begin)
        too_long = self.dropped or length > self.limit_bytes
        self.dropped = False
        if not too_long and length >= 2 and self.buffer[begin + length - 2] == CR:
            line = self.buffer[begin:begin + length - 2]
        self.forget(begin + length)
        if line is not None:
            return line
        return LINE_TOO_LONG if too_long else LINE_BARE_LF

    def take(self, Py_ssize_t limit_bytes):
        cdef Py_ssize_t end
        cdef bytes taken
        if limit_bytes < 0:
            raise ValueError("limit_bytes is negative")
        end = self.begin + min(self.end - self.begin, limit_bytes)
        taken = self.buffer[self.begin:end] if end > self.begin else b""
        self.forget(end)
        self.dropped = False
        return taken

    cdef void forget(self, Py_ssize_t begin) noexcept:
        """Take everything before `begin` as returned."""
        self.begin = self.scanned = begin
        if begin < self.end:
            return
        self.begin = self.scanned = self.end = 0
        if self.capacity > IDLE_BYTES:
            PyMem_Free(self.buffer)
            self.buffer = NULL
            self.capacity = 0


# --- the DATA stream --------------------------------------------------------------------------------------------------

cdef mta_take_plain_function mta_take_plain = mta_choose_take_plain()

cdef struct Stream:
    uint64_t removes_dots  # all bits, or none: then the dots that begin a line are content, and nothing is the end
    # What stands before the next byte, each 0 or 1 as one bit of a mask: a CR; CR LF, or nothing; CR LF dot; CR LF dot
    # CR; CR LF CR.
    uint64_t after_cr, after_eol, after_dot, after_dot_cr, after_empty_cr
    # The feed at hand: `used` of `length` bytes are taken, `written` bytes of content are in the target.
    const unsigned char *source
    Py_ssize_t length, used
    unsigned char *target
    Py_ssize_t written
    # Where the content of the present line began, counted as `used` is; negative when that was in an earlier feed.
    Py_ssize_t line_begin
    Py_ssize_t name_matched  # bytes of "received:" at the end of the last feed
    # What is told to the caller.
    Py_ssize_t size, longest_line, header_end, received_count
    bint done, bare_cr, bare_lf, nul, eight_bit
    bint ended  # the caller said so


cdef void match_name(Stream *s, const unsigned char *text, Py_ssize_t available) noexcept nogil:
    """Compare what begins, or goes on, at `text` with "received:" and count it when it is that."""
    cdef const unsigned char *wanted = b"RECEIVED"
    cdef Py_ssize_t matched = s.name_matched
    cdef Py_ssize_t at = 0
    # hot loop begins
    while at < available and matched < RECEIVED_BYTES - 1 and text[at] & UPPER_MASK == wanted[matched]:
        at += 1
        matched += 1
    if at == available:
        s.name_matched = matched
        return
    s.name_matched = 0
    if matched == RECEIVED_BYTES - 1 and text[at] == COLON:
        s.received_count += 1
    # hot loop ends


cdef inline uint64_t all_through(int bit) noexcept nogil:
    """The mask of the bits 0 to `bit`, which is at most 63."""
    return ~<uint64_t>0 >> (BLOCK_BYTES - 1 - bit)


cdef void take_header(
    Stream *s, Py_ssize_t at, Py_ssize_t content, uint64_t names, uint64_t empty_ends, uint64_t dots
) noexcept nogil:
    """Look at the header in the block at source[at], whose first byte is or follows that many bytes of `content`.

    The masks: where the content of lines begins, where empty lines end, which dots are removed. A name is compared with
    as much as the feed has of it, also beyond the block.
    """
    cdef int bit
    # hot loop begins
    if empty_ends:
        bit = mta_lowest(empty_ends)
        names &= all_through(bit)
        s.header_end = content + bit + 1 - mta_count(dots & all_through(bit))
    while names:
        bit = mta_lowest(names)
        names &= names - 1
        if s.source[at + bit] & UPPER_MASK == LETTER_R:
            if content + bit - mta_count(dots & all_through(bit)) < RECEIVED_WITHIN:
                match_name(s, s.source + at + bit, s.length - at - bit)
    # hot loop ends


cdef void take_plain(Stream *s) noexcept nogil:
    """Take whole blocks, as many as there are with nothing in them to remove or to report but NUL and 8-bit.

    At least one byte of the feed has been taken before. No more is written than was read, so the target, which has room
    for the feed and a CR held back before it, cannot be overrun.
    """
    # The first is what came before the chunk, in its two highest bits.
    cdef uint64_t[CHUNK_BLOCKS + 1] line_ends
    cdef mta_text text
    cdef Py_ssize_t blocks, taken, index
    text.line_bytes = s.used - s.line_begin
    text.longest_line = s.longest_line
    text.nul = s.nul
    text.high = s.eight_bit
    # hot loop begins
    while True:
        blocks = min((s.length - s.used) >> BLOCK_SHIFT, CHUNK_BLOCKS)
        line_ends[0] = s.after_eol << (BLOCK_BYTES - 1) | s.after_empty_cr << (BLOCK_BYTES - 2)
        text.in_header = s.header_end < 0
        text.has_empty_line = False
        taken = mta_take_plain(s.source + s.used, s.target + s.written, blocks, line_ends + 1, &text)
        if taken == 0:
            break
        if text.has_empty_line or (text.in_header and s.size + s.written < RECEIVED_WITHIN):
            take_plain_header(s, line_ends, taken)
        if text.longest_line < BLOCK_BYTES:
            for index in range(1, taken + 1):
                text.longest_line = longest_within(line_ends[index], text.longest_line)
        s.used += taken << BLOCK_SHIFT
        s.written += taken << BLOCK_SHIFT
        s.after_cr = s.source[s.used - 1] == CR
        s.after_eol = line_ends[taken] >> (BLOCK_BYTES - 1)
        s.after_empty_cr = s.after_cr & (line_ends[taken] >> (BLOCK_BYTES - 2))
    # hot loop ends
    s.line_begin = s.used - text.line_bytes
    s.longest_line = text.longest_line
    s.nul = text.nul
    s.eight_bit = text.high


cdef void take_plain_header(Stream *s, const uint64_t *line_ends, Py_ssize_t blocks) noexcept nogil:
    """The same for the blocks that are about to be taken as plain ones. As CR and LF come together in these, two line
    ends at two bytes' distance are an empty line.
    """
    cdef Py_ssize_t content = s.size + s.written - s.used  # before source[0], as there are no dots to remove
    cdef Py_ssize_t at = s.used
    cdef Py_ssize_t index, name
    cdef uint64_t eol, before, names, empty_ends
    # hot loop begins
    for index in range(1, blocks + 1):
        eol = line_ends[index]
        before = line_ends[index - 1]
        names = eol << 1 | before >> (BLOCK_BYTES - 1)
        empty_ends = eol & (eol << 2 | before >> (BLOCK_BYTES - 2))
        if empty_ends:
            take_header(s, at, content + at, names, empty_ends, 0)
            return
        while names:
            name = at + mta_lowest(names)
            names &= names - 1
            if s.source[name] & UPPER_MASK == LETTER_R and content + name < RECEIVED_WITHIN:
                match_name(s, s.source + name, s.length - name)
        at += BLOCK_BYTES
    # hot loop ends


cdef inline Py_ssize_t longest_within(uint64_t eol, Py_ssize_t longest_line) noexcept nogil:
    """The longest of the lines that begin and end in one block, or `longest_line`."""
    cdef int before
    # hot loop begins
    while eol & (eol - 1):
        before = mta_lowest(eol)
        eol &= eol - 1
        if mta_lowest(eol) - 2 - before > longest_line:
            longest_line = mta_lowest(eol) - 2 - before
    # hot loop ends
    return longest_line


cdef void take_carefully(Stream *s) noexcept nogil:
    """Take one block, or what is left of the feed, whatever is in it: dots to remove, the end of the message.

    Reads source[used:used + count] with count <= length - used, through a padded copy when that is no whole block.
    Writes at most count bytes.
    """
    cdef const unsigned char *source = s.source + s.used
    cdef Py_ssize_t count = min(s.length - s.used, BLOCK_BYTES)
    cdef unsigned char[BLOCK_BYTES] padded
    cdef mta_block block
    cdef uint64_t cr, lf, paired, eol, begins, dots, empty_cr, dot_cr, final_lf, valid
    if count < BLOCK_BYTES:
        memset(padded, SPACE, BLOCK_BYTES)
        memcpy(padded, source, count)
        source = padded
    block = mta_load(source)
    source = s.source + s.used
    valid = all_through(count - 1)
    cr = mta_equal(block, CR)
    lf = mta_equal(block, LF)
    paired = cr << 1 | s.after_cr
    eol = lf & paired
    begins = eol << 1 | s.after_eol
    dots = mta_equal(block, DOT) & begins & s.removes_dots
    dot_cr = cr & (dots << 1 | s.after_dot)
    final_lf = lf & (dot_cr << 1 | s.after_dot_cr)
    if final_lf:
        s.done = True
        count = mta_lowest(final_lf) + 1
        valid = all_through(count - 1)
        eol &= ~final_lf  # it ends no line of content
    eol &= valid
    dots &= valid
    begins &= valid
    s.bare_cr |= (paired & ~lf & valid) != 0
    s.bare_lf |= (lf & ~paired & valid) != 0
    s.nul |= (mta_equal(block, 0) & valid) != 0
    s.eight_bit |= (mta_high(block) & valid) != 0
    empty_cr = cr & begins
    if s.header_end < 0:
        take_header(
            s, s.used, s.size + s.written, (begins & ~dots | dots << 1 | s.after_dot) & valid,
            eol & (empty_cr << 1 | s.after_empty_cr), dots,
        )
    measure_lines(s, eol, dots)
    write_without(s, source, count, dots)
    s.after_cr = cr >> (count - 1) & 1
    s.after_eol = eol >> (count - 1) & 1
    s.after_dot = dots >> (count - 1) & 1
    s.after_dot_cr = dot_cr >> (count - 1) & 1
    s.after_empty_cr = empty_cr >> (count - 1) & 1
    s.used += count


cdef inline void measure_lines(Stream *s, uint64_t eol, uint64_t dots) noexcept nogil:
    """Note the lengths of the lines that end in the block at `used`; a line's content begins behind a removed dot."""
    cdef uint64_t edges = eol | dots
    cdef uint64_t edge
    cdef Py_ssize_t at
    # hot loop begins
    while edges:
        at = s.used + mta_lowest(edges)
        edge = edges & -edges
        if eol & edge and at - 1 - s.line_begin > s.longest_line:
            s.longest_line = at - 1 - s.line_begin
        s.line_begin = at + 1
        edges ^= edge
    # hot loop ends


cdef inline void write_without(Stream *s, const unsigned char *source, Py_ssize_t count, uint64_t dots) noexcept nogil:
    """Write `count` bytes but for the dots; at the end of the message not its CR LF either."""
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t dot
    if s.done:
        count -= 2
        if count < 0:
            # The CR came in the block before, or was held back, and has been written.
            count = 0
            s.written -= 1
    # hot loop begins
    while dots:
        dot = mta_lowest(dots)
        dots &= dots - 1
        memcpy(s.target + s.written, source + at, dot - at)
        s.written += dot - at
        at = dot + 1
    if count > at:
        memcpy(s.target + s.written, source + at, count - at)
        s.written += count - at
    # hot loop ends


cdef inline void take(Stream *s) noexcept nogil:
    """Take the feed up to its end or that of the message."""
    if s.after_dot_cr:
        s.target[0] = CR  # held back by the last feed
        s.written = 1
    if s.name_matched:
        match_name(s, s.source, s.length)
    while s.used < s.length and not s.done:
        if s.used > 0 and s.after_dot | s.after_dot_cr == 0:
            take_plain(s)
        if s.used < s.length:
            take_carefully(s)
    if not s.done:
        # So far; a CR at its end may still be that of a CR LF.
        s.longest_line = max(s.longest_line, s.length - s.line_begin - <Py_ssize_t>s.after_cr)
        s.line_begin -= s.length
        if s.after_dot_cr:
            s.written -= 1


@cython.final
@cython.freelist(16)
cdef class Unstuffer:
    cdef Stream stream
    cdef Py_ssize_t limit_bytes
    cdef Py_ssize_t consumed_

    def __init__(self, Py_ssize_t limit_bytes, bint stuffed=True):
        if limit_bytes < 0:
            raise ValueError("limit_bytes is negative")
        memset(&self.stream, 0, sizeof(Stream))
        self.stream.removes_dots = ~<uint64_t>0 if stuffed else 0
        self.stream.after_eol = 1
        self.stream.header_end = -1
        self.limit_bytes = limit_bytes
        self.consumed_ = 0

    def feed(self, data, Py_ssize_t start=0, Py_ssize_t end=-1):
        cdef Stream *s = &self.stream
        cdef Piece piece
        cdef PyObject *content
        cdef Py_ssize_t room, kept
        if s.done or s.ended:
            raise ValueError("the message has ended already")
        open_piece(&piece, data, start, end)
        try:
            room = piece.length + <Py_ssize_t>s.after_dot_cr
            content = new_bytes(NULL, room)
            s.source = piece.bytes
            s.length = piece.length
            s.used = 0
            s.target = <unsigned char *>PyBytes_AS_STRING(<object>content)
            s.written = 0
            take(s)
        finally:
            close_piece(&piece)
        self.consumed_ = start + s.used
        kept = min(s.written, max(self.limit_bytes - s.size, 0))
        s.size += s.written
        if kept != room:
            _PyBytes_Resize(&content, kept)
        return adopt(content)

    def end(self):
        cdef Stream *s = &self.stream
        s.ended = True
        if s.after_cr:
            # No LF can come any more: it is a part of its line.
            s.bare_cr = True
            s.longest_line = max(s.longest_line, -s.line_begin)

    @property
    def done(self):
        return self.stream.done

    @property
    def consumed(self):
        return self.consumed_

    @property
    def size(self):
        return self.stream.size

    @property
    def oversize(self):
        return self.stream.size > self.limit_bytes

    @property
    def header_end(self):
        return self.stream.header_end

    @property
    def bare_cr(self):
        return self.stream.bare_cr

    @property
    def bare_lf(self):
        return self.stream.bare_lf

    @property
    def nul(self):
        return self.stream.nul

    @property
    def eight_bit(self):
        return self.stream.eight_bit

    @property
    def longest_line(self):
        return self.stream.longest_line

    @property
    def received_count(self):
        return self.stream.received_count


# --- the way back -----------------------------------------------------------------------------------------------------

cdef struct Edge:
    bint after_cr, after_eol  # what stands before the next byte: a CR; CR LF, or nothing


cdef inline bint ends_line(const Edge *edge, const unsigned char *source, Py_ssize_t at) noexcept nogil:
    """Whether a line ends just before source[at]."""
    if at == 0:
        return edge.after_eol
    return source[at - 1] == LF and (source[at - 2] == CR if at > 1 else edge.after_cr)


cdef Py_ssize_t find_dot(
    const Edge *edge, const unsigned char *source, Py_ssize_t at, Py_ssize_t length
) noexcept nogil:
    """The first index from `at` on of a dot that begins a line, or `length`."""
    cdef const unsigned char *lf
    # hot loop begins
    while at < length:
        if source[at] == DOT and ends_line(edge, source, at):
            return at
        lf = <const unsigned char *>memchr(source + at, LF, length - at)
        if lf is NULL:
            break
        at = lf + 1 - source
    # hot loop ends
    return length


cdef Py_ssize_t double_dots(
    const Edge *edge, const unsigned char *source, Py_ssize_t length, unsigned char *target
) noexcept nogil:
    """Count the dots that begin a line; with a target, write the source there with these doubled.

    The target has room for `length` bytes and as many dots as a first call has counted.
    """
    cdef Py_ssize_t doubled = 0
    cdef Py_ssize_t begin = 0
    cdef Py_ssize_t dot = find_dot(edge, source, 0, length)
    # hot loop begins
    while dot < length:
        if target is not NULL:
            memcpy(target + begin + doubled, source + begin, dot - begin)
            target[dot + doubled] = DOT
        begin = dot
        doubled += 1
        dot = find_dot(edge, source, dot + 1, length)
    # hot loop ends
    if target is not NULL:
        memcpy(target + begin + doubled, source + begin, length - begin)
    return doubled


cdef object stuffed(Edge *edge, object data, bint whole):
    """The data with dots doubled, with the end of the message behind it when it is the whole; brings `edge` forward."""
    cdef Piece piece
    cdef Edge behind
    cdef Py_ssize_t doubled
    cdef PyObject *wire = NULL
    cdef unsigned char *target
    cdef bytes end
    open_piece(&piece, data, 0, -1)
    try:
        doubled = double_dots(edge, piece.bytes, piece.length, NULL)
        behind.after_cr = piece.bytes[piece.length - 1] == CR if piece.length else edge.after_cr
        behind.after_eol = ends_line(edge, piece.bytes, piece.length)
        if not doubled and not whole and not piece.is_view:
            edge[0] = behind
            return data
        end = finish(&behind) if whole else b""
        wire = new_bytes(NULL, piece.length + doubled + PyBytes_GET_SIZE(end))
        target = <unsigned char *>PyBytes_AS_STRING(<object>wire)
        double_dots(edge, piece.bytes, piece.length, target)
        memcpy(target + piece.length + doubled, PyBytes_AS_STRING(end), PyBytes_GET_SIZE(end))
        edge[0] = behind
    finally:
        close_piece(&piece)
    return adopt(wire)


cdef inline bytes finish(Edge *edge):
    return b".\r\n" if edge.after_eol else b"\r\n.\r\n"


@cython.final
cdef class Stuffer:
    cdef Edge edge

    def __init__(self):
        self.edge.after_cr = 0
        self.edge.after_eol = 1

    def feed(self, data):
        return stuffed(&self.edge, data, False)

    def finish(self):
        return finish(&self.edge)


def stuff(data):
    cdef Edge edge
    edge.after_cr = 0
    edge.after_eol = 1
    return stuffed(&edge, data, True)
