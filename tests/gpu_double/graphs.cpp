#include "graphs.h"

namespace gpu {

namespace {

int capturing = 0;
auto& graphs = *new std::map<uint64_t, std::shared_ptr<Capture>>;  // never destroyed. Graphs, and what was instantiated from them

}  // namespace

bool is_capturing() {
    return capturing > 0;
}
size_t live_graphs() {
    return graphs.size();
}
void forget_graphs() {
    graphs.clear();
    capturing = 0;
}

}  // namespace gpu

using namespace gpu;

template <class Body>
static CUresult on_captured(const char* function, CUstream handle, Body body) {
    return call(function, CONTEXT, [&](Lock&) -> CUresult {
        const StreamPtr stream = stream_of(handle);
        return stream ? body(stream) : CUDA_ERROR_INVALID_HANDLE;
    });
}

API CUresult cuStreamBeginCapture_v2(CUstream handle, int) {
    return on_captured("cuStreamBeginCapture", handle, [&](const StreamPtr& stream) -> CUresult {
        if (stream->capture || (uint64_t)handle <= 1) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
        stream->capture = std::make_shared<Capture>();
        stream->capture->origin = stream;
        ++capturing;
        return CUDA_SUCCESS;
    });
}
API CUresult cuStreamBeginCapture(CUstream handle) {
    return cuStreamBeginCapture_v2(handle, 0);
}
API CUresult cuStreamEndCapture(CUstream handle, CUgraph* graph) {
    return on_captured("cuStreamEndCapture", handle, [&](const StreamPtr& stream) -> CUresult {
        if (!stream->capture || stream->capture->origin != stream) return CUDA_ERROR_ILLEGAL_STATE;
        const auto capture = std::move(stream->capture);
        stream->capture = nullptr;
        capture->origin = nullptr;
        --capturing;
        *graph = nullptr;
        if (capture->invalid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
        *graph = (CUgraph)new_handle();
        graphs[(uint64_t)*graph] = capture;
        return CUDA_SUCCESS;
    });
}
API CUresult cuStreamIsCapturing(CUstream handle, int* status) {
    return on_captured("cuStreamIsCapturing", handle, [&](const StreamPtr& stream) {
        *status = stream->capture ? 1 : 0;
        return CUDA_SUCCESS;
    });
}
API CUresult cuStreamGetCaptureInfo_v3(CUstream handle, int* status, uint64_t* id, CUgraph*, void*, void*, size_t*) {
    return on_captured("cuStreamGetCaptureInfo", handle, [&](const StreamPtr& stream) {
        *status = stream->capture ? 1 : 0;
        if (id) *id = (uint64_t)stream->capture.get();
        return CUDA_SUCCESS;
    });
}
API CUresult cuThreadExchangeStreamCaptureMode(int*) {
    return CUDA_SUCCESS;
}
API CUresult cuGraphInstantiateWithFlags(CUgraphExec* made, CUgraph graph, unsigned long long) {
    return call("cuGraphInstantiate", CONTEXT, [&](Lock&) {
        const auto found = graphs.find((uint64_t)graph);
        if (found == graphs.end()) return CUDA_ERROR_INVALID_VALUE;
        *made = (CUgraphExec)new_handle();
        graphs[(uint64_t)*made] = found->second;
        ++world().counters.graphs_made;
        return CUDA_SUCCESS;
    });
}
API CUresult cuGraphLaunch(CUgraphExec graph, CUstream handle) {
    return on_captured("cuGraphLaunch", handle, [&](const StreamPtr& stream) {
        const auto found = graphs.find((uint64_t)graph);
        if (found == graphs.end()) return CUDA_ERROR_INVALID_VALUE;
        for (const Work& work : found->second->works) {
            enqueue(stream, work);
            if (work.name.rfind("kernel ", 0) == 0) ++world().counters.launches[work.name.substr(7)];
        }
        ++world().counters.graph_launches;
        return CUDA_SUCCESS;
    });
}
API CUresult cuGraphUpload(CUgraphExec, CUstream) {
    return CUDA_SUCCESS;
}
API CUresult cuGraphDestroy(CUgraph graph) {
    return call("cuGraphDestroy", DRIVER, [&](Lock&) {
        return graphs.erase((uint64_t)graph) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    });
}
API CUresult cuGraphExecDestroy(CUgraphExec graph) {
    return call("cuGraphExecDestroy", DRIVER, [&](Lock&) {
        return graphs.erase((uint64_t)graph) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    });
}
