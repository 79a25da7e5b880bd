#include "contexts.h"

#include <unistd.h>

#include "memory.h"
#include "modules.h"

namespace gpu {

namespace {

auto& contexts = *new std::map<CUcontext, ContextPtr>;  // never destroyed: threads may end after that
auto& primaries = *new std::map<int, ContextPtr>;
int generation = 0;

// What a thread has pushed. Its end is checked: whoever pushes a context in a thread must pop it there.
struct Stack {
    std::vector<CUcontext> handles;
    int generation = 0;

    std::vector<CUcontext>& now() {
        if (generation != gpu::generation) handles.clear();
        generation = gpu::generation;
        return handles;
    }

    ~Stack() {
        Lock lock(world().mutex);
        if (!now().empty() && thread_number() != getpid())  // the main thread takes them with it
            violation("a thread ended with %zu contexts that it had made current and not given back", handles.size());
    }
};
thread_local Stack stack;

int devices() {
    return world().settings.gpus;
}

}  // namespace

ContextPtr context_of(CUcontext handle) {
    const auto found = contexts.find(handle);
    return found == contexts.end() ? nullptr : found->second;
}

ContextPtr current() {
    if (stack.now().empty()) return nullptr;
    const ContextPtr found = context_of(stack.now().back());
    return found && found->alive ? found : nullptr;
}

ContextPtr new_context(int device, bool is_primary, unsigned flags) {
    const auto made = std::make_shared<Context>();
    made->handle = (CUcontext)new_handle();
    made->device = device, made->is_primary = is_primary, made->flags = flags;
    made->legacy = new_stream(made, true, 0);
    contexts[made->handle] = made;
    ++world().counters.contexts_made;
    return made;
}

void destroy_context(Lock& lock, const ContextPtr& context) {
    finish_all(lock, context->device);
    context->alive = false;
    destroy_stream(context->legacy);
    for (auto& [thread, stream] : context->of_threads) destroy_stream(stream);
    for (const AllocationPtr& allocation : live_allocations())
        if (allocation->context == (uint64_t)context->handle) release(allocation);
    unload_modules((uint64_t)context->handle);
}

int pushed_here() {
    return (int)stack.now().size();
}

void forget_contexts() {
    ++generation;
    contexts.clear();
    primaries.clear();
}

}  // namespace gpu

using namespace gpu;

API CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
    return call("cuDevicePrimaryCtxRetain", DRIVER, [&](Lock&) {
        if (device < 0 || device >= devices()) return CUDA_ERROR_INVALID_DEVICE;
        ContextPtr& primary = primaries[device];
        if (!primary || !primary->alive) primary = new_context(device, true, primary ? primary->flags : 0);
        ++primary->retained;
        *context = primary->handle;
        return CUDA_SUCCESS;
    });
}

API CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
    return call("cuDevicePrimaryCtxRelease", DRIVER, [&](Lock& lock) {
        const ContextPtr primary = primaries[device];
        if (!primary || !primary->alive) return CUDA_ERROR_INVALID_CONTEXT;
        if (--primary->retained == 0) destroy_context(lock, primary);
        return CUDA_SUCCESS;
    });
}
API CUresult cuDevicePrimaryCtxRelease(CUdevice device) {
    return cuDevicePrimaryCtxRelease_v2(device);
}

API CUresult cuDevicePrimaryCtxReset_v2(CUdevice device) {
    return call("cuDevicePrimaryCtxReset", DRIVER, [&](Lock& lock) {
        if (primaries[device] && primaries[device]->alive) destroy_context(lock, primaries[device]);
        return CUDA_SUCCESS;
    });
}

API CUresult cuDevicePrimaryCtxSetFlags_v2(CUdevice device, unsigned flags) {
    return call("cuDevicePrimaryCtxSetFlags", DRIVER, [&](Lock&) {
        if (device < 0 || device >= devices()) return CUDA_ERROR_INVALID_DEVICE;
        if (primaries[device] && primaries[device]->alive) primaries[device]->flags = flags;
        return CUDA_SUCCESS;
    });
}

API CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned* flags, int* active) {
    return call("cuDevicePrimaryCtxGetState", DRIVER, [&](Lock&) {
        if (device < 0 || device >= devices()) return CUDA_ERROR_INVALID_DEVICE;
        const ContextPtr primary = primaries[device];
        *active = primary && primary->alive;
        *flags = *active ? primary->flags : 0;
        return CUDA_SUCCESS;
    });
}

API CUresult cuCtxCreate_v2(CUcontext* context, unsigned flags, CUdevice device) {
    return call("cuCtxCreate", DRIVER, [&](Lock&) {
        if (device < 0 || device >= devices()) return CUDA_ERROR_INVALID_DEVICE;
        *context = new_context(device, false, flags)->handle;
        stack.now().push_back(*context);
        return CUDA_SUCCESS;
    });
}
API CUresult cuCtxCreate_v4(CUcontext* context, void*, unsigned flags, CUdevice device) {
    return cuCtxCreate_v2(context, flags, device);
}

API CUresult cuCtxDestroy_v2(CUcontext context) {
    return call("cuCtxDestroy", DRIVER, [&](Lock& lock) {
        const ContextPtr found = context_of(context);
        if (!found || !found->alive || found->is_primary) return CUDA_ERROR_INVALID_CONTEXT;
        if (!stack.now().empty() && stack.now().back() == context) stack.now().pop_back();
        destroy_context(lock, found);
        return CUDA_SUCCESS;
    });
}

API CUresult cuCtxPushCurrent_v2(CUcontext context) {
    return call("cuCtxPushCurrent", DRIVER, [&](Lock&) {
        const ContextPtr found = context_of(context);
        if (!found) return CUDA_ERROR_INVALID_CONTEXT;
        if (!found->alive) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
        stack.now().push_back(context);
        return CUDA_SUCCESS;
    });
}
API CUresult cuCtxPopCurrent_v2(CUcontext* context) {
    Lock lock(world().mutex);  // also where everything fails: a thread can always be cleared up
    if (stack.now().empty()) return CUDA_ERROR_INVALID_CONTEXT;
    if (context) *context = stack.now().back();
    stack.now().pop_back();
    return CUDA_SUCCESS;
}
API CUresult cuCtxSetCurrent(CUcontext context) {
    return call("cuCtxSetCurrent", DRIVER, [&](Lock&) {
        if (!stack.now().empty()) stack.now().pop_back();
        if (!context) return CUDA_SUCCESS;
        if (!context_of(context)) return CUDA_ERROR_INVALID_CONTEXT;
        stack.now().push_back(context);
        return CUDA_SUCCESS;
    });
}
API CUresult cuCtxGetCurrent(CUcontext* context) {
    Lock lock(world().mutex);
    *context = stack.now().empty() ? nullptr : stack.now().back();
    return CUDA_SUCCESS;
}
API CUresult cuCtxGetDevice(CUdevice* device) {
    return call("cuCtxGetDevice", CONTEXT, [&](Lock&) {
        *device = current()->device;
        return CUDA_SUCCESS;
    });
}
API CUresult cuCtxGetApiVersion(CUcontext, unsigned* version) {
    *version = 3020;
    return CUDA_SUCCESS;
}
API CUresult cuCtxGetFlags(unsigned* flags) {
    return call("cuCtxGetFlags", CONTEXT, [&](Lock&) {
        *flags = current()->flags;
        return CUDA_SUCCESS;
    });
}
API CUresult cuCtxGetStreamPriorityRange(int* least, int* greatest) {
    return call("cuCtxGetStreamPriorityRange", CONTEXT, [&](Lock&) {
        if (least) *least = 0;
        if (greatest) *greatest = world().settings.integrated ? -2 : -5;
        return CUDA_SUCCESS;
    });
}
API CUresult cuCtxSynchronize(void) {
    return call("cuCtxSynchronize", CONTEXT, [&](Lock& lock) {
        const ContextPtr context = current();
        waited("cuCtxSynchronize", "all", pending() > 0, !(context->flags & CU_CTX_SCHED_BLOCKING_SYNC));
        finish_all(lock, context->device);
        return world().broken;
    });
}
API CUresult cuCtxEnablePeerAccess(CUcontext, unsigned) {
    return CUDA_SUCCESS;
}
API CUresult cuCtxDisablePeerAccess(CUcontext) {
    return CUDA_SUCCESS;
}
