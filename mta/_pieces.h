/* Writing a list of pieces: what is left of it behind a short write. */
#ifndef MTA_PIECES_H
#define MTA_PIECES_H

#include <stddef.h>
#include <sys/uio.h>

/* Passes over `written` bytes of `*left` pieces: returns the first that is not written whole, cut to its rest. */
static inline struct iovec *mta_pass(struct iovec *piece, int *left, size_t written)
{
    while (*left > 0 && written >= piece->iov_len) {
        written -= piece->iov_len;
        piece++;
        (*left)--;
    }
    if (written > 0) {
        piece->iov_base = (char *)piece->iov_base + written;
        piece->iov_len -= written;
    }
    return piece;
}

#endif
