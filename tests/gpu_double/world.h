// The machine that is not there: what it is, what went wrong on it, what was counted, and the gate of every call.

#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "clock.h"
#include "cuda_api.h"

namespace gpu {

using Lock = std::unique_lock<std::mutex>;

struct Settings {
    bool present = false;  // whether the driver finds a GPU at all
    bool integrated = false;
    int gpus = 1;
    uint32_t seed = 0;  // 0: work is done as late as can be; 1: at once; else at random moments, in random order
    int driver_version = 13000;
    bool only_its_own = false;  // whether functions of newer drivers are missing: bindings look for them once a process
    size_t memory = (size_t)8 << 30;
    std::string name = "Double";
    int major = 8, minor = 9;
    int backwards = -1;  // whether the last block and thread of a kernel run first; -1: sometimes
    int rubbish = -1;  // what a kernel finds in shared memory, see cuda_shim.h; -1: something else each time
    bool keeps_launches = false;
    bool loud = false;  // whether violations are printed as they happen
};

struct Failure {
    std::string function;
    CUresult code;
    int after;  // how many calls still succeed
    int times;  // how many fail then; -1: all
    bool sticky;  // whether everything fails from then on
};

// A launch, for tests that look at what a kernel was given.
struct Launched {
    std::string kernel;
    unsigned grid[3];
    std::vector<std::vector<char>> arguments;
};

struct Counters {
    std::map<std::string, long> calls, launches, launched_on, waits, copies, copied_bytes;
    long allocations = 0, frees = 0, pinned_allocations = 0, pinned_frees = 0;
    long modules_loaded = 0, contexts_made = 0, streams_made = 0, events_made = 0, graphs_made = 0, graph_launches = 0;
    long pageable_copies = 0;  // asynchronous by name only
    size_t memory_peak = 0;
};

struct World {
    std::mutex mutex;
    std::condition_variable progress;  // an operation that runs without the lock has ended
    Settings settings;
    bool initialized = false;
    CUresult broken = CUDA_SUCCESS;  // an error that every call gives from now on
    std::vector<Failure> failures;
    std::vector<std::string> violations;
    std::vector<Launched> launched;
    Counters counters;
    std::mt19937 random{1};
    Clock host;
    int lanes = 0;
    uint64_t next_handle = 0x70000000, oldest_handle = 0x70000000;
};

World& world();

uint64_t new_handle();

// Whether a handle was given before the last reset: its owner is garbage of an earlier test, and harmless.
bool is_stale(const void* handle);

__attribute__((format(printf, 1, 2))) void violation(const char* format, ...);

// The failure that was asked for this function, if it is its turn; else 0.
CUresult failure_of(const std::string& function);

enum Needs { DRIVER, CONTEXT };

// What a call is answered before it does anything: an error, or 0.
CUresult admitted(const char* function, Needs needs);

// Lets some queued work be done, as the seed says.
void nudge(Lock& lock);

template <class Body>
CUresult call(const char* function, Needs needs, Body body) {
    Lock lock(world().mutex);
    if (const CUresult code = admitted(function, needs)) return code;
    nudge(lock);
    const CUresult code = body(lock);
    if (world().settings.seed == 1) nudge(lock);
    return code;
}

}  // namespace gpu
