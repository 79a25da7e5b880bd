// Contexts, and which of them each thread has made current.

#pragma once

#include <memory>

#include "streams.h"
#include "world.h"

namespace gpu {

struct Context {
    CUcontext handle;
    int device;
    bool is_primary;
    unsigned flags = 0;
    int retained = 0;
    bool alive = true;
    StreamPtr legacy;  // stream 0
    std::map<long, StreamPtr> of_threads;  // stream 2 is another one for each thread
};
using ContextPtr = std::shared_ptr<Context>;

// The calling thread's current context; null if it has none, or one that was destroyed.
ContextPtr current();
ContextPtr context_of(CUcontext handle);
ContextPtr new_context(int device, bool is_primary, unsigned flags);

// Frees what lives in a context.
void destroy_context(Lock& lock, const ContextPtr& context);

// What each thread has pushed and not popped; for the report at the end.
int pushed_here();
void forget_contexts();

}  // namespace gpu
