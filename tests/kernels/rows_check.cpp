// Draws and samples random planes by every path this processor has and compares each with the generic one, byte for
// byte; blends random evidence and compares it with the formula in double precision.
//
// Usage: rows_check SECONDS [SEED]; the seed is printed. Every case has a seed of its own, named when it fails: with it
// and 0 seconds that case runs alone. Planes and tables are allocated to the byte, so that a sanitizer sees a step
// outside. Exit code 1, with the case, at the first difference. Runs where Python does not: under an emulator.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <vector>

#include "../../engine/kernels/plane.h"
#include "../../engine/kernels/rows_avx2.h"
#include "../../engine/kernels/rows_avx512.h"
#include "../../engine/kernels/rows_neon.h"
#include "../../engine/kernels/sample.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

using namespace tubes;

namespace {

std::vector<const Path*> paths() {
    std::vector<const Path*> found;
#if defined(TUBES_AVX512)
    if (__builtin_cpu_supports("avx512vbmi")) found.push_back(&AVX512);
    if (__builtin_cpu_supports("avx2")) found.push_back(&AVX2);
#elif defined(TUBES_NEON)
    found.push_back(&NEON);
#endif
    return found;
}

struct Random {
    std::mt19937 engine;

    int below(int limit) { return (int)(engine() % (uint32_t)limit); }
    int between(int low, int high) { return low + below(high - low + 1); }
    bool one_in(int count) { return below(count) == 0; }
    float real(float low, float high) { return low + (high - low) * (float)(engine() >> 8) / (float)(1 << 24); }
};

Table make_table(Random& random) {
    Table table{};
    table.first = random.one_in(8) ? 256 : random.one_in(4) ? 0 : random.below(256);
    table.bias = random.one_in(2) ? 128 : 0;
    table.top = 255;
    table.bytes = !random.one_in(6);
    for (int level = 0; level < LEVELS; ++level) {
        const int keep = random.below(256);
        table.keep[level] = keep, table.keep8[level] = (uint8_t)keep;
        for (int c = 0; c < 3; ++c) {
            if (!table.bytes) {
                table.offset[c][level] = random.between(-65536, 65536);
                continue;
            }
            const int least = (keep + 1) / 2, most = 255 - (127 * keep >> 8), add = random.between(least, most);
            table.add8[c][level] = (uint8_t)add;
            table.offset[c][level] = 256 * add - 128 * keep;
        }
    }
    return table;
}

// Ascending places along an axis, as fixed.py makes them, or any at all.
std::vector<uint16_t> make_axis(Random& random, int count, int last, int bits) {
    std::vector<uint16_t> axis(2 * (size_t)count);
    const bool wild = random.one_in(5);
    for (int i = 0; i < count; ++i) {
        const uint64_t whole = (uint64_t)last << bits;
        const uint64_t even = whole * (uint64_t)i / (uint64_t)(count > 1 ? count - 1 : 1);
        const uint64_t place = wild ? random.engine() % (whole + 1) : even;
        axis[i] = (uint16_t)(place >> bits), axis[count + i] = (uint16_t)(place & ((1u << bits) - 1));
    }
    return axis;
}

std::vector<uint16_t> make_cubic_axis(Random& random, int count, int cells) {
    std::vector<uint16_t> axis(8 * (size_t)count);
    for (int i = 0; i < count; ++i) {
        int left = 32768;
        for (int k = 0; k < 4; ++k) {
            const int weight = k < 3 ? random.below(left + 1) : left;
            axis[(size_t)k * count + i] = (uint16_t)random.below(cells);
            axis[(size_t)(4 + k) * count + i] = (uint16_t)weight;
            left -= weight;
        }
    }
    return axis;
}

struct DrawCase {
    int height, width, channels, channel, columns, rows, top, bottom, padding;
    bool cubic;
    Table table;
    std::vector<uint16_t> cells, down, across;
    std::vector<int32_t> coefficients;
    std::vector<uint8_t> samples;

    explicit DrawCase(Random& random) : table(make_table(random)) {
        height = random.between(1, 32), width = random.between(1, 32);
        channels = random.between(1, 3), channel = random.between(0, 3 - channels);
        columns = random.one_in(4) ? random.between(1, 2500) : random.between(1, 300), rows = random.between(1, 40);
        top = random.one_in(3) ? random.below(rows) : 0, bottom = random.one_in(3) ? random.between(top, rows) : rows;
        padding = random.one_in(2) ? 0 : random.between(1, 70);
        cubic = random.one_in(6);
        for (int i = 0; i < height * width; ++i) {
            cells.push_back((uint16_t)(random.one_in(2) ? random.below(ONE + 1) : random.one_in(2) ? ONE : 0));
            coefficients.push_back(random.between(-COEFFICIENT_LIMIT, COEFFICIENT_LIMIT));
        }
        down = cubic ? make_cubic_axis(random, rows, height) : make_axis(random, rows, 2 * (height - 1), 15);
        across = cubic ? make_cubic_axis(random, columns, width) : make_axis(random, columns, width - 1, 16);
        for (int i = 0; i < rows * pitch() - padding; ++i) samples.push_back((uint8_t)random.below(256));
    }

    int pitch() const { return columns * channels + padding; }

    std::vector<uint8_t> made(const Path& path) const {
        std::vector<uint8_t> result(samples.begin(), samples.end());
        result.shrink_to_fit();
        const Plane plane = {result.data(), pitch(), channels, channel};
        std::unique_ptr<Table> exact(new Table(table));
        const size_t bytes = Scratch::bytes(columns, cubic ? height : 0);
        std::unique_ptr<char[]> memory(new char[bytes]);
        const Axis y = {down.data(), rows}, x = {across.data(), columns};
        if (cubic)
            draw_cubic(path, plane, coefficients.data(), height, width, y, x, *exact, top, bottom, memory.get());
        else
            draw_linear(path, plane, cells.data(), height, width, y, x, *exact, top, bottom, memory.get());
        return result;
    }

    void print(const char* path, size_t at) const {
        printf("%s differs at byte %zu: %dx%d cells, %d columns of %d channels from %d, rows %d to %d of %d, pitch %d, "
               "first %d, %s, %s\n",
               path, at, width, height, columns, channels, channel, top, bottom, rows, pitch(), table.first,
               table.bytes ? "bytes" : "integers", cubic ? "cubic" : "linear");
    }
};

// What one axis of a plane gives to the outputs: any taps that lie within it, in order.
struct RandomTaps {
    std::vector<int32_t> first;
    std::vector<float> weights;
    int taps;

    RandomTaps(Random& random, int count, int limit) : taps(random.between(1, std::min(limit, 12))) {
        for (int i = 0; i < count; ++i) first.push_back(random.below(limit - taps + 1));
        std::sort(first.begin(), first.end());
        for (int i = 0; i < count * taps; ++i) weights.push_back(random.one_in(4) ? 0.0f : random.real(0.0f, 1.0f));
    }

    Taps view() const { return {first.data(), weights.data(), (int)first.size(), taps}; }
};

struct RandomPlane {
    int channels, width, height, pitch;
    RandomTaps rows, columns;
    std::vector<uint8_t> samples;

    RandomPlane(Random& random, int channels, int out_width, int out_height)
        : channels(channels),
          width(random.between(1, random.one_in(4) ? 1500 : 100)),
          height(random.between(1, 40)),
          pitch(width * channels + (random.one_in(2) ? 0 : random.between(1, 70))),
          rows(random, out_height, height),
          columns(random, out_width, width) {
        samples.reserve((size_t)(pitch * (height - 1) + width * channels));
        for (int i = 0; i < pitch * (height - 1) + width * channels; ++i) samples.push_back((uint8_t)random.below(256));
    }
};

struct SampleCase {
    int width, height, channels;  // of what is made
    std::vector<RandomPlane> planes;
    float matrix[12];

    explicit SampleCase(Random& random)
        : width(random.between(1, 90)), height(random.between(1, 12)), channels(random.between(1, 3)) {
        constexpr int LAYOUTS[6][3] = {{3, 0, 0}, {1, 2, 0}, {1, 1, 1}, {2, 1, 0}, {1, 0, 0}, {2, 0, 0}};
        for (int channels : LAYOUTS[random.below(6)])
            if (channels) planes.emplace_back(random, channels, width, height);
        const bool wild = random.one_in(5);  // far beyond what bytes hold
        for (float& value : matrix) value = wild ? random.real(-1e12f, 1e12f) : random.real(-2.0f, 2.0f);
    }

    std::vector<uint8_t> made(const Path& path) const {
        std::vector<Source> sources;
        for (const RandomPlane& one : planes)
            sources.push_back({one.samples.data(), one.pitch, one.channels, one.rows.view(), one.columns.view()});
        std::vector<uint8_t> out((size_t)(channels * height * width));
        std::unique_ptr<float[]> memory(new float[sample_floats(sources.data(), (int)sources.size(), width)]);
        path.sample(sources.data(), (int)sources.size(), matrix, channels, out.data(), memory.get());
        return out;
    }

    void print(const char* path, size_t at) const {
        printf("%s samples another byte at %zu: %dx%d from", path, at, width, height);
        for (const RandomPlane& one : planes)
            printf(" %dx%d of %d by %dx%d taps,", one.width, one.height, one.channels, one.columns.taps, one.rows.taps);
        printf("\n");
    }
};

double limited_to_one(double value) {
    return value > 0.0 ? std::min(value, 1.0) : 0.0;
}

// geometry.blend_cells for one cell, where all numbers are moderate.
double blended_exactly(const std::vector<Part>& parts) {
    double total = 0.0;
    for (const Part& part : parts) {
        const double from = is_finite(*part.slice) ? *part.slice : part.none;
        const double to = is_finite(*part.next) ? *part.next : part.none;
        total += part.share * limited_to_one((from + (to - from) * part.fraction - part.low) * (double)part.scale);
    }
    return total;
}

float random_evidence(Random& random, bool wild) {
    constexpr float ODD[] = {INFINITY, -INFINITY, NAN}, HUGE_ONES[] = {3e38f, -3e38f, 1e-40f};
    if (random.one_in(6)) return ODD[random.below(3)];
    return wild && random.one_in(2) ? HUGE_ONES[random.below(3)] : random.real(-50.0f, 50.0f);
}

// Returns whether one cell of random evidence blends to what it should, and says so where it does not.
bool blends(Random& random) {
    const int count = random.between(1, 4);
    const bool wild = random.one_in(4);  // so great that differences overflow: the result must only be in range
    std::vector<float> evidence;
    std::vector<Part> parts;
    for (int i = 0; i < 2 * count; ++i) evidence.push_back(random_evidence(random, wild));
    int odd = 0, expected_odd = 0;
    for (int i = 0; i < count; ++i) {
        const float *from = &evidence[2 * i], *to = from + 1, low = random.real(-20.0f, 20.0f);
        const float fraction = random.real(0.0f, 1.0f), scale = 1 / random.real(0.5f, 60.0f);
        const float share = random.real(0.0f, 1.0f) / (float)count;
        parts.push_back({from, to, fraction, low, scale, std::max(0.0f, low), share});
        expected_odd += !is_finite(*from) || !is_finite(*to);
    }
    const float found = blended(parts.data(), count, 0, &odd);
    const double exact = blended_exactly(parts);
    const bool right = wild ? found >= 0.0f && found <= 1.001f : std::fabs(found - exact) < 1e-4;
    if (right && odd == expected_odd && quantized(found) <= ONE) return true;
    printf("%d parts%s blend to %g, not %g, with %d odd, not %d\n", count, wild ? ", of any numbers," : "",
           (double)found, exact, odd, expected_odd);
    return false;
}

template <class One>
bool paths_agree(const std::vector<const Path*>& found, const One& one) {
    const std::vector<uint8_t> expected = one.made(GENERIC);
    for (const Path* path : found) {
        const std::vector<uint8_t> other = one.made(*path);
        for (size_t i = 0; i < expected.size(); ++i)
            if (expected[i] != other[i]) return one.print(path->name, i), false;
    }
    return true;
}

uint32_t seed_of_case;

void name_case() {
    fprintf(stderr, "rows_check: this was the case of seed %u\n", seed_of_case);
}

bool holds(const std::vector<const Path*>& found, uint32_t seed) {
    seed_of_case = seed;
    Random random{std::mt19937(seed)};
    return paths_agree(found, DrawCase(random)) && paths_agree(found, SampleCase(random)) && blends(random);
}

}  // namespace

int main(int count, char** arguments) {
    const double seconds = count > 1 ? atof(arguments[1]) : 5;
    const uint32_t seed = count > 2 ? (uint32_t)strtoul(arguments[2], nullptr, 10) : std::random_device()();
    const std::vector<const Path*> found = paths();
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_set_death_callback(name_case);
#endif
    printf("seed %u\n", seed);
    fflush(stdout);
    const auto start = std::chrono::steady_clock::now();
    uint32_t cases = 0;
    do {
        if (!holds(found, seed + cases)) return name_case(), 1;
        ++cases;
    } while (std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() < seconds);
    printf("%u cases, equal by generic", cases);
    for (const Path* path : found) printf(", %s", path->name);
    printf("\n");
    return 0;
}
