#include "world.h"

#include <stdarg.h>
#include <stdio.h>

#include "contexts.h"

namespace gpu {

World& world() {
    static World* made = new World;  // never destroyed: threads may end after it would be
    return *made;
}

uint64_t new_handle() {
    return world().next_handle += 16;
}

bool is_stale(const void* handle) {
    const uint64_t value = (uint64_t)handle;
    return value >= 0x70000000 && value <= world().oldest_handle;
}

void violation(const char* format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (world().settings.loud) fprintf(stderr, "gpu double: %s\n", text);
    if (world().violations.size() < 200) world().violations.push_back(text);
}

CUresult failure_of(const std::string& function) {
    for (Failure& failure : world().failures) {
        if (failure.function != function) continue;
        if (failure.after > 0) {
            --failure.after;
            continue;
        }
        if (failure.times == 0) continue;
        if (failure.times > 0) --failure.times;
        if (failure.sticky) world().broken = failure.code;
        return failure.code;
    }
    return CUDA_SUCCESS;
}

CUresult admitted(const char* function, Needs needs) {
    World& here = world();
    if (!here.settings.present || !here.initialized) return CUDA_ERROR_NOT_INITIALIZED;
    ++here.counters.calls[function];
    if (const CUresult code = failure_of(function)) return code;
    if (needs == CONTEXT && !current()) return CUDA_ERROR_INVALID_CONTEXT;
    return here.broken;
}

void nudge(Lock& lock) {
    World& here = world();
    if (here.settings.seed == 0) return;
    if (here.settings.seed == 1) {
        while (step(lock)) {}
        return;
    }
    if (here.random() % 3) return;
    for (uint32_t i = here.random() % 4; i > 0 && step(lock); --i) {}
}

}  // namespace gpu
