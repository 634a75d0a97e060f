/* Compares everything in mta/_blocks.h with plain loops, on blocks of few different bytes. Exit code 0: all is equal. */

#include <stdio.h>
#include <stdlib.h>

#include "_blocks.h"

enum { BLOCKS = 9, ROUNDS = 20000 };

static uint64_t state = 88172645463325252u;

static uint32_t chance(uint32_t below) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32) % below;
}

static void fill(unsigned char *bytes, size_t length) {
    static const unsigned char kinds[] = {'\r', '\n', '.', 0, 1, 127, 128, 255, 0x0b, 0x0c, 0x8a, 0x8d, 0xae, 'x'};
    uint32_t pairs = chance(3), line = 1 + chance(150), rare = chance(4) ? 1000 : 3;
    for (size_t at = 0; at < length; at++) {
        bytes[at] = chance(rare) ? 'a' : kinds[chance(sizeof kinds)];
        if (pairs && at && chance(line) == 0) {
            bytes[at - 1] = '\r';
            bytes[at] = '\n';
        }
    }
}

static void require(int condition, const char *what) {
    if (condition) return;
    printf("differs: %s\n", what);
    exit(1);
}

static void compare_masks(const unsigned char *bytes) {
    unsigned char copy[64];
    mta_block block = mta_load(bytes);
    mta_seen seen = mta_seen_nothing();
    uint64_t equal[3] = {0, 0, 0}, high = 0;
    int nul = 0;
    for (int at = 0; at < 64; at++) {
        equal[0] |= (uint64_t)(bytes[at] == '\n') << at;
        equal[1] |= (uint64_t)(bytes[at] == 0) << at;
        equal[2] |= (uint64_t)(bytes[at] == 255) << at;
        high |= (uint64_t)(bytes[at] > 127) << at;
        nul |= bytes[at] == 0;
    }
    mta_store(copy, block);
    mta_see(&seen, block);
    require(memcmp(copy, bytes, 64) == 0, "mta_store");
    require(mta_equal(block, '\n') == equal[0] && mta_equal(block, 0) == equal[1], "mta_equal");
    require(mta_equal(block, 255) == equal[2], "mta_equal of 255");
    require(mta_high(block) == high, "mta_high");
    require(mta_seen_nul(seen) == nul && mta_seen_high(seen) == (high != 0), "mta_see");
    if (high) {
        int lowest = 0, highest = 63, count = 0;
        while (!(high >> lowest & 1)) lowest++;
        while (!(high >> highest & 1)) highest--;
        for (int at = 0; at < 64; at++) count += (int)(high >> at & 1);
        require(mta_lowest(high) == lowest && mta_highest(high) == highest && mta_count(high) == count, "bits");
    }
}

static int is_plain(const unsigned char *bytes) {
    for (int at = 0; at < 64; at++) {
        if ((bytes[at] == '\n') != (bytes[at - 1] == '\r')) return 0;
        if (bytes[at] == '.' && bytes[at - 1] == '\n') return 0;
    }
    return 1;
}

/* One implementation against the definition. */
static void compare_plain(mta_take_plain_function take, const unsigned char *bytes) {
    unsigned char *target = malloc(64 * BLOCKS);
    uint64_t ends[BLOCKS + 1] = {(uint64_t)chance(4) << 62};
    ptrdiff_t plain = 0, begin = -(ptrdiff_t)chance(100), first = begin, longest = 0, upper = 0;
    mta_text text = {-begin, 0, 0, 0, 1, 0};
    int nul = 0, high = 0, empty = 0, before = (int)(ends[0] >> 63), before_that = (int)(ends[0] >> 62 & 1);
    while (plain < BLOCKS && is_plain(bytes + 64 * plain)) plain++;
    require(take(bytes, target, BLOCKS, ends + 1, &text) == plain, "blocks taken");
    require(memcmp(target, bytes, (size_t)(64 * plain)) == 0, "bytes copied");
    for (ptrdiff_t at = 0; at < 64 * plain; at++) {
        nul |= bytes[at] == 0;
        high |= bytes[at] > 127;
        require((bytes[at] == '\n') == (int)(ends[at / 64 + 1] >> at % 64 & 1), "line ends");
        empty |= bytes[at] == '\n' && before_that;
        before_that = before;
        before = bytes[at] == '\n';
        if (bytes[at] == '\n') {
            int within = begin != first && begin % 64 != 0 && begin / 64 == at / 64;
            if (!within && at - 1 - begin > longest) longest = at - 1 - begin;
            begin = at + 1;
        }
    }
    upper = 64 * plain - begin - 1 > longest && plain ? 64 * plain - begin - 1 : longest;
    require(text.line_bytes == 64 * plain - begin, "present line");
    /* The present line may count as far as its last byte but one. */
    require(text.longest_line >= longest && text.longest_line <= upper, "longest line");
    require((text.nul != 0) == nul && (text.high != 0) == high, "kinds of bytes");
    require((text.has_empty_line != 0) == empty, "empty line");
    free(target);
}

int main(void) {
    unsigned char *bytes = malloc(1 + 64 * BLOCKS); /* no byte more than may be read */
    for (int round = 0; round < ROUNDS; round++) {
        fill(bytes, 1 + 64 * BLOCKS);
        compare_masks(bytes + 1);
        compare_plain(mta_take_plain_any, bytes + 1);
#if defined(MTA_BLOCKS_AVX2)
        if (mta_has_avx2()) compare_plain(mta_take_plain_avx2, bytes + 1);
#endif
    }
    free(bytes);
#if defined(MTA_BLOCKS_AVX2)
    printf("%s\n", mta_has_avx2() ? "sse2 avx2" : "sse2");
#elif defined(MTA_BLOCKS_SSE2)
    printf("sse2\n");
#elif defined(MTA_BLOCKS_NEON)
    printf("neon\n");
#else
    printf("portable\n");
#endif
    return 0;
}
