// The overlay on a GPU: one launch draws a batch of frames in place, in the planes they were decoded to.
//
// A block draws one tile of one plane. If no cell that reaches the tile has evidence that draws, the block ends before it
// touches the frame. A warp draws one row of the tile: its 32 threads read and write neighbouring words of four bytes,
// several at a time, and only those words that evidence reaches. The arithmetic is that of arithmetic.h, so the bytes are
// those of the C++ version (plane.h).

#include "device.h"

namespace tubes {

constexpr int WARP = 32;
constexpr int THREADS = 256;
constexpr int TILE_ROWS = 16;
constexpr int MOST_COLUMNS = WARP * 16;  // of a tile
constexpr int ENTRIES = 3;  // of the table of a plane: one a channel that is drawn
constexpr int MOST_CELLS = 64 * 64;
constexpr int MOST_RINGED = 66 * 66;  // with a ring of zeros
constexpr int MOST_PARTS = 4, MOST_PLANES = 3;

// These structs are mirrored in engine/cuda/jobs.py.
struct PlaneJob {
    uint8_t* data;  // the first sample that lies in the crop
    int64_t pitch;  // bytes from one row to the next
    const uint16_t* across;  // Axis of the columns: [2, columns] or, cubic, [8, columns]
    const uint16_t* down;  // and of the rows
    int32_t columns, rows;  // in the crop; a column holds `channels` samples
    int32_t sample_bytes, channels;
    int32_t channel;  // which channel of the table the first is
    int32_t shift;  // columns by which the first tile begins before the crop, so that groups are aligned
    int32_t tiles_across, tiles;
};

struct Job {
    PlaneJob planes[MOST_PLANES];
    Part parts[MOST_PARTS];  // linear only
    const int32_t* coefficients;  // [height, width] of a spline; cubic only
    const Table* table;
    uint32_t* odd;  // counter of cells that are not finite, each counted once a frame and part; or null. linear only
    int32_t height, width;  // cells
    int32_t part_count, plane_count;
    int32_t above, below, before, after;  // rows and columns of zeros around the cells, which places count; linear only

    TUBES_DEVICE int ringed_height() const { return above + height + below; }
    TUBES_DEVICE int ringed_width() const { return before + width + after; }

    // Evidence 0..ONE of a cell, counted with the zeros.
    TUBES_DEVICE uint32_t evidence(int row, int column) const {
        const int y = row - above, x = column - before;
        if (y < 0 || y >= height || x < 0 || x >= width) return 0;
        int odd = 0;
        return quantized(blended(parts, part_count, y * width + x, &odd));
    }
};

struct Jobs {
    Job jobs[MOST_JOBS];
};

static_assert(sizeof(PlaneJob) == 64 && sizeof(Part) == 40 && sizeof(Job) == 408 && sizeof(Jobs) <= 4096, "a contract");
static_assert(sizeof(Table) == 5200, "a contract");

// The part of a plane that a block draws; columns and rows counted from the crop's first.
struct Tile {
    int origin;  // where its groups begin: up to `shift` columns before the crop
    int left, right, top, bottom;
};

// A plane's part of the table, keep and offset in one word: looking levels up is the largest cost after the frame itself.
struct Mix {
    int32_t entries[ENTRIES][LEVELS];  // offset << 10 | keep; engine/cuda/jobs.py sees to it that both fit
    int32_t first, top;

    TUBES_DEVICE void copy(const Table& from, int channel, int channels) {
        for (int i = threadIdx.x; i < channels * LEVELS; i += THREADS)
            entries[i / LEVELS][i % LEVELS] =
                (int32_t)((uint32_t)from.offset[channel + i / LEVELS][i % LEVELS] << 10) | from.keep[i % LEVELS];
        first = from.first, top = from.top;  // the same of all threads
    }

    // arithmetic.h's `mixed`.
    TUBES_DEVICE int32_t of(int channel, int level, int32_t sample) const {
        const int32_t entry = entries[channel][level], value = ((entry & 1023) * sample + (entry >> 10)) >> 8;
        return min(max(value, 0), top);
    }

    // 16-bit samples hold ten bits, in the upper ones (P010).
    TUBES_DEVICE uint32_t of(int channel, int level, uint8_t sample) const {
        return (uint32_t)of(channel, level, (int32_t)sample);
    }
    TUBES_DEVICE uint32_t of(int channel, int level, uint16_t sample) const {
        return (uint32_t)of(channel, level, (int32_t)(sample >> 6)) << 6;
    }
};

// Cells are areas: linear between them. Samples of a column differ down a half step only, and that is kept per column.
struct Linear {
    struct Shared {
        alignas(16) Step steps[MOST_COLUMNS];
        Mix mix;
        uint16_t cells[MOST_RINGED];
        uint16_t half[TILE_ROWS], fraction[TILE_ROWS];
    };

    // Rows' places, and the cells that the tile can reach. Returns whether one of this thread's draws: what lies between
    // cells never exceeds them.
    static TUBES_DEVICE bool stage(const Job& job, const PlaneJob& plane, const Tile& tile, Shared& shared) {
        for (int y = tile.top + threadIdx.x; y < tile.bottom; y += THREADS) {
            shared.half[y - tile.top] = plane.down[y];
            shared.fraction[y - tile.top] = plane.down[plane.rows + y];
        }
        const int height = job.ringed_height(), width = job.ringed_width();
        const int left = plane.across[tile.left], right = min(plane.across[tile.right - 1] + 1, width - 1);
        const int top = plane.down[tile.top] / 2, bottom = min(plane.down[tile.bottom - 1] / 2 + 1, height - 1);
        const int columns = right - left + 1, count = columns * (bottom - top + 1);
        const int first = job.table->first, bias = job.table->bias;
        bool draws = false;
        for (int i = threadIdx.x; i < count; i += THREADS) {
            const int row = top + i / columns, column = left + i % columns;
            const uint32_t value = job.evidence(row, column);
            shared.cells[row * width + column] = (uint16_t)value;
            draws |= level(value + (uint32_t)bias) >= first;
        }
        return draws;
    }

    // Whether two rows of the tile can be drawn from the same expansion.
    static TUBES_DEVICE bool alike(const Shared& shared, int row, int other) {
        return shared.half[row] == shared.half[other];
    }

    // The half step of each column, for the rows that are like `row`.
    static TUBES_DEVICE void expand(const Job& job, const PlaneJob& plane, const Tile& tile, int row, Shared& shared) {
        const int half = shared.half[row], width = job.ringed_width();
        const uint16_t* here = shared.cells + half / 2 * width;
        const uint16_t* below = half / 2 + 1 < job.ringed_height() ? here + width : here;
        const int bias = job.table->bias;
        for (int x = tile.left + threadIdx.x; x < tile.right; x += THREADS) {
            const int left = plane.across[x], right = min(left + 1, width - 1);
            const uint32_t fraction = plane.across[plane.columns + x];
            shared.steps[x - tile.origin] = half_step(across(here[left], here[right], fraction),
                                                      across(below[left], below[right], fraction), half % 2, bias);
        }
    }

    // The levels of N columns side by side, a byte each, the first in the lowest. `column` is a multiple of N.
    template <int N>
    static TUBES_DEVICE uint32_t levels(const Shared& shared, int column, int row) {
        struct alignas(4 * N) Steps {
            Step of[N];
        };
        const Steps steps = *(const Steps*)(shared.steps + column);  // read at once
        const int fraction = shared.fraction[row];
        uint32_t levels = 0;
#pragma unroll
        for (int i = 0; i < N; ++i)  // columns beside the tile have no step: of them shared memory holds anything at all
            levels |= ((uint32_t)level(down(steps.of[i], fraction)) & 0xff) << 8 * i;
        return levels;
    }
};

// The paper's spline: cells are expanded to columns, four rows of them at a time, and those four are weighed for each row.
struct Cubic {
    struct Shared {
        int32_t expanded[4][MOST_COLUMNS];
        Mix mix;
        int32_t bias;
        int32_t cells[MOST_CELLS];
        uint16_t taps[TILE_ROWS][8];
    };

    // A spline reaches everywhere. Weights are not negative, so it stays below the greatest coefficient.
    static TUBES_DEVICE bool stage(const Job& job, const PlaneJob& plane, const Tile& tile, Shared& shared) {
        for (int i = threadIdx.x; i < 8 * (tile.bottom - tile.top); i += THREADS)
            shared.taps[i / 8][i % 8] = plane.down[(int64_t)(i % 8) * plane.rows + tile.top + i / 8];
        const int first = job.table->first, bias = job.table->bias;
        shared.bias = bias;
        bool draws = false;
        for (int i = threadIdx.x; i < job.height * job.width; i += THREADS) {
            shared.cells[i] = job.coefficients[i];
            draws |= level(limited(shared.cells[i], bias)) >= first;
        }
        return draws;
    }

    static TUBES_DEVICE bool alike(const Shared& shared, int row, int other) {
        bool same = true;
        for (int k = 0; k < 4; ++k) same &= shared.taps[row][k] == shared.taps[other][k];
        return same;
    }

    static TUBES_DEVICE void expand(const Job& job, const PlaneJob& plane, const Tile& tile, int row, Shared& shared) {
        for (int x = tile.left + threadIdx.x; x < tile.right; x += THREADS)
#pragma unroll 1
            for (int k = 0; k < 4; ++k) {
                const int32_t* cells = shared.cells + shared.taps[row][k] * job.width;
                int32_t values[4], weights[4];
                for (int i = 0; i < 4; ++i) {
                    values[i] = cells[plane.across[(int64_t)i * plane.columns + x]];
                    weights[i] = plane.across[(int64_t)(4 + i) * plane.columns + x];
                }
                shared.expanded[k][x - tile.origin] = cubic(values, weights);
            }
    }

    template <int N>
    static TUBES_DEVICE uint32_t levels(const Shared& shared, int column, int row) {
        int32_t values[4], weights[4];
        for (int k = 0; k < 4; ++k) weights[k] = shared.taps[row][4 + k];
        uint32_t levels = 0;
#pragma unroll 1
        for (int i = 0; i < N; ++i) {
            for (int k = 0; k < 4; ++k) values[k] = shared.expanded[k][column + i];
            levels |= (uint32_t)level(limited(cubic(values, weights), shared.bias)) << 8 * i;
        }
        return levels;
    }
};

// How the samples of a plane lie, N side by side to a column. A row of a tile is WORDS words for each thread of a warp.
template <class T, int N>
struct Form {
    using Sample = T;
    static constexpr int CHANNELS = N;
    static constexpr int DRAWN = N < 4 ? N : 3;  // the fourth is alpha, left as it is
    static constexpr int BYTES = N * sizeof(T);  // of a column
    static constexpr int PER_WORD = 4 / sizeof(T);
    static constexpr int WORDS = N == 3 ? 3 : 4;
    static constexpr int COLUMNS = WARP * WORDS * 4 / BYTES;  // of a tile
    static constexpr uint32_t MASK = sizeof(T) == 1 ? 0xff : 0xffff;
    static_assert(COLUMNS <= MOST_COLUMNS, "shared memory");

    // The samples of a word: each one's column, counted from the word's first, and its channel.
    static TUBES_DEVICE int phase(int word) { return N == 3 ? word % 3 : 0; }
    static TUBES_DEVICE int column(int phase, int i) { return N == 3 ? phase + i >= 3 : i / N; }
    static TUBES_DEVICE int channel(int phase, int i) { return N == 3 ? (phase + i) % 3 : i % N; }

    // The levels of the word's columns, a byte each.
    template <class G>
    static TUBES_DEVICE uint32_t levels(const typename G::Shared& shared, int word, int row) {
        if constexpr (N == 3) {
            const int column = word * 4 / 3, next = min(column + 1, COLUMNS - 1);
            return G::template levels<1>(shared, column, row) | G::template levels<1>(shared, next, row) << 8;
        } else {
            constexpr int COUNT = 4 / BYTES;
            return G::template levels<COUNT>(shared, word * COUNT, row);
        }
    }

    static TUBES_DEVICE bool draws(uint32_t levels, int first) {
        uint32_t most = 0;
#pragma unroll
        for (int i = 0; i < (N == 3 ? 2 : 4 / BYTES); ++i) most = max(most, levels >> 8 * i & 0xff);
        return (int)most >= first;
    }
};

template <class F>
TUBES_DEVICE uint32_t mixed_word(const Mix& mix, uint32_t word, uint32_t levels, int phase) {
#pragma unroll
    for (int i = 0; i < F::PER_WORD; ++i) {
        const int channel = F::channel(phase, i), level = (int)(levels >> 8 * F::column(phase, i) & 0xff);
        if (channel == F::DRAWN) continue;
        const int bits = i * 8 * (int)sizeof(typename F::Sample);
        const uint32_t sample = word >> bits & F::MASK;
        const uint32_t made = mix.of(channel, level, (typename F::Sample)sample);
        if (level >= mix.first) word ^= (sample ^ made) << bits;
    }
    return word;
}

// Whether a word lies in the crop as a whole.
template <class F>
TUBES_DEVICE bool is_inside(const Tile& tile, int word) {
    const int left = word * F::PER_WORD / F::CHANNELS, right = (word * F::PER_WORD + F::PER_WORD - 1) / F::CHANNELS;
    return tile.origin + left >= tile.left && tile.origin + right < tile.right;
}

// The samples in the crop of those words that are not drawn whole, one by one: at its edges, and at odd addresses.
template <class G, class F>
TUBES_DEVICE void paint_edges(uint8_t* line, bool aligned, const Tile& tile, int row, const typename G::Shared& shared) {
#pragma unroll 1
    for (int word = threadIdx.x % WARP; word < WARP * F::WORDS; word += WARP) {
        if (aligned && is_inside<F>(tile, word)) continue;
        const uint32_t levels = F::template levels<G>(shared, word, row);
        const int phase = F::phase(word), column = tile.origin + word * F::PER_WORD / F::CHANNELS;
        typename F::Sample* samples = (typename F::Sample*)line + word * F::PER_WORD;
#pragma unroll 1
        for (int i = 0; i < F::PER_WORD; ++i) {
            const int x = column + F::column(phase, i), channel = F::channel(phase, i);
            const int level = (int)(levels >> 8 * F::column(phase, i) & 0xff);
            if (x >= tile.left && x < tile.right && level >= shared.mix.first && channel < F::DRAWN)
                samples[i] = (typename F::Sample)shared.mix.of(channel, level, samples[i]);
        }
    }
}

// One row of a tile by one warp. line: where the tile begins in that row.
template <class G, class F>
TUBES_DEVICE void paint_row(uint8_t* line, const Tile& tile, int row, const typename G::Shared& shared) {
    const Mix& mix = shared.mix;
    const bool aligned = (uint64_t)line % 4 == 0;
    asm volatile("" ::: "memory");  // steps are read again for each row: kept, they would take too many registers
    bool edge = false;
    uint32_t words[F::WORDS], levels[F::WORDS];
    bool draws[F::WORDS];
#pragma unroll
    for (int k = 0; k < F::WORDS; ++k) {  // start all reads before waiting for the first
        const int word = (int)(threadIdx.x % WARP) + WARP * k;
        const bool whole = aligned && is_inside<F>(tile, word);
        levels[k] = F::template levels<G>(shared, word, row);
        draws[k] = whole && F::draws(levels[k], mix.first);
        if (draws[k]) words[k] = ((const uint32_t*)line)[word];
        edge |= !whole;
    }
#pragma unroll
    for (int k = 0; k < F::WORDS; ++k) {
        const int word = (int)(threadIdx.x % WARP) + WARP * k;
        if (draws[k]) ((uint32_t*)line)[word] = mixed_word<F>(mix, words[k], levels[k], F::phase(word));
    }
    if (edge) paint_edges<G, F>(line, aligned, tile, row, shared);
}

template <class G, class F>
TUBES_DEVICE void draw_tile(const Job& job, const PlaneJob& plane, int index, typename G::Shared& shared) {
    Tile tile;
    tile.origin = index % plane.tiles_across * F::COLUMNS - plane.shift;
    tile.left = max(tile.origin, 0);
    tile.right = min(tile.origin + F::COLUMNS, plane.columns);
    tile.top = index / plane.tiles_across * TILE_ROWS;
    tile.bottom = min(tile.top + TILE_ROWS, plane.rows);
    if (!__syncthreads_or(G::stage(job, plane, tile, shared))) return;
    shared.mix.copy(*job.table, plane.channel, F::DRAWN);
    const int rows = tile.bottom - tile.top;
    for (int from = 0, to; from < rows; from = to) {
        for (to = G::alike(shared, from, rows - 1) ? rows : from + 1; to < rows && G::alike(shared, from, to);) ++to;
        G::expand(job, plane, tile, from, shared);
        __syncthreads();
        for (int row = from + threadIdx.x / WARP; row < to; row += THREADS / WARP)
            paint_row<G, F>(plane.data + (tile.top + row) * plane.pitch + (int64_t)tile.origin * F::BYTES, tile, row, shared);
        __syncthreads();  // all threads must have drawn before the next rows' expansion overwrites this one
    }
}

// Cells that are not finite, by the first block of a frame.
TUBES_DEVICE void count_odd(const Job& job) {
    int odd = 0;
    for (int cell = threadIdx.x; cell < job.height * job.width; cell += THREADS)
        blended(job.parts, job.part_count, cell, &odd);
    if (odd) atomicAdd(job.odd, (uint32_t)odd);
}

template <class G>
TUBES_DEVICE void draw(const Job& job, typename G::Shared& shared) {
    int tile = blockIdx.x, index = 0;
    if (tile == 0 && job.odd) count_odd(job);
    while (index < job.plane_count && tile >= job.planes[index].tiles) tile -= job.planes[index++].tiles;
    if (index == job.plane_count) return;  // another frame of the batch has more tiles
    const PlaneJob& plane = job.planes[index];
    switch (plane.sample_bytes * 8 + plane.channels) {
        case 9: return draw_tile<G, Form<uint8_t, 1>>(job, plane, tile, shared);
        case 10: return draw_tile<G, Form<uint8_t, 2>>(job, plane, tile, shared);
        case 11: return draw_tile<G, Form<uint8_t, 3>>(job, plane, tile, shared);
        case 12: return draw_tile<G, Form<uint8_t, 4>>(job, plane, tile, shared);
        case 17: return draw_tile<G, Form<uint16_t, 1>>(job, plane, tile, shared);
        case 18: return draw_tile<G, Form<uint16_t, 2>>(job, plane, tile, shared);
    }
}

}  // namespace tubes

// Grid: x the most tiles of any job, y the jobs. Blocks of THREADS.
extern "C" __global__ void __launch_bounds__(tubes::THREADS, 4) overlay_linear(const __grid_constant__ tubes::Jobs jobs) {
    alignas(16) __shared__ tubes::Linear::Shared shared;
    tubes::draw<tubes::Linear>(jobs.jobs[blockIdx.y], shared);
}

extern "C" __global__ void __launch_bounds__(tubes::THREADS, 2) overlay_cubic(const __grid_constant__ tubes::Jobs jobs) {
    alignas(16) __shared__ tubes::Cubic::Shared shared;
    tubes::draw<tubes::Cubic>(jobs.jobs[blockIdx.y], shared);
}
