// Rows by AVX-512 with VBMI (Ice Lake, Zen 4 and later): 64 columns at a time, look-ups by permutation.

#pragma once

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

#include "rows.h"

#define TUBES_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi")))

namespace tubes {
namespace avx512 {

// Byte j of vector z of 64 interleaved samples: which column it belongs to, and which of its channels it is.
struct Weave {
    uint8_t column[3][64];
    uint8_t pair[3][64];  // the same, + 64 for channel 1: an index into channels 0 and 1 side by side
    uint64_t third[3];  // a bit for each byte of channel 2
};

constexpr Weave weave(int channels) {
    Weave made{};
    for (int z = 0; z < channels; ++z) {
        for (int j = 0; j < 64; ++j) {
            const int column = (64 * z + j) / channels, channel = (64 * z + j) % channels;
            made.column[z][j] = (uint8_t)column;
            made.pair[z][j] = (uint8_t)(column + (channel == 1 ? 64 : 0));
            if (channel == 2) made.third[z] |= 1ull << j;
        }
    }
    return made;
}

struct Index {
    uint8_t byte[64];
};

// The upper bytes of two vectors of 16 bits: of one after the other, or by turns.
constexpr Index uppers(bool by_turns) {
    Index made{};
    for (int j = 0; j < 64; ++j) made.byte[j] = (uint8_t)(!by_turns ? 2 * j + 1 : j % 2 ? 64 + j : j + 1);
    return made;
}

constexpr Index UPPERS = uppers(false), UPPERS_BY_TURNS = uppers(true);

// add + ((keep * (sample - 128)) >> 8) of 64 bytes: even and odd bytes apart, each product beside one by 0.
TUBES_AVX512 TUBES_INLINE __m512i mix(__m512i sample, __m512i keep, __m512i add) {
    const __m512i even = _mm512_set1_epi16(0x00ff), odd = _mm512_set1_epi16((short)0xff00);
    const __m512i even_128 = _mm512_set1_epi16(0x0080), odd_128 = _mm512_set1_epi16((short)0x8000);
    constexpr int a_and_b_xor_c = 0x6a;
    const __m512i evens = _mm512_ternarylogic_epi32(even, sample, even_128, a_and_b_xor_c);
    const __m512i odds = _mm512_ternarylogic_epi32(odd, sample, odd_128, a_and_b_xor_c);
    const __m512i low = _mm512_maddubs_epi16(keep, evens), high = _mm512_maddubs_epi16(keep, odds);
    return _mm512_add_epi8(_mm512_permutex2var_epi8(low, _mm512_loadu_si512(UPPERS_BY_TURNS.byte), high), add);
}

// 32 columns at one end of a half step.
struct Half {
    __m512i base, delta;
};

TUBES_AVX512 TUBES_INLINE Half half(const Line& line, int x) {
    return {_mm512_loadu_si512(line.base + x), _mm512_loadu_si512(line.delta + x)};
}

// `down` of arithmetic.h.
TUBES_AVX512 TUBES_INLINE __m512i descend(Half half, __m512i fraction) {
    return _mm512_add_epi16(half.base, _mm512_mulhrs_epi16(half.delta, fraction));
}

// The levels of 32 blocks between two rows, lowest and highest; columns and bounds are rounded apart, by a step at most.
struct Reach {
    alignas(64) uint16_t least[32];
    alignas(64) uint16_t most[32];
};

TUBES_AVX512 TUBES_INLINE void find_reach(const Steps& steps, int block, __m512i from, __m512i to, Reach& reach) {
    const __m512i step = _mm512_set1_epi16(1);
    const Half low = half(steps.least, block), high = half(steps.most, block);
    const __m512i least = _mm512_subs_epu16(_mm512_min_epu16(descend(low, from), descend(low, to)), step);
    const __m512i most = _mm512_adds_epu16(_mm512_max_epu16(descend(high, from), descend(high, to)), step);
    _mm512_store_si512(reach.least, _mm512_srli_epi16(least, 8));
    _mm512_store_si512(reach.most, _mm512_srli_epi16(most, 8));
}

// The 64 entries of each table from a block's lowest level on, in registers: where its levels reach no further.
template <int CHANNELS>
struct Near {
    __m512i least, keep, add[CHANNELS];

    TUBES_AVX512 TUBES_INLINE Near(const Table& table, int channel, int from)
        : least(_mm512_set1_epi8((char)from)), keep(_mm512_loadu_si512(table.keep8 + from)) {
        for (int c = 0; c < CHANNELS; ++c) add[c] = _mm512_loadu_si512(table.add8[channel + c] + from);
    }
    TUBES_AVX512 TUBES_INLINE void look_up(__m512i found, __m512i& kept, __m512i* added) const {
        const __m512i index = _mm512_sub_epi8(found, least);
        kept = _mm512_permutexvar_epi8(index, keep);
        for (int c = 0; c < CHANNELS; ++c) added[c] = _mm512_permutexvar_epi8(index, add[c]);
    }
};

// All 256 entries of each table, in memory.
template <int CHANNELS>
struct Far {
    const Table& table;
    int channel;

    TUBES_AVX512 TUBES_INLINE static __m512i entry(const uint8_t* entries, __m512i found) {
        const __m512i below =
            _mm512_permutex2var_epi8(_mm512_loadu_si512(entries), found, _mm512_loadu_si512(entries + 64));
        const __m512i above =
            _mm512_permutex2var_epi8(_mm512_loadu_si512(entries + 128), found, _mm512_loadu_si512(entries + 192));
        return _mm512_mask_blend_epi8(_mm512_movepi8_mask(found), below, above);
    }
    TUBES_AVX512 TUBES_INLINE void look_up(__m512i found, __m512i& kept, __m512i* added) const {
        kept = entry(table.keep8, found);
        for (int c = 0; c < CHANNELS; ++c) added[c] = entry(table.add8[channel + c], found);
    }
};

// 64 columns of `ROWS` rows. ALL: every one of them is in the picture and drawn; else those that are `inside` are in it
// and those of `first` and higher levels drawn.
template <int CHANNELS, int ROWS, bool ALL, class Entries>
TUBES_AVX512 TUBES_INLINE void paint_64(uint8_t* at, ptrdiff_t pitch, const Line& line, int x, const __m512i* along,
                                        const Entries& entries, __mmask64 inside, __m512i first) {
    static constexpr Weave WEAVE = weave(CHANNELS);
    const __m512i upper = _mm512_loadu_si512(UPPERS.byte);
    const Half low = half(line, x), high = half(line, x + 32);
    for (int y = 0; y < ROWS; ++y, at += pitch) {
        const __m512i found = _mm512_permutex2var_epi8(descend(low, along[y]), upper, descend(high, along[y]));
        const __mmask64 drawn = ALL ? ~0ull : _mm512_mask_cmpge_epu8_mask(inside, found, first);
        if (!ALL && !drawn) continue;
        __m512i kept, added[CHANNELS];
        entries.look_up(found, kept, added);
        for (int z = 0; z < CHANNELS; ++z) {
            uint8_t* to = at + 64 * z;
            __m512i keeps = kept, adds = added[0];
            __mmask64 touched = drawn;
            if (CHANNELS > 1) {
                const __m512i column = _mm512_loadu_si512(WEAVE.column[z]);
                keeps = _mm512_permutexvar_epi8(column, kept);
                adds = _mm512_permutex2var_epi8(added[0], _mm512_loadu_si512(WEAVE.pair[z]), added[1 % CHANNELS]);
                if (CHANNELS > 2)
                    adds = _mm512_mask_permutexvar_epi8(adds, WEAVE.third[z], column, added[2 % CHANNELS]);
                if (!ALL) touched = _mm512_movepi8_mask(_mm512_permutexvar_epi8(column, _mm512_movm_epi8(drawn)));
            }
            if (ALL)
                _mm512_storeu_si512(to, mix(_mm512_loadu_si512(to), keeps, adds));
            else
                _mm512_mask_storeu_epi8(to, touched, mix(_mm512_maskz_loadu_epi8(touched, to), keeps, adds));
        }
    }
}

template <int CHANNELS, int ROWS>
TUBES_AVX512 void paint_rows(const Rows& rows, int y, const Steps& steps, const Table& table) {
    __m512i along[ROWS], from, to;
    for (int i = 0; i < ROWS; ++i) {
        along[i] = _mm512_set1_epi16((short)rows.fractions[y + i]);
        from = i ? _mm512_min_epu16(from, along[i]) : along[i];
        to = i ? _mm512_max_epu16(to, along[i]) : along[i];
    }
    const __m512i first = _mm512_set1_epi8((char)table.first);
    const Line line = steps.columns;
    const ptrdiff_t pitch = rows.pitch;
    Reach reach;
    for (int x = 0, block = 0; x < rows.columns; x += BLOCK, ++block) {
        if (block % 32 == 0) find_reach(steps, block, from, to, reach);
        const int least = reach.least[block % 32], most = reach.most[block % 32], left = rows.columns - x;
        if (most < table.first) continue;
        uint8_t* at = rows.data + y * pitch + (ptrdiff_t)x * CHANNELS;
        const __mmask64 inside = left >= 64 ? ~0ull : (1ull << left) - 1;
        const bool all = least >= table.first && left >= 64, near = most - least < 64;
        if (all && near)
            paint_64<CHANNELS, ROWS, true>(at, pitch, line, x, along, Near<CHANNELS>(table, rows.channel, least),
                                           inside, first);
        else if (near)
            paint_64<CHANNELS, ROWS, false>(at, pitch, line, x, along, Near<CHANNELS>(table, rows.channel, least),
                                            inside, first);
        else
            paint_64<CHANNELS, ROWS, false>(at, pitch, line, x, along, Far<CHANNELS>{table, rows.channel}, inside,
                                            first);
    }
}

// Rows that are drawn together share what is loaded for them.
template <int CHANNELS>
TUBES_AVX512 void paint(const Rows& rows, const Steps& steps, const Table& table) {
    int y = 0;
    for (; y + 8 <= rows.count; y += 8) paint_rows<CHANNELS, 8>(rows, y, steps, table);
    for (; y + 2 <= rows.count; y += 2) paint_rows<CHANNELS, 2>(rows, y, steps, table);
    for (; y < rows.count; ++y) paint_rows<CHANNELS, 1>(rows, y, steps, table);
}

TUBES_AVX512 inline void expand(const uint16_t* row, const uint16_t* next, int cells, const Columns& columns, int odd,
                                int bias, const Steps& steps) {
    expand_body(row, next, cells, columns, odd, bias, steps);
}

TUBES_AVX512 inline void sample(const Source* sources, int planes, const float* matrix, int made, uint8_t* out,
                                float* memory) {
    sample_body(sources, planes, matrix, made, out, memory);
}

inline void paint_any(const Rows& rows, const Steps& steps, const Table& table) {
    if (!table.bytes) return paint_generic(rows, steps, table);
    if (rows.channels == 1) return paint<1>(rows, steps, table);
    if (rows.channels == 2) return paint<2>(rows, steps, table);
    return paint<3>(rows, steps, table);
}

}  // namespace avx512

constexpr Path AVX512 = {"avx512", avx512::expand, avx512::paint_any, avx512::sample};

}  // namespace tubes

#endif
