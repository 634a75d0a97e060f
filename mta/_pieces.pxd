"""What `_pieces.h` has, for Cython."""

cdef extern from "_pieces.h" nogil:
    struct iovec:
        void* iov_base
        size_t iov_len
    iovec* mta_pass(iovec* piece, int* left, size_t written)
