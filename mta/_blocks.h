/* Blocks of 64 bytes and where in them the bytes of interest are: bit n of a mask speaks of byte n.
 *
 * mta_load, mta_store     64 bytes from and to any address
 * mta_equal               the mask of the bytes equal to one value
 * mta_high                the mask of the bytes over 127
 * mta_see                 keeps in mind which kinds of bytes there were: cheaper than masks when only that is asked
 * mta_lowest, mta_highest, mta_count   of the set bits of a mask that is not 0
 * mta_take_plain          copies block after block of ordinary text, and measures its lines
 *
 * There are three ways, with equal results: SSE2, which every x86-64 has; NEON, which every 64-bit ARM has; and 64-bit
 * words for any other machine, or when MTA_BLOCKS_PORTABLE is defined. mta_take_plain, where nearly all the time goes, has
 * a fourth for AVX2, chosen by what the processor says at run time. tests/test_fastparse_blocks.py compares them.
 */
#ifndef MTA_BLOCKS_H
#define MTA_BLOCKS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(MTA_BLOCKS_PORTABLE)
#elif defined(__SSE2__)
#define MTA_BLOCKS_SSE2
#include <emmintrin.h>
#if defined(__x86_64__) && defined(__GNUC__)
#define MTA_BLOCKS_AVX2
#include <cpuid.h>
#include <immintrin.h>
#endif
#elif defined(__aarch64__) && defined(__ARM_NEON) && !defined(__AARCH64EB__)
#define MTA_BLOCKS_NEON
#include <arm_neon.h>
#endif

#if defined(MTA_BLOCKS_SSE2)

typedef struct { __m128i v[4]; } mta_block;
typedef struct { __m128i least, most; } mta_seen;

static inline mta_block mta_load(const unsigned char *from) {
    mta_block b;
    for (int k = 0; k < 4; k++) b.v[k] = _mm_loadu_si128((const __m128i *)(const void *)(from + 16 * k));
    return b;
}

static inline void mta_store(unsigned char *to, mta_block b) {
    for (int k = 0; k < 4; k++) _mm_storeu_si128((__m128i *)(void *)(to + 16 * k), b.v[k]);
}

static inline uint64_t mta_pack(__m128i a, __m128i b, __m128i c, __m128i d) {
    uint32_t low = (uint32_t)_mm_movemask_epi8(a) | (uint32_t)_mm_movemask_epi8(b) << 16;
    uint32_t high = (uint32_t)_mm_movemask_epi8(c) | (uint32_t)_mm_movemask_epi8(d) << 16;
    return low | (uint64_t)high << 32;
}

static inline uint64_t mta_equal(mta_block b, unsigned char value) {
    __m128i all = _mm_set1_epi8((char)value);
    return mta_pack(_mm_cmpeq_epi8(b.v[0], all), _mm_cmpeq_epi8(b.v[1], all),
                    _mm_cmpeq_epi8(b.v[2], all), _mm_cmpeq_epi8(b.v[3], all));
}

static inline uint64_t mta_high(mta_block b) { return mta_pack(b.v[0], b.v[1], b.v[2], b.v[3]); }

static inline mta_seen mta_seen_nothing(void) {
    mta_seen s = {_mm_set1_epi8(127), _mm_setzero_si128()};
    return s;
}

static inline void mta_see(mta_seen *s, mta_block b) {
    s->least = _mm_min_epu8(s->least, _mm_min_epu8(_mm_min_epu8(b.v[0], b.v[1]), _mm_min_epu8(b.v[2], b.v[3])));
    s->most = _mm_or_si128(s->most, _mm_or_si128(_mm_or_si128(b.v[0], b.v[1]), _mm_or_si128(b.v[2], b.v[3])));
}

static inline int mta_seen_nul(mta_seen s) {
    return _mm_movemask_epi8(_mm_cmpeq_epi8(s.least, _mm_setzero_si128())) != 0;
}

static inline int mta_seen_high(mta_seen s) { return _mm_movemask_epi8(s.most) != 0; }

#elif defined(MTA_BLOCKS_NEON)

typedef struct { uint8x16_t v[4]; } mta_block;
typedef struct { uint8x16_t least, most; } mta_seen;

static inline mta_block mta_load(const unsigned char *from) {
    mta_block b;
    for (int k = 0; k < 4; k++) b.v[k] = vld1q_u8(from + 16 * k);
    return b;
}

static inline void mta_store(unsigned char *to, mta_block b) {
    for (int k = 0; k < 4; k++) vst1q_u8(to + 16 * k, b.v[k]);
}

/* Each argument has 0 or 255 in every byte: keep one bit of each, then add neighbours until eight bits share a byte. */
static inline uint64_t mta_pack(uint8x16_t a, uint8x16_t b, uint8x16_t c, uint8x16_t d) {
    const uint8x16_t bit = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint8x16_t low = vpaddq_u8(vandq_u8(a, bit), vandq_u8(b, bit));
    uint8x16_t high = vpaddq_u8(vandq_u8(c, bit), vandq_u8(d, bit));
    uint8x16_t sums = vpaddq_u8(low, high);
    return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(sums, sums)), 0);
}

static inline uint64_t mta_equal(mta_block b, unsigned char value) {
    uint8x16_t all = vdupq_n_u8(value);
    return mta_pack(vceqq_u8(b.v[0], all), vceqq_u8(b.v[1], all), vceqq_u8(b.v[2], all), vceqq_u8(b.v[3], all));
}

static inline uint64_t mta_high(mta_block b) {
    uint8x16_t limit = vdupq_n_u8(127);
    return mta_pack(vcgtq_u8(b.v[0], limit), vcgtq_u8(b.v[1], limit), vcgtq_u8(b.v[2], limit), vcgtq_u8(b.v[3], limit));
}

static inline mta_seen mta_seen_nothing(void) {
    mta_seen s = {vdupq_n_u8(127), vdupq_n_u8(0)};
    return s;
}

static inline void mta_see(mta_seen *s, mta_block b) {
    s->least = vminq_u8(s->least, vminq_u8(vminq_u8(b.v[0], b.v[1]), vminq_u8(b.v[2], b.v[3])));
    s->most = vorrq_u8(s->most, vorrq_u8(vorrq_u8(b.v[0], b.v[1]), vorrq_u8(b.v[2], b.v[3])));
}

static inline int mta_seen_nul(mta_seen s) { return vminvq_u8(s.least) == 0; }

static inline int mta_seen_high(mta_seen s) { return vmaxvq_u8(s.most) > 127; }

#else

#define MTA_LOW7 UINT64_C(0x7f7f7f7f7f7f7f7f)

typedef struct { uint64_t v[8]; } mta_block; /* byte n of a word in its bits 8 n and up */
typedef struct { uint64_t nul, high; } mta_seen;

static inline uint64_t mta_little_endian(uint64_t word) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return __builtin_bswap64(word);
#else
    return word;
#endif
}

static inline mta_block mta_load(const unsigned char *from) {
    mta_block b;
    memcpy(b.v, from, 64);
    for (int k = 0; k < 8; k++) b.v[k] = mta_little_endian(b.v[k]);
    return b;
}

static inline void mta_store(unsigned char *to, mta_block b) {
    for (int k = 0; k < 8; k++) b.v[k] = mta_little_endian(b.v[k]);
    memcpy(to, b.v, 64);
}

/* The top bit of each byte of a word, gathered into eight bits: the product puts each where none meets another. */
static inline uint64_t mta_gather(uint64_t word) {
    return ((word & ~MTA_LOW7) >> 7) * UINT64_C(0x0102040810204080) >> 56;
}

/* The top bit set in just those bytes that are 0: no carry leaves a byte. */
static inline uint64_t mta_zero(uint64_t word) { return ~(((word & MTA_LOW7) + MTA_LOW7) | word | MTA_LOW7); }

static inline uint64_t mta_equal(mta_block b, unsigned char value) {
    uint64_t all = UINT64_C(0x0101010101010101) * value, mask = 0;
    for (int k = 0; k < 8; k++) mask |= mta_gather(mta_zero(b.v[k] ^ all)) << 8 * k;
    return mask;
}

static inline uint64_t mta_high(mta_block b) {
    uint64_t mask = 0;
    for (int k = 0; k < 8; k++) mask |= mta_gather(b.v[k]) << 8 * k;
    return mask;
}

static inline mta_seen mta_seen_nothing(void) {
    mta_seen s = {0, 0};
    return s;
}

static inline void mta_see(mta_seen *s, mta_block b) {
    for (int k = 0; k < 8; k++) {
        s->nul |= mta_zero(b.v[k]);
        s->high |= b.v[k];
    }
}

static inline int mta_seen_nul(mta_seen s) { return s.nul != 0; }

static inline int mta_seen_high(mta_seen s) { return (s.high & ~MTA_LOW7) != 0; }

#endif

#if defined(__GNUC__)
static inline int mta_lowest(uint64_t mask) { return __builtin_ctzll(mask); }
static inline int mta_highest(uint64_t mask) { return 63 - __builtin_clzll(mask); }
static inline int mta_count(uint64_t mask) { return __builtin_popcountll(mask); }
#else
static inline int mta_lowest(uint64_t mask) {
    int n = 0;
    for (; !(mask & 1); mask >>= 1) n++;
    return n;
}
static inline int mta_highest(uint64_t mask) {
    int n = 0;
    while (mask >>= 1) n++;
    return n;
}
static inline int mta_count(uint64_t mask) {
    int n = 0;
    for (; mask; mask &= mask - 1) n++;
    return n;
}
#endif

/* What mta_take_plain learns of the text. */
typedef struct {
    ptrdiff_t line_bytes;   /* of the present line, before the next block; the caller sets it for the first */
    ptrdiff_t longest_line; /* CR LF not counted. Lines within one block, of at most 61 bytes, are not looked at */
    int nul, high;          /* set when there was a byte 0, a byte over 127 */
    int in_header;          /* set by a caller that wants to know of empty lines; it has to set line_ends[-1] too */
    int has_empty_line;     /* then set when an empty line ended */
} mta_text;

/* Copies up to `blocks` blocks from `source` to `target`. Stops before one in which a CR and an LF are not together, or
 * a dot stands behind an LF. For each copied block `line_ends` has the mask of its LFs, and each LF had its CR before
 * it. source[-1] is read, nothing behind the blocks. Returns the number of blocks copied.
 */
typedef ptrdiff_t (*mta_take_plain_function)(const unsigned char *source, unsigned char *target, ptrdiff_t blocks,
                                             uint64_t *line_ends, mta_text *text);

/* Two line ends at two bytes' distance, given that each LF has its CR. The compiler makes a matter of vectors of it. */
static inline int mta_has_empty_line(const uint64_t *line_ends, ptrdiff_t blocks) {
    uint64_t found = 0;
    for (ptrdiff_t k = 0; k < blocks; k++) found |= line_ends[k] & (line_ends[k] << 2 | line_ends[k - 1] >> 62);
    return found != 0;
}

static inline ptrdiff_t mta_take_plain_any(const unsigned char *source, unsigned char *target, ptrdiff_t blocks,
                                           uint64_t *line_ends, mta_text *text) {
    uint64_t after_cr = source[-1] == '\r', after_lf = source[-1] == '\n';
    mta_seen seen = mta_seen_nothing();
    ptrdiff_t taken = 0;
    for (; taken < blocks; taken++, source += 64, target += 64) {
        mta_block block = mta_load(source);
        uint64_t cr = mta_equal(block, '\r'), lf = mta_equal(block, '\n');
        if (((cr << 1 | after_cr) ^ lf) | (mta_equal(block, '.') & (lf << 1 | after_lf))) break;
        mta_store(target, block);
        mta_see(&seen, block);
        line_ends[taken] = lf;
        if (lf) {
            ptrdiff_t line = text->line_bytes + mta_lowest(lf) - 1;
            if (line > text->longest_line) text->longest_line = line;
            text->line_bytes = 63 - mta_highest(lf);
        } else {
            text->line_bytes += 64;
        }
        after_cr = cr >> 63;
        after_lf = lf >> 63;
    }
    text->nul |= mta_seen_nul(seen);
    text->high |= mta_seen_high(seen);
    if (text->in_header) text->has_empty_line |= mta_has_empty_line(line_ends, taken);
    return taken;
}

#if defined(MTA_BLOCKS_AVX2)

/* In pairs of blocks, since a branch for each costs a tenth of the time; the other function takes what is left. Bytes
 * are compared with those before them by loading these again, and no masks are made of CR and dot. Lines are measured
 * without a branch that depends on where they end: a block without LF counts as if its last byte were a CR, which is at
 * most what the line has in the end, or has so far.
 */
__attribute__((target("avx2,bmi,lzcnt"))) static ptrdiff_t
mta_take_plain_avx2(const unsigned char *source, unsigned char *target, ptrdiff_t blocks, uint64_t *line_ends,
                    mta_text *text) {
    const __m256i all_cr = _mm256_set1_epi8('\r'), all_lf = _mm256_set1_epi8('\n'), all_dot = _mm256_set1_epi8('.');
    __m256i least = _mm256_set1_epi8(127), most = _mm256_setzero_si256();
    ptrdiff_t line_bytes = text->line_bytes, longest = text->longest_line + 1, taken = 0;
    for (; taken + 2 <= blocks; taken += 2, source += 128, target += 128) {
        __m256i here[4], lf[4], trouble[4];
        for (int k = 0; k < 4; k++) {
            __m256i before = _mm256_loadu_si256((const __m256i *)(const void *)(source + 32 * k - 1));
            here[k] = _mm256_loadu_si256((const __m256i *)(const void *)(source + 32 * k));
            lf[k] = _mm256_cmpeq_epi8(here[k], all_lf);
            trouble[k] = _mm256_or_si256(
                _mm256_xor_si256(lf[k], _mm256_cmpeq_epi8(before, all_cr)),
                _mm256_and_si256(_mm256_cmpeq_epi8(here[k], all_dot), _mm256_cmpeq_epi8(before, all_lf)));
        }
        trouble[0] = _mm256_or_si256(_mm256_or_si256(trouble[0], trouble[1]), _mm256_or_si256(trouble[2], trouble[3]));
        if (!_mm256_testz_si256(trouble[0], trouble[0])) break;
        for (int k = 0; k < 4; k++) {
            _mm256_storeu_si256((__m256i *)(void *)(target + 32 * k), here[k]);
            least = _mm256_min_epu8(least, here[k]);
            most = _mm256_or_si256(most, here[k]);
        }
        for (int k = 0; k < 2; k++) {
            uint64_t low = (uint32_t)_mm256_movemask_epi8(lf[2 * k]);
            uint64_t ends = low | (uint64_t)(uint32_t)_mm256_movemask_epi8(lf[2 * k + 1]) << 32;
            ptrdiff_t line = line_bytes + (ptrdiff_t)_tzcnt_u64(ends);
            longest = line > longest ? line : longest;
            line_bytes = ends ? (ptrdiff_t)_lzcnt_u64(ends) : line_bytes + 64;
            line_ends[taken + k] = ends;
        }
    }
    text->line_bytes = line_bytes;
    text->longest_line = longest - 1;
    text->nul |= _mm256_movemask_epi8(_mm256_cmpeq_epi8(least, _mm256_setzero_si256())) != 0;
    text->high |= _mm256_movemask_epi8(most) != 0;
    if (text->in_header) text->has_empty_line |= mta_has_empty_line(line_ends, taken);
    return taken + mta_take_plain_any(source, target, blocks - taken, line_ends + taken, text);
}

/* AVX2 with the bit instructions that come with it. LZCNT is asked for by number: not all compilers know its name. */
static inline int mta_has_avx2(void) {
    unsigned int eax, ebx, ecx, edx;
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
           __get_cpuid(0x80000001u, &eax, &ebx, &ecx, &edx) && (ecx & 1u << 5);
}

static inline mta_take_plain_function mta_choose_take_plain(void) {
    return mta_has_avx2() ? mta_take_plain_avx2 : mta_take_plain_any;
}

#else

static inline mta_take_plain_function mta_choose_take_plain(void) { return mta_take_plain_any; }

#endif

#endif
