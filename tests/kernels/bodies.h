// The list of the CUDA kernels, as the CPU runs them. A new kernel is included here and gets one line in `bodies`: its
// name, its function, the number of threads of a block that it was bounded to, and what it reads and writes.

#pragma once

#include "cuda_shim.h"

#include "../../engine/kernels/evidence.cu"
#include "../../engine/kernels/fit.cu"
#include "../../engine/kernels/gather.cu"
#include "../../engine/kernels/marks.cu"
#include "../../engine/kernels/overlay.cu"
#include "../../engine/kernels/preprocess.cu"
#include "reach.h"

#include <map>
#include <string>
#include <tuple>

struct Body {
    std::vector<size_t> sizes;  // bytes of each parameter
    unsigned threads;
    std::function<void(void** arguments)> run;  // one thread of it
    std::function<void(Reach&, Dim3 grid, void** arguments)> reach;
};

namespace bodies_detail {

template <class... P, size_t... I>
Body make(void (*kernel)(P...), unsigned threads, void (*reach)(Reach&, Dim3, const P&...), std::index_sequence<I...>) {
    return {{sizeof(P)...},
            threads,
            [kernel](void** arguments) { kernel(*(std::remove_const_t<P>*)arguments[I]...); },
            [reach](Reach& to, Dim3 grid, void** arguments) { reach(to, grid, *(const P*)arguments[I]...); }};
}

}  // namespace bodies_detail

template <class... P>
Body body(void (*kernel)(P...), unsigned threads, void (*reach)(Reach&, Dim3, const P&...)) {
    return bodies_detail::make(kernel, threads, reach, std::index_sequence_for<P...>());
}

template <bool CUBIC>
void overlay_reach(Reach& reach, Dim3 grid, const tubes::Jobs& jobs) {
    const size_t taps = CUBIC ? 8 : 2;
    for (unsigned i = 0; i < grid.y; ++i) {
        const tubes::Job& job = jobs.jobs[i];
        for (int p = 0; p < job.plane_count; ++p) {
            const tubes::PlaneJob& plane = job.planes[p];
            if (!plane.tiles) continue;
            const size_t row = (size_t)plane.columns * plane.channels * plane.sample_bytes;
            const size_t size = (size_t)(plane.rows - 1) * plane.pitch + row;
            reach.read(plane.data, size), reach.write(plane.data, size);
            reach.read(plane.across, taps * plane.columns * 2), reach.read(plane.down, taps * plane.rows * 2);
        }
        const size_t cells = (size_t)job.height * job.width * 4;
        reach.read(job.table, sizeof(tubes::Table));
        if (CUBIC) reach.read(job.coefficients, cells);
        if (!CUBIC && job.odd) reach.count(job.odd, 4);
        for (int p = 0; p < job.part_count; ++p)
            reach.read(job.parts[p].slice, cells), reach.read(job.parts[p].next, cells);
    }
}

// The last sample of an axis that counts; -1 where none does. Adds the filter's own tables to what is read.
inline int64_t last_of(Reach& reach, const tubes::Filter& filter, int outputs) {
    const auto first = reach.array(filter.first, outputs);
    const auto weights = reach.array(filter.weights, (size_t)outputs * filter.taps);
    int64_t last = -1;
    for (int i = 0; i < outputs; ++i)
        for (int tap = 0; tap < filter.taps && first[i] >= 0; ++tap)
            if (weights[(size_t)i * filter.taps + tap] != 0.0f) last = max(last, (int64_t)first[i] + tap);
    return last;
}

template <class T>
void planes_reach(Reach& reach, const tubes::PlaneSource* planes, int count, int width, int height) {
    for (int i = 0; i < count; ++i) {
        const tubes::PlaneSource& plane = planes[i];
        const int64_t column = last_of(reach, plane.across, width), row = last_of(reach, plane.down, height);
        const int channels = min(plane.step, 3);
        if (column >= 0 && row >= 0)
            reach.read(plane.data, row * plane.pitch + (column * plane.step + channels) * sizeof(T));
    }
}

inline void preprocess_reach(Reach& reach, Dim3 grid, const tubes::Shots& shots) {
    for (unsigned i = 0; i < grid.y; ++i) {
        const tubes::Shot& shot = shots.shots[i];
        const auto planes = shot.sample_bytes == 1 ? planes_reach<uint8_t> : planes_reach<uint16_t>;
        planes(reach, shot.planes, shot.plane_count, shot.width, shot.height);
        reach.write(shot.out, (size_t)3 * shot.width * shot.height);
    }
}

template <class T>
void fit_reach(Reach& reach, Dim3 grid, const tubes::Fit& fit) {
    for (unsigned i = 0; i < grid.z; ++i) {
        const tubes::FitGroup& group = fit.groups[i];
        planes_reach<T>(reach, group.planes, group.plane_count, group.width, group.height);
        for (int c = 0; c < group.channels; ++c)
            reach.write(group.out[c], (size_t)(group.height - 1) * group.pitch + (group.width - 1) * group.step + 1);
    }
}

inline void gather_reach(Reach& reach, Dim3 grid, const tubes::Gathered& job) {
    const size_t number = job.half ? 2 : 4;
    reach.read(job.table, 3 * 256 * 4);
    for (unsigned i = 0; i < grid.y; ++i) {
        const int sample = job.first + (int)i, clip = sample / job.clip_length, t = sample % job.clip_length;
        reach.read(job.samples[i], (size_t)3 * job.pixels);
        for (int c = 0; c < 3; ++c) {
            const size_t row = (size_t)(clip * 3 + c) * job.clip_length + t;
            reach.write((char*)job.out + row * job.pixels * number, job.pixels * number);
        }
    }
}

template <class T>
void evidence_reach(Reach& reach, Dim3, const T* const& activation, const float* const& weights, float* const& out,
                    const int32_t& channels, const int32_t& cells) {
    reach.read(activation, (size_t)channels * cells * sizeof(T));
    reach.read(weights, channels * sizeof(float));
    reach.write(out, cells * sizeof(float));
}

inline void frame_reach(Reach& reach, const tubes::Marks& marks) {
    for (int p = 0; p < marks.plane_count; ++p) {
        const tubes::MarkedPlane& plane = marks.planes[p];
        for (int line = -1; line < plane.line_count; ++line) {
            const tubes::Box& box = line < 0 ? plane.patch : plane.lines[line];
            if (box.rows < 1 || box.columns < 1) continue;
            const size_t column = (size_t)plane.channels * plane.sample_bytes;
            const uint8_t* first = plane.data + box.top * plane.pitch + box.left * column;
            const size_t size = (size_t)(box.rows - 1) * plane.pitch + box.columns * column;
            if (line < 0) reach.read(first, size);
            reach.write(first, size);
        }
        const size_t pixels = (size_t)plane.patch.rows * plane.patch.columns * sizeof(float);
        reach.read(plane.cover, pixels * (1 + plane.drawn));
    }
}

inline void marks_reach(Reach& reach, Dim3 grid, const tubes::MarkedFrames& marked) {
    for (unsigned y = 0; y < grid.y; ++y) frame_reach(reach, marked.frames[y]);
}

inline const std::map<std::string, Body>& bodies() {
    static const std::map<std::string, Body> made = {
        {"overlay_linear", body(overlay_linear, 256, overlay_reach<false>)},
        {"overlay_cubic", body(overlay_cubic, 256, overlay_reach<true>)},
        {"marks", body(marks, 256, marks_reach)},
        {"fit", body(fit, 256, fit_reach<uint8_t>)},
        {"fit_wide", body(fit_wide, 256, fit_reach<uint16_t>)},
        {"preprocess", body(preprocess, 256, preprocess_reach)},
        {"gather", body(gather, 256, gather_reach)},
        {"evidence_float", body(evidence_float, 512, evidence_reach<float>)},
        {"evidence_half", body(evidence_half, 512, evidence_reach<uint16_t>)},
    };
    return made;
}
