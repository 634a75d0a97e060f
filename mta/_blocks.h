/* Blocks of 64 bytes and where in them the bytes of interest are: bit n of a mask speaks of byte n.
 *
 * Three ways, all with equal results: SSE2, which every x86-64 has (with 32-byte vectors where the compiler was told
 * that AVX2 is there); NEON, which every 64-bit ARM has; and plain 64-bit words for any other machine, or when
 * MTA_BLOCKS_PORTABLE is defined. tests/test_fastparse_blocks.py compiles the variants and compares them.
 *
 * mta_block        64 bytes, in registers
 * mta_load         reads 64 bytes; any alignment
 * mta_store        writes 64 bytes; any alignment
 * mta_equal        the mask of the bytes equal to one value
 * mta_high         the mask of the bytes over 127
 * mta_seen         what was found in many blocks together, cheaper than two masks for each
 * mta_lowest, mta_highest, mta_count   of the set bits of a mask that is not 0
 */
#ifndef MTA_BLOCKS_H
#define MTA_BLOCKS_H

#include <stdint.h>
#include <string.h>

#if defined(MTA_BLOCKS_PORTABLE)
#elif defined(__AVX2__)
#define MTA_BLOCKS_AVX2
#include <immintrin.h>
#elif defined(__SSE2__)
#define MTA_BLOCKS_SSE2
#include <emmintrin.h>
#elif defined(__aarch64__) && defined(__ARM_NEON) && !defined(__AARCH64EB__)
#define MTA_BLOCKS_NEON
#include <arm_neon.h>
#endif

#if defined(MTA_BLOCKS_AVX2)

typedef struct { __m256i v[2]; } mta_block;
typedef struct { __m256i least, most; } mta_seen;

static inline mta_block mta_load(const unsigned char *from) {
    mta_block b;
    for (int k = 0; k < 2; k++) b.v[k] = _mm256_loadu_si256((const __m256i *)(const void *)(from + 32 * k));
    return b;
}

static inline void mta_store(unsigned char *to, mta_block b) {
    for (int k = 0; k < 2; k++) _mm256_storeu_si256((__m256i *)(void *)(to + 32 * k), b.v[k]);
}

static inline uint64_t mta_pack(__m256i a, __m256i b) {
    return (uint64_t)(uint32_t)_mm256_movemask_epi8(a) | (uint64_t)(uint32_t)_mm256_movemask_epi8(b) << 32;
}

static inline uint64_t mta_equal(mta_block b, unsigned char value) {
    __m256i all = _mm256_set1_epi8((char)value);
    return mta_pack(_mm256_cmpeq_epi8(b.v[0], all), _mm256_cmpeq_epi8(b.v[1], all));
}

static inline uint64_t mta_high(mta_block b) { return mta_pack(b.v[0], b.v[1]); }

static inline mta_seen mta_seen_nothing(void) {
    mta_seen s = {_mm256_set1_epi8(127), _mm256_setzero_si256()};
    return s;
}

static inline void mta_see(mta_seen *s, mta_block b) {
    s->least = _mm256_min_epu8(s->least, _mm256_min_epu8(b.v[0], b.v[1]));
    s->most = _mm256_or_si256(s->most, _mm256_or_si256(b.v[0], b.v[1]));
}

static inline int mta_seen_nul(mta_seen s) {
    return _mm256_movemask_epi8(_mm256_cmpeq_epi8(s.least, _mm256_setzero_si256())) != 0;
}

static inline int mta_seen_high(mta_seen s) { return _mm256_movemask_epi8(s.most) != 0; }

#elif defined(MTA_BLOCKS_SSE2)

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

#endif
