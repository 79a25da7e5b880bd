// CUDA graphs: what is queued on a stream that is being captured is kept, and queued again at each launch.

#pragma once

#include <memory>

#include "streams.h"

namespace gpu {

struct Capture {
    StreamPtr origin;
    std::vector<Work> works;
    bool invalid = false;

    void add(const StreamPtr&, Work work) { works.push_back(std::move(work)); }
    void spoilt() { invalid = true; }
};

bool is_capturing();  // whether any stream is
size_t live_graphs();
void forget_graphs();

}  // namespace gpu
