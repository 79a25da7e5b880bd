// Copies and fills, between the host and the device.
//
// As CUDA does it: from pinned memory the source is read when the copy is carried out, whatever it then holds. Pageable
// memory is read before the call returns; a copy to pageable memory has ended when the call returns.

#include <string.h>

#include "contexts.h"
#include "memory.h"

namespace gpu {

namespace {

// Rows of `width` bytes, `pitch` apart; a plain copy has one.
struct Side {
    uint64_t address;
    size_t pitch;
};

struct Copy {
    Side to, from;
    size_t width, height;
    std::vector<char> kept;  // the source, if it was pageable

    static size_t span(const Side& side, size_t width, size_t height) { return (height - 1) * side.pitch + width; }

    void run() {
        if (!kept.empty()) from = {(uint64_t)kept.data(), width};
        for (size_t y = 0; y < height; ++y)
            memmove(own(to.address + y * to.pitch), own(from.address + y * from.pitch), width);
    }
};

bool is_pageable(uint64_t address) {
    return !is_device(address) && !find(address);
}

const char* letter(uint64_t address) {
    return is_device(address) ? "D" : "H";
}

CUresult copy(Lock& lock, const char* function, Copy what, CUstream handle, bool wait) {
    const StreamPtr stream = stream_of(handle);
    if (!stream) return CUDA_ERROR_INVALID_HANDLE;
    if (what.width == 0 || what.height == 0) return CUDA_SUCCESS;
    const std::string direction = std::string(letter(what.from.address)) + "to" + letter(what.to.address);
    const bool from_pageable = is_pageable(what.from.address), to_pageable = is_pageable(what.to.address);
    if (from_pageable) {
        what.kept.resize(what.width * what.height);
        for (size_t y = 0; y < what.height; ++y)
            memcpy(&what.kept[y * what.width], (char*)what.from.address + y * what.from.pitch, what.width);
    } else if (const AllocationPtr target = find(what.to.address); target && target->kind == Kind::PINNED && !target->freed) {
        // Whoever reads the target before it has waited must not find what an earlier copy left there.
        for (size_t y = 0; y < what.height && target->begin + target->size >= what.to.address + Copy::span(what.to, what.width, what.height); ++y)
            memset((char*)what.to.address + y * what.to.pitch, 0xDF, what.width);
    }
    const auto shared = std::make_shared<Copy>(std::move(what));
    const auto reach = [=](Reach& reach) {
        if (!from_pageable)
            reach.read((void*)shared->from.address, Copy::span(shared->from, shared->width, shared->height));
        if (!to_pageable)
            reach.write((void*)shared->to.address, Copy::span(shared->to, shared->width, shared->height));
    };
    world().counters.pageable_copies += from_pageable || to_pageable;
    ++world().counters.copies[direction];
    world().counters.copied_bytes[direction] += shared->width * shared->height;
    const std::string name = std::string(function) + " of " + std::to_string(shared->width * shared->height) + " bytes";
    const OpPtr op = enqueue(stream, {name, reach, [=] { shared->run(); }});
    if (op && (wait || to_pageable)) {
        waited(function, name_of(stream), true, true);
        finish(lock, op);
        return world().broken;
    }
    return CUDA_SUCCESS;
}

CUresult plain(const char* function, uint64_t to, uint64_t from, size_t size, CUstream stream, bool wait) {
    return call(function, CONTEXT, [&](Lock& lock) {
        return copy(lock, function, {{to, size}, {from, size}, size, 1, {}}, stream, wait);
    });
}

CUresult rows(const char* function, const CUDA_MEMCPY2D* all, CUstream stream, bool wait) {
    return call(function, CONTEXT, [&](Lock& lock) {
        const auto side = [](unsigned type, const void* host, CUdeviceptr device, size_t pitch, size_t x, size_t y) {
            return Side{(type == CU_MEMORYTYPE_HOST ? (uint64_t)host : device) + y * pitch + x, pitch};
        };
        const Side from = side(all->srcMemoryType, all->srcHost, all->srcDevice, all->srcPitch, all->srcXInBytes, all->srcY);
        const Side to = side(all->dstMemoryType, all->dstHost, all->dstDevice, all->dstPitch, all->dstXInBytes, all->dstY);
        if (from.pitch < all->WidthInBytes || to.pitch < all->WidthInBytes) return CUDA_ERROR_INVALID_VALUE;
        return copy(lock, function, {to, from, all->WidthInBytes, all->Height, {}}, stream, wait);
    });
}

template <class T>
CUresult fill(const char* function, CUdeviceptr to, size_t pitch, T value, size_t width, size_t height, CUstream handle) {
    return call(function, CONTEXT, [&](Lock&) {
        const StreamPtr stream = stream_of(handle);
        if (!stream) return CUDA_ERROR_INVALID_HANDLE;
        if (!width || !height) return CUDA_SUCCESS;
        const auto reach = [=](Reach& reach) { reach.write((void*)to, (height - 1) * pitch + width * sizeof(T)); };
        enqueue(stream, {function, reach, [=] {
                             for (size_t y = 0; y < height; ++y)
                                 for (size_t x = 0; x < width; ++x) ((T*)own(to + y * pitch))[x] = value;
                         }});
        return CUDA_SUCCESS;
    });
}

}  // namespace
}  // namespace gpu

using namespace gpu;

API CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, size_t size, CUstream stream) {
    return plain("cuMemcpyHtoDAsync", to, (uint64_t)from, size, stream, false);
}
API CUresult cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t size, CUstream stream) {
    return plain("cuMemcpyDtoHAsync", (uint64_t)to, from, size, stream, false);
}
API CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream) {
    return plain("cuMemcpyDtoDAsync", to, from, size, stream, false);
}
API CUresult cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream) {
    return plain("cuMemcpyAsync", to, from, size, stream, false);
}
API CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void* from, size_t size) {
    return plain("cuMemcpyHtoD", to, (uint64_t)from, size, nullptr, true);
}
API CUresult cuMemcpyDtoH_v2(void* to, CUdeviceptr from, size_t size) {
    return plain("cuMemcpyDtoH", (uint64_t)to, from, size, nullptr, true);
}
API CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t size) {
    return plain("cuMemcpyDtoD", to, from, size, nullptr, false);
}
API CUresult cuMemcpy(CUdeviceptr to, CUdeviceptr from, size_t size) {
    return plain("cuMemcpy", to, from, size, nullptr, true);
}
API CUresult cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D* all, CUstream stream) {
    return rows("cuMemcpy2DAsync", all, stream, false);
}
API CUresult cuMemcpy2D_v2(const CUDA_MEMCPY2D* all) {
    return rows("cuMemcpy2D", all, nullptr, true);
}
API CUresult cuMemcpy2DUnaligned_v2(const CUDA_MEMCPY2D* all) {
    return rows("cuMemcpy2DUnaligned", all, nullptr, true);
}
API CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t count, CUstream stream) {
    return fill("cuMemsetD8Async", to, count, value, count, 1, stream);
}
API CUresult cuMemsetD16Async(CUdeviceptr to, unsigned short value, size_t count, CUstream stream) {
    return fill("cuMemsetD16Async", to, count * 2, value, count, 1, stream);
}
API CUresult cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t count, CUstream stream) {
    return fill("cuMemsetD32Async", to, count * 4, value, count, 1, stream);
}
API CUresult cuMemsetD2D8Async(CUdeviceptr to, size_t pitch, unsigned char value, size_t width, size_t height, CUstream stream) {
    return fill("cuMemsetD2D8Async", to, pitch, value, width, height, stream);
}
API CUresult cuMemsetD8_v2(CUdeviceptr to, unsigned char value, size_t count) {
    return fill("cuMemsetD8", to, count, value, count, 1, nullptr);
}
API CUresult cuMemsetD16_v2(CUdeviceptr to, unsigned short value, size_t count) {
    return fill("cuMemsetD16", to, count * 2, value, count, 1, nullptr);
}
API CUresult cuMemsetD32_v2(CUdeviceptr to, unsigned value, size_t count) {
    return fill("cuMemsetD32", to, count * 4, value, count, 1, nullptr);
}
API CUresult cuMemsetD2D8_v2(CUdeviceptr to, size_t pitch, unsigned char value, size_t width, size_t height) {
    return fill("cuMemsetD2D8", to, pitch, value, width, height, nullptr);
}
