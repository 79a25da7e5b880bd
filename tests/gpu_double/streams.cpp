#include "streams.h"

#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>

#include "contexts.h"
#include "graphs.h"
#include "memory.h"

namespace gpu {

namespace {

auto& streams = *new std::map<CUstream, StreamPtr>;  // never destroyed: threads may end after that
auto& busy = *new std::vector<StreamPtr>;  // streams that have operations in their queue, those destroyed meanwhile too
auto& destroyed = *new std::map<int, Clock>;  // of the streams of each GPU that are no more
auto& events = *new std::map<CUevent, EventPtr>;

double now() {
    timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec * 1e-9;
}

bool runnable(const OpPtr& op) {
    return !op->running && std::all_of(op->after.begin(), op->after.end(), [](const OpPtr& other) { return other->done; });
}

void carry_out(Lock& lock, const StreamPtr& stream, const OpPtr& op) {
    op->running = true;
    const CUresult failed = failure_of("run " + op->work.name);  // the work itself fails, which later calls are told
    if (failed) world().broken = failed;
    if (op->work.run && !world().broken) {
        Reach reach;
        reach.fetch = [&](void* to, uint64_t from, size_t size) {
            const AllocationPtr allocation = find(from);
            if (allocation && !allocation->freed && from + size <= allocation->begin + allocation->size)
                memcpy(to, own(from), size);
            else
                memset(to, 0, size);
        };
        if (op->work.reach) op->work.reach(reach);
        Window window(*op, std::move(reach.ranges), true);
        if (!window.good) {
            world().broken = CUDA_ERROR_ILLEGAL_ADDRESS;
        } else if (op->work.without_lock) {
            lock.unlock();
            op->work.run();
            lock.lock();
        } else {
            op->work.run();
        }
    }
    op->done = true;
    op->finished = now();
    op->after.clear();
    op->work = {op->work.name, nullptr, nullptr, false};
    stream->queue.pop_front();
    if (stream->queue.empty()) busy.erase(std::find(busy.begin(), busy.end(), stream));
    world().progress.notify_all();
}

// Lets the device get on until the condition holds.
void until(Lock& lock, const std::function<bool()>& enough) {
    while (!enough()) {
        if (step(lock)) continue;
        const bool runs = std::any_of(busy.begin(), busy.end(), [](const StreamPtr& stream) {
            return stream->queue.front()->running;
        });
        if (!runs) {
            violation("a wait that can never end");
            return;
        }
        world().progress.wait(lock);
    }
}

}  // namespace

long thread_number() {
    return syscall(SYS_gettid);
}

StreamPtr new_stream(const std::shared_ptr<Context>& context, bool blocking, int priority) {
    const auto made = std::make_shared<Stream>();
    made->handle = (CUstream)new_handle();
    made->context = context, made->device = context->device, made->lane = world().lanes++;
    made->blocking = blocking, made->priority = priority;
    streams[made->handle] = made;
    return made;
}

void destroy_stream(const StreamPtr& stream) {
    destroyed[stream->device].join(stream->clock);
    streams.erase(stream->handle);
}

StreamPtr stream_of(CUstream handle) {
    const ContextPtr context = current();
    const uint64_t number = (uint64_t)handle;
    if (number <= 1) return context ? context->legacy : nullptr;
    if (number == 2) {
        if (!context) return nullptr;
        StreamPtr& own = context->of_threads[thread_number()];
        if (!own) own = new_stream(context, true, 0);
        return own;
    }
    const auto found = streams.find(handle);
    if (found != streams.end()) {
        const ContextPtr home = found->second->context.lock();
        if (context && home != context)
            violation("stream %p of GPU %d was used while a context of GPU %d is current", (void*)handle,
                      home ? home->device : -1, context->device);
        return found->second;
    }
    if (!is_stale(handle) && number < world().next_handle + 1 && number > 0x70000000)
        violation("a stream was used after it was destroyed (%p)", (void*)handle);
    return nullptr;
}

EventPtr event_of(CUevent handle) {
    const auto found = events.find(handle);
    if (found != events.end()) return found->second;
    if (!is_stale(handle)) violation("an event was used that does not exist, or no longer (%p)", (void*)handle);
    return nullptr;
}

std::string name_of(const StreamPtr& stream) {
    const ContextPtr context = stream->context.lock();
    if (context && context->legacy == stream) return "0";
    return std::to_string((uint64_t)stream->handle);
}

OpPtr enqueue(const StreamPtr& stream, Work work) {
    if (stream->capture) return stream->capture->add(stream, std::move(work)), nullptr;
    const auto op = std::make_shared<Op>();
    op->work = std::move(work), op->device = stream->device, op->lane = stream->lane;
    op->after = std::move(stream->waits);
    stream->waits.clear();
    if (stream->tail) op->after.push_back(stream->tail);
    const ContextPtr context = stream->context.lock();
    if (context && stream->blocking) {  // stream 0 and blocking streams wait for each other
        for (auto& [handle, other] : streams)
            if (other != stream && other->blocking && other->context.lock() == context && other->tail &&
                (stream == context->legacy || other == context->legacy)) {
                op->after.push_back(other->tail);
                stream->clock.join(other->clock);
            }
    }
    stream->clock.join(world().host);
    stream->clock.set(stream->lane, ++stream->time);
    op->time = stream->time, op->clock = stream->clock;
    if (stream->queue.empty()) busy.push_back(stream);
    stream->queue.push_back(op);
    stream->tail = op;
    return op;
}

bool step(Lock& lock) {
    std::vector<StreamPtr> ready;
    for (const StreamPtr& stream : busy)
        if (runnable(stream->queue.front())) ready.push_back(stream);
    if (ready.empty()) return false;
    const StreamPtr chosen = ready[world().random() % ready.size()];
    carry_out(lock, chosen, chosen->queue.front());
    return true;
}

void finish(Lock& lock, const OpPtr& op) {
    if (!op) return;
    until(lock, [&] { return op->done; });
    world().host.join(op->clock);
}

void finish_stream(Lock& lock, const StreamPtr& stream) {
    finish(lock, stream->tail);
}

void finish_all(Lock& lock, int device) {
    const auto here = [&](const StreamPtr& stream) { return device < 0 || stream->device == device; };
    until(lock, [&] { return std::none_of(busy.begin(), busy.end(), here); });
    for (auto& [handle, stream] : streams)
        if (here(stream)) world().host.join(stream->clock);
    for (auto& [gpu, clock] : destroyed)
        if (device < 0 || gpu == device) world().host.join(clock);
}

size_t pending() {
    size_t count = 0;
    for (const StreamPtr& stream : busy) count += stream->queue.size();
    return count;
}

size_t pending(const StreamPtr& stream) {
    return stream->queue.size();
}

void waited(const char* function, const std::string& stream, bool pending, bool spins) {
    ++world().counters.waits[std::to_string(thread_number()) + "|" + function + "|" + stream + "|" +
                             (pending ? "waited" : "done") + "|" + (spins ? "spins" : "sleeps")];
}

size_t live_streams() {
    size_t count = 0;
    for (auto& [handle, stream] : streams) {
        const ContextPtr context = stream->context.lock();
        const auto is_own = [&](const auto& each) { return each.second == stream; };  // a thread's stream 2
        count += context && context->legacy != stream &&
                 std::none_of(context->of_threads.begin(), context->of_threads.end(), is_own);
    }
    return count;
}

size_t live_events() {
    return events.size();
}

void forget_streams() {
    streams.clear();
    busy.clear();
    destroyed.clear();
    events.clear();
}

}  // namespace gpu

using namespace gpu;

API CUresult cuStreamCreateWithPriority(CUstream* stream, unsigned flags, int priority) {
    return call("cuStreamCreate", CONTEXT, [&](Lock&) {
        if (flags > 1) return CUDA_ERROR_INVALID_VALUE;
        *stream = new_stream(current(), !(flags & CU_STREAM_NON_BLOCKING), priority)->handle;
        ++world().counters.streams_made;
        return CUDA_SUCCESS;
    });
}
API CUresult cuStreamCreate(CUstream* stream, unsigned flags) {
    return cuStreamCreateWithPriority(stream, flags, 0);
}
API CUresult cuStreamDestroy_v2(CUstream handle) {
    return call("cuStreamDestroy", DRIVER, [&](Lock&) {
        const auto found = streams.find(handle);
        if (found == streams.end()) return CUDA_ERROR_INVALID_HANDLE;
        destroy_stream(found->second);
        return CUDA_SUCCESS;
    });
}
API CUresult cuStreamDestroy(CUstream handle) {
    return cuStreamDestroy_v2(handle);
}

// Calls `body` with the stream.
template <class Body>
CUresult on_stream(const char* function, CUstream handle, Body body) {
    return call(function, CONTEXT, [&](Lock& lock) -> CUresult {
        const StreamPtr stream = stream_of(handle);
        return stream ? body(lock, stream) : CUDA_ERROR_INVALID_HANDLE;
    });
}

API CUresult cuStreamSynchronize(CUstream handle) {
    return on_stream("cuStreamSynchronize", handle, [&](Lock& lock, const StreamPtr& stream) -> CUresult {
        if (stream->capture) return stream->capture->spoilt(), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
        const bool sleeps = current()->flags & CU_CTX_SCHED_BLOCKING_SYNC;
        waited("cuStreamSynchronize", name_of(stream), pending(stream) > 0, !sleeps);
        if (!stream->waits.empty()) enqueue(stream, {"nothing", nullptr, nullptr});
        finish_stream(lock, stream);
        return world().broken;
    });
}
API CUresult cuStreamQuery(CUstream handle) {
    return on_stream("cuStreamQuery", handle, [&](Lock& lock, const StreamPtr& stream) -> CUresult {
        if (stream->queue.empty() && stream->waits.empty()) return finish_stream(lock, stream), world().broken;
        if (!stream->waits.empty()) enqueue(stream, {"nothing", nullptr, nullptr});
        step(lock);  // who polls gets there at last
        return CUDA_ERROR_NOT_READY;
    });
}
API CUresult cuStreamGetFlags(CUstream handle, unsigned* flags) {
    return on_stream("cuStreamGetFlags", handle, [&](Lock&, const StreamPtr& stream) {
        *flags = stream->blocking ? 0u : CU_STREAM_NON_BLOCKING;
        return CUDA_SUCCESS;
    });
}
API CUresult cuStreamGetPriority(CUstream handle, int* priority) {
    return on_stream("cuStreamGetPriority", handle, [&](Lock&, const StreamPtr& stream) {
        *priority = stream->priority;
        return CUDA_SUCCESS;
    });
}
API CUresult cuStreamGetCtx(CUstream handle, CUcontext* context) {
    return on_stream("cuStreamGetCtx", handle, [&](Lock&, const StreamPtr& stream) {
        *context = stream->context.lock()->handle;
        return CUDA_SUCCESS;
    });
}
API CUresult cuStreamWaitEvent(CUstream handle, CUevent event_handle, unsigned) {
    return on_stream("cuStreamWaitEvent", handle, [&](Lock&, const StreamPtr& stream) -> CUresult {
        const EventPtr event = event_of(event_handle);
        if (!event) return CUDA_ERROR_INVALID_HANDLE;
        if (event->capture) stream->capture = event->capture;  // it takes part in the capture from now on
        if (stream->capture || !event->op) return CUDA_SUCCESS;
        if (!event->op->done) stream->waits.push_back(event->op);
        stream->clock.join(event->clock);
        return CUDA_SUCCESS;
    });
}
API CUresult cuLaunchHostFunc(CUstream handle, void (*function)(void*), void* data) {
    return on_stream("cuLaunchHostFunc", handle, [&](Lock&, const StreamPtr& stream) {
        enqueue(stream, {"a host function", nullptr, [=] { function(data); }, true});
        return CUDA_SUCCESS;
    });
}

API CUresult cuEventCreate(CUevent* handle, unsigned flags) {
    return call("cuEventCreate", CONTEXT, [&](Lock&) {
        if (flags > 7) return CUDA_ERROR_INVALID_VALUE;
        const auto made = std::make_shared<Event>();
        made->handle = (CUevent)new_handle(), made->flags = flags;
        events[made->handle] = made;
        *handle = made->handle;
        ++world().counters.events_made;
        return CUDA_SUCCESS;
    });
}
API CUresult cuEventDestroy_v2(CUevent handle) {
    return call("cuEventDestroy", DRIVER, [&](Lock&) {
        return events.erase(handle) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
    });
}
API CUresult cuEventDestroy(CUevent handle) {
    return cuEventDestroy_v2(handle);
}
API CUresult cuEventRecord(CUevent handle, CUstream stream_handle) {
    return on_stream("cuEventRecord", stream_handle, [&](Lock&, const StreamPtr& stream) -> CUresult {
        const EventPtr event = event_of(handle);
        if (!event) return CUDA_ERROR_INVALID_HANDLE;
        event->capture = stream->capture;
        if (stream->capture) return CUDA_SUCCESS;
        event->op = enqueue(stream, {"an event", nullptr, nullptr});
        event->clock = event->op->clock;
        event->stream = name_of(stream);
        return CUDA_SUCCESS;
    });
}
API CUresult cuEventRecordWithFlags(CUevent handle, CUstream stream, unsigned) {
    return cuEventRecord(handle, stream);
}
API CUresult cuEventQuery(CUevent handle) {
    return call("cuEventQuery", CONTEXT, [&](Lock& lock) -> CUresult {
        const EventPtr event = event_of(handle);
        if (!event) return CUDA_ERROR_INVALID_HANDLE;
        if (event->op && !event->op->done) return step(lock), CUDA_ERROR_NOT_READY;
        finish(lock, event->op);
        return world().broken;
    });
}
API CUresult cuEventSynchronize(CUevent handle) {
    return call("cuEventSynchronize", CONTEXT, [&](Lock& lock) -> CUresult {
        const EventPtr event = event_of(handle);
        if (!event) return CUDA_ERROR_INVALID_HANDLE;
        if (event->capture) return event->capture->spoilt(), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
        const bool sleeps = event->flags & CU_EVENT_BLOCKING_SYNC || current()->flags & CU_CTX_SCHED_BLOCKING_SYNC;
        waited("cuEventSynchronize", event->stream, event->op && !event->op->done, !sleeps);
        finish(lock, event->op);
        return world().broken;
    });
}
API CUresult cuEventElapsedTime_v2(float* milliseconds, CUevent from, CUevent to) {
    return call("cuEventElapsedTime", CONTEXT, [&](Lock&) -> CUresult {
        const EventPtr first = event_of(from), last = event_of(to);
        if (!first || !last || !first->op || !last->op) return CUDA_ERROR_INVALID_HANDLE;
        if ((first->flags | last->flags) & CU_EVENT_DISABLE_TIMING) return CUDA_ERROR_INVALID_HANDLE;
        if (!first->op->done || !last->op->done) return CUDA_ERROR_NOT_READY;
        *milliseconds = (float)((last->op->finished - first->op->finished) * 1e3);
        return CUDA_SUCCESS;
    });
}
API CUresult cuEventElapsedTime(float* milliseconds, CUevent from, CUevent to) {
    return cuEventElapsedTime_v2(milliseconds, from, to);
}
