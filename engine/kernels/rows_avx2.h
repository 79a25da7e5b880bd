// Rows by AVX2: 32 columns at a time, look-ups of 16 neighbouring levels by one shuffle.

#pragma once

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>
#include <string.h>

#include "rows.h"

#define TUBES_AVX2 __attribute__((target("avx2")))

namespace tubes {
namespace avx2 {

constexpr uint8_t NONE = 0x80;  // a shuffle gives 0 there

// Byte j of vector z of 16 columns' interleaved samples: which column it belongs to, where it is of channel c.
struct Weave {
    alignas(32) uint8_t column[3][32];
    alignas(32) uint8_t of[3][3][32];  // [c][z]
};

constexpr Weave weave(int channels) {
    Weave made{};
    for (int z = 0; z < channels; ++z) {
        for (int j = 0; j < 32; ++j) {
            const int column = (16 * z + j % 16) / channels, channel = (16 * z + j % 16) % channels;
            made.column[z][j] = (uint8_t)column;
            for (int c = 0; c < channels; ++c) made.of[c][z][j] = c == channel ? (uint8_t)column : NONE;
        }
    }
    return made;
}

TUBES_AVX2 TUBES_INLINE __m256i whole(const void* at) {
    return _mm256_loadu_si256((const __m256i*)at);
}

// 16 columns down a half step; `down` of arithmetic.h.
TUBES_AVX2 TUBES_INLINE __m256i descend(const Line& line, int x, __m256i fraction) {
    return _mm256_add_epi16(whole(line.base + x), _mm256_mulhrs_epi16(whole(line.delta + x), fraction));
}

// The levels of 16 blocks, lowest and highest; columns and bounds are rounded apart, by a step at most.
struct Reach {
    alignas(32) uint16_t least[16];
    alignas(32) uint16_t most[16];
};

TUBES_AVX2 TUBES_INLINE void find_reach(const Steps& steps, int block, __m256i fraction, Reach& reach) {
    const __m256i step = _mm256_set1_epi16(1);
    const __m256i least = _mm256_subs_epu16(descend(steps.least, block, fraction), step);
    const __m256i most = _mm256_adds_epu16(descend(steps.most, block, fraction), step);
    _mm256_store_si256((__m256i*)reach.least, _mm256_srli_epi16(least, 8));
    _mm256_store_si256((__m256i*)reach.most, _mm256_srli_epi16(most, 8));
}

TUBES_AVX2 TUBES_INLINE __m256i at_least(__m256i bytes, __m256i limit) {
    return _mm256_cmpeq_epi8(_mm256_max_epu8(bytes, limit), bytes);
}

// table[found] for 32 levels that lie within 16 * windows of `least`; `beyond` is how far.
TUBES_AVX2 TUBES_INLINE __m256i look_up(const uint8_t* table, int least, int windows, __m256i beyond) {
    const __m256i nibble = _mm256_and_si256(beyond, _mm256_set1_epi8(15));
    const auto near = [&](int window) TUBES_AVX2 {
        const __m128i entries = _mm_loadu_si128((const __m128i*)(table + least + 16 * window));
        return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(entries), nibble);
    };
    __m256i value = near(0);
    for (int window = 1; window < windows; ++window)
        value = _mm256_blendv_epi8(value, near(window), at_least(beyond, _mm256_set1_epi8((char)(16 * window))));
    return value;
}

// add + ((keep * (sample - 128)) >> 8) of 32 bytes: even and odd bytes apart, each product beside one by 0.
TUBES_AVX2 TUBES_INLINE __m256i mix(__m256i sample, __m256i keep, __m256i add) {
    const __m256i odd = _mm256_set1_epi16((short)0xff00), about = _mm256_xor_si256(sample, _mm256_set1_epi8((char)128));
    const __m256i low = _mm256_maddubs_epi16(keep, _mm256_andnot_si256(odd, about));
    const __m256i high = _mm256_maddubs_epi16(keep, _mm256_and_si256(odd, about));
    return _mm256_add_epi8(_mm256_or_si256(_mm256_srli_epi16(low, 8), _mm256_and_si256(odd, high)), add);
}

// Vector z of 32 columns' samples: its lower half of the first 16 columns, its upper half of the others.
template <int CHANNELS>
TUBES_AVX2 TUBES_INLINE __m256i samples(const uint8_t* at, int z) {
    if (CHANNELS == 1) return whole(at);
    const __m128i low = _mm_loadu_si128((const __m128i*)(at + 16 * z));
    const __m128i high = _mm_loadu_si128((const __m128i*)(at + 16 * (CHANNELS + z)));
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

template <int CHANNELS>
TUBES_AVX2 TUBES_INLINE void put(uint8_t* at, int z, __m256i value) {
    if (CHANNELS == 1) return _mm256_storeu_si256((__m256i*)at, value);
    _mm_storeu_si128((__m128i*)(at + 16 * z), _mm256_castsi256_si128(value));
    _mm_storeu_si128((__m128i*)(at + 16 * (CHANNELS + z)), _mm256_extracti128_si256(value, 1));
}

// 32 columns whose levels are `found`, all of them from `least` on.
template <int CHANNELS>
TUBES_AVX2 TUBES_INLINE void paint_32(uint8_t* at, __m256i found, int least, int windows, const Table& table,
                                      int channel) {
    static constexpr Weave WEAVE = weave(CHANNELS);
    const __m256i beyond = _mm256_sub_epi8(found, _mm256_set1_epi8((char)least));
    const bool all = least >= table.first;
    const __m256i drawn = at_least(found, _mm256_set1_epi8((char)table.first));
    if (!all && _mm256_testz_si256(drawn, drawn)) return;
    const __m256i kept = look_up(table.keep8, least, windows, beyond);
    __m256i added[CHANNELS];
    for (int c = 0; c < CHANNELS; ++c) added[c] = look_up(table.add8[channel + c], least, windows, beyond);
    for (int z = 0; z < CHANNELS; ++z) {
        const __m256i column = whole(WEAVE.column[z]), sample = samples<CHANNELS>(at, z);
        __m256i keeps = kept, adds = added[0], touched = drawn;
        if (CHANNELS > 1) {
            keeps = _mm256_shuffle_epi8(kept, column);
            touched = _mm256_shuffle_epi8(drawn, column);
            adds = _mm256_setzero_si256();
            for (int c = 0; c < CHANNELS; ++c)
                adds = _mm256_or_si256(adds, _mm256_shuffle_epi8(added[c], whole(WEAVE.of[c][z])));
        }
        const __m256i value = mix(sample, keeps, adds);
        put<CHANNELS>(at, z, all ? value : _mm256_blendv_epi8(sample, value, touched));
    }
}

template <int CHANNELS>
TUBES_AVX2 void paint_row(uint8_t* row, const Rows& rows, const Steps& steps, int fraction, const Table& table) {
    const __m256i along = _mm256_set1_epi16((short)fraction);
    Reach reach;
    for (int x = 0; x < rows.columns; x += 32) {
        const int block = x / BLOCK;
        if (x % (16 * BLOCK) == 0) find_reach(steps, block, along, reach);
        const int least = reach.least[block % 16], most = reach.most[block % 16];
        if (most < table.first) continue;
        const __m256i low = _mm256_srli_epi16(descend(steps.columns, x, along), 8);
        const __m256i high = _mm256_srli_epi16(descend(steps.columns, x + 16, along), 8);
        const __m256i found = _mm256_permute4x64_epi64(_mm256_packus_epi16(low, high), 0xd8);
        const int windows = (most - least) / 16 + 1, left = rows.columns - x;
        uint8_t* at = row + (ptrdiff_t)x * CHANNELS;
        if (left >= 32) {
            paint_32<CHANNELS>(at, found, least, windows, table, rows.channel);
            continue;
        }
        uint8_t rest[32 * CHANNELS] = {};
        memcpy(rest, at, (size_t)left * CHANNELS);
        paint_32<CHANNELS>(rest, found, least, windows, table, rows.channel);
        memcpy(at, rest, (size_t)left * CHANNELS);
    }
}

TUBES_AVX2 inline void expand(const uint16_t* row, const uint16_t* next, int cells, const Columns& columns, int odd,
                              int bias, const Steps& steps) {
    expand_body(row, next, cells, columns, odd, bias, steps);
}

template <int CHANNELS>
TUBES_AVX2 void paint(const Rows& rows, const Steps& steps, const Table& table) {
    for (int y = 0; y < rows.count; ++y)
        paint_row<CHANNELS>(rows.data + y * rows.pitch, rows, steps, rows.fractions[y], table);
}

TUBES_AVX2 inline void sample(const Source* sources, int planes, const float* matrix, int made, uint8_t* out,
                              float* memory) {
    sample_body(sources, planes, matrix, made, out, memory);
}

inline void paint_any(const Rows& rows, const Steps& steps, const Table& table) {
    if (!table.bytes) return paint_generic(rows, steps, table);
    if (rows.channels == 1) return paint<1>(rows, steps, table);
    if (rows.channels == 2) return paint<2>(rows, steps, table);
    return paint<3>(rows, steps, table);
}

}  // namespace avx2

constexpr Path AVX2 = {"avx2", avx2::expand, avx2::paint_any, avx2::sample};

}  // namespace tubes

#endif
