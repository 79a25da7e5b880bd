#include "memory.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "contexts.h"
#include "graphs.h"

namespace gpu {

namespace {

constexpr size_t PAGE = 4096, ARENA = (size_t)1 << 38, ALIGNED = 512;
constexpr int FRESH = 0xA5, STALE = 0xDF;  // what new memory holds, and what a copy from freed memory gives

char *closed, *opened;  // the two views
int file = -1;
size_t next_page = PAGE;
int numbers = 0;
auto& allocations = *new std::map<uint64_t, AllocationPtr>;  // never destroyed, as all here. By the address of the first byte, freed ones too

struct sigaction before;

void say(const char* text) {
    if (write(2, text, strlen(text)) < 0) return;
}

// A line for whoever dereferences an address of the device, then what would have happened anyway.
void crashed(int number, siginfo_t* about, void* more) {
    const uint64_t address = (uint64_t)about->si_addr;
    if (is_device(address)) {
        char text[256];
        snprintf(text, sizeof text, "\ngpu double: memory of the device was touched outside of an operation: %#lx%s\n",
                 (unsigned long)address, world().mutex.try_lock() ? "" : " (while a kernel ran that did not say so)");
        say(text);
    }
    if (before.sa_flags & SA_SIGINFO && before.sa_sigaction) return before.sa_sigaction(number, about, more);
    sigaction(number, &before, nullptr);
}

void start() {
    if (closed) return;
    file = memfd_create("device memory", MFD_CLOEXEC);
    if (file < 0 || ftruncate(file, ARENA)) perror("gpu double: memory"), abort();
    closed = (char*)mmap(nullptr, ARENA, PROT_NONE, MAP_SHARED | MAP_NORESERVE, file, 0);
    opened = (char*)mmap(nullptr, ARENA, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file, 0);
    if (closed == MAP_FAILED || opened == MAP_FAILED) perror("gpu double: memory"), abort();
    struct sigaction action = {};
    action.sa_sigaction = crashed, action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
    sigaction(SIGSEGV, &action, &before);
}

size_t rounded(size_t size, size_t to) {
    return (size + to - 1) / to * to;
}

AllocationPtr added(uint64_t begin, size_t size, Kind kind, int device, uint64_t context) {
    const auto made = std::make_shared<Allocation>();
    made->begin = begin, made->size = size, made->kind = kind, made->device = device, made->context = context;
    made->number = ++numbers;
    const char* names[] = {"memory", "pinned memory", "registered memory"};
    made->name = std::string(names[(int)kind]) + " #" + std::to_string(made->number) + " of " + std::to_string(size) +
                 " bytes";
    allocations[begin] = made;
    return made;
}

void protect(const Allocation& allocation) {
    if (allocation.kind != Kind::DEVICE) return;
    const int rights = allocation.writers ? PROT_READ | PROT_WRITE : allocation.readers ? PROT_READ : PROT_NONE;
    if (mprotect((void*)allocation.first_page, allocation.pages, rights)) perror("gpu double: mprotect"), abort();
}

const char* verb(How how) {
    return how == How::READ ? "reads" : how == How::WRITE ? "writes" : "counts in";
}

}  // namespace

bool is_device(uint64_t address) {
    return closed && address >= (uint64_t)closed && address < (uint64_t)closed + ARENA;
}

char* own(uint64_t address) {
    return is_device(address) ? opened + (address - (uint64_t)closed) : (char*)address;
}

AllocationPtr find(uint64_t address) {
    auto found = allocations.upper_bound(address);
    if (found == allocations.begin()) return nullptr;
    const AllocationPtr& allocation = (--found)->second;
    return address < allocation->begin + allocation->size ? allocation : nullptr;
}

std::string describe(uint64_t address) {
    char text[200];
    const AllocationPtr found = find(address);
    if (found)
        snprintf(text, sizeof text, "byte %zu of %s%s", (size_t)(address - found->begin), found->name.c_str(),
                 found->freed ? ", which was freed" : "");
    else
        snprintf(text, sizeof text, "%#lx, which is no memory that the GPU may reach", (unsigned long)address);
    return text;
}

size_t memory_used(int device) {
    size_t sum = 0;
    for (auto& [begin, allocation] : allocations)
        if (allocation->kind == Kind::DEVICE && allocation->device == device && !allocation->freed)
            sum += allocation->size;
    return sum;
}

AllocationPtr allocate(size_t size, int device, uint64_t context) {
    start();
    if (memory_used(device) + size > world().settings.memory) return nullptr;
    // It ends where a closed page begins, so that a kernel that goes too far crashes.
    const size_t whole = rounded(size, ALIGNED), pages = rounded(whole, PAGE);
    const size_t at = next_page;
    next_page += pages + PAGE;
    if (next_page > ARENA) return nullptr;
    const AllocationPtr made = added((uint64_t)closed + at + pages - whole, size, Kind::DEVICE, device, context);
    made->first_page = (uint64_t)closed + at, made->pages = pages;
    memset(own(made->begin), FRESH, size);
    world().counters.memory_peak = std::max(world().counters.memory_peak, memory_used(device));
    return made;
}

AllocationPtr allocate_pinned(size_t size, int device, uint64_t context) {
    start();
    void* memory = mmap(nullptr, rounded(size, PAGE), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return nullptr;
    memset(memory, FRESH, size);
    return added((uint64_t)memory, size, Kind::PINNED, device, context);
}

AllocationPtr register_host(void* address, size_t size, int device, uint64_t context) {
    return added((uint64_t)address, size, Kind::REGISTERED, device, context);
}

void release(const AllocationPtr& allocation) {
    for (const Access& access : allocation->accesses)
        if (world().host.at(access.lane) < access.time) {
            violation("%s was freed, and nobody waited for the end of %s, which %s it", allocation->name.c_str(),
                      access.name.c_str(), verb(access.how));
            break;
        }
    allocation->freed = true;
    allocation->accesses.clear();
    if (allocation->kind == Kind::DEVICE) {
        if (fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, allocation->first_page - (uint64_t)closed,
                      allocation->pages))
            perror("gpu double: fallocate");
    } else {
        if (allocation->kind == Kind::PINNED) munmap((void*)allocation->begin, rounded(allocation->size, PAGE));
        allocations.erase(allocation->begin);  // the host may give this address to others
    }
}

std::vector<AllocationPtr> live_allocations() {
    std::vector<AllocationPtr> found;
    for (auto& [begin, allocation] : allocations)
        if (!allocation->freed) found.push_back(allocation);
    return found;
}

void forget_memory() {
    for (const AllocationPtr& allocation : live_allocations()) {
        allocation->accesses.clear();
        if (allocation->kind != Kind::PINNED) release(allocation);  // arrays of an earlier test may still be there
    }
    allocations.clear();
    numbers = 0;
}

void Window::check(const Op& op, const Allocation& allocation, const Range& range) {
    auto& accesses = const_cast<Allocation&>(allocation).accesses;
    const uint64_t end = range.begin + range.size;
    bool told = false;
    for (auto access = accesses.begin(); access != accesses.end();) {
        const bool overlaps = access->begin < end && range.begin < access->end;
        const bool ordered = op.clock.at(access->lane) >= access->time;
        const bool conflict = access->how != range.how || range.how == How::WRITE;
        if (overlaps && conflict && !ordered && !told) {
            violation("%s %s %s, and no event orders it after %s, which %s it", op.work.name.c_str(), verb(range.how),
                      describe(std::max(access->begin, range.begin)).c_str(), access->name.c_str(), verb(access->how));
            told = true;
        }
        const bool covered = range.begin <= access->begin && access->end <= end;
        const bool superseded = range.how == How::WRITE || (access->how == range.how && access->lane == op.lane);
        if (covered && ordered && superseded && !(access->lane == op.lane && access->time == op.time))
            access = accesses.erase(access);
        else
            ++access;
    }
    accesses.push_back({range.begin, end, range.how, op.lane, op.time, op.work.name});
}

Window::Window(const Op& op, std::vector<Range> ranges, bool open) {
    for (const Range& range : ranges) {
        const AllocationPtr allocation = find(range.begin);
        const char* name = op.work.name.c_str();
        if (!allocation || allocation->freed) {
            violation("%s %s %s", name, verb(range.how), describe(range.begin).c_str());
            good = false;
        } else if (range.begin + range.size > allocation->begin + allocation->size) {
            violation("%s %s %zu bytes from %s", name, verb(range.how), range.size, describe(range.begin).c_str());
            good = false;
        } else if (allocation->kind == Kind::DEVICE && allocation->device != op.device) {
            violation("%s on GPU %d %s %s of GPU %d", name, op.device, verb(range.how), allocation->name.c_str(),
                      allocation->device);
            good = false;
        } else {
            check(op, *allocation, range);
            const bool writes = range.how != How::READ;
            held_.push_back({allocation, writes});
            ++(writes ? allocation->writers : allocation->readers);
        }
    }
    for (auto& [allocation, writes] : held_)
        if (open && good) protect(*allocation);
}

Window::~Window() {
    for (auto& [allocation, writes] : held_) --(writes ? allocation->writers : allocation->readers);
    for (auto& [allocation, writes] : held_) protect(*allocation);
}

}  // namespace gpu

using namespace gpu;

namespace {

CUresult refused_while_capturing() {
    return is_capturing() ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : CUDA_SUCCESS;
}

}  // namespace

API CUresult cuMemAlloc_v2(CUdeviceptr* pointer, size_t size) {
    return call("cuMemAlloc", CONTEXT, [&](Lock&) {
        if (size == 0) return CUDA_ERROR_INVALID_VALUE;
        if (const CUresult code = refused_while_capturing()) return code;
        const ContextPtr context = current();
        const AllocationPtr made = allocate(size, context->device, (uint64_t)context->handle);
        if (!made) return CUDA_ERROR_OUT_OF_MEMORY;
        *pointer = made->begin;
        ++world().counters.allocations;
        return CUDA_SUCCESS;
    });
}
API CUresult cuMemAllocPitch_v2(CUdeviceptr* pointer, size_t* pitch, size_t width, size_t height, unsigned) {
    *pitch = rounded(width, ALIGNED);
    return cuMemAlloc_v2(pointer, *pitch * height);
}
API CUresult cuMemFree_v2(CUdeviceptr pointer) {
    if (!pointer) return CUDA_SUCCESS;
    return call("cuMemFree", CONTEXT, [&](Lock&) {
        if (const CUresult code = refused_while_capturing()) return code;
        const AllocationPtr found = find(pointer);
        if (!found && is_device(pointer)) return CUDA_ERROR_INVALID_VALUE;  // an earlier test's
        if (!found || found->kind != Kind::DEVICE || found->begin != pointer || found->freed) {
            violation("cuMemFree of %s", describe(pointer).c_str());
            return CUDA_ERROR_INVALID_VALUE;
        }
        release(found);
        ++world().counters.frees;
        return CUDA_SUCCESS;
    });
}
API CUresult cuMemHostAlloc(void** pointer, size_t size, unsigned flags) {
    return call("cuMemHostAlloc", CONTEXT, [&](Lock&) {
        if (size == 0 || flags > 7) return CUDA_ERROR_INVALID_VALUE;
        if (const CUresult code = refused_while_capturing()) return code;
        const ContextPtr context = current();
        const AllocationPtr made = allocate_pinned(size, context->device, (uint64_t)context->handle);
        if (!made) return CUDA_ERROR_OUT_OF_MEMORY;
        *pointer = (void*)made->begin;
        ++world().counters.pinned_allocations;
        return CUDA_SUCCESS;
    });
}
API CUresult cuMemAllocHost_v2(void** pointer, size_t size) {
    return cuMemHostAlloc(pointer, size, 0);
}
API CUresult cuMemFreeHost(void* pointer) {
    if (!pointer) return CUDA_SUCCESS;
    return call("cuMemFreeHost", CONTEXT, [&](Lock&) {
        const AllocationPtr found = find((uint64_t)pointer);
        if (!found) return CUDA_ERROR_INVALID_VALUE;
        if (found->kind != Kind::PINNED || found->begin != (uint64_t)pointer) {
            violation("cuMemFreeHost of %s", describe((uint64_t)pointer).c_str());
            return CUDA_ERROR_INVALID_VALUE;
        }
        release(found);
        ++world().counters.pinned_frees;
        return CUDA_SUCCESS;
    });
}
API CUresult cuMemHostRegister_v2(void* pointer, size_t size, unsigned) {
    return call("cuMemHostRegister", CONTEXT, [&](Lock&) {
        if (find((uint64_t)pointer)) return CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
        const ContextPtr context = current();
        register_host(pointer, size, context->device, (uint64_t)context->handle);
        return CUDA_SUCCESS;
    });
}
API CUresult cuMemHostUnregister(void* pointer) {
    return call("cuMemHostUnregister", CONTEXT, [&](Lock&) {
        const AllocationPtr found = find((uint64_t)pointer);
        if (!found || found->kind != Kind::REGISTERED) return CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
        release(found);
        return CUDA_SUCCESS;
    });
}
API CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr* pointer, void* host, unsigned) {
    return call("cuMemHostGetDevicePointer", CONTEXT, [&](Lock&) {
        if (!find((uint64_t)host)) return CUDA_ERROR_INVALID_VALUE;
        *pointer = (uint64_t)host;
        return CUDA_SUCCESS;
    });
}
API CUresult cuMemGetInfo_v2(size_t* available, size_t* total) {
    return call("cuMemGetInfo", CONTEXT, [&](Lock&) {
        *total = world().settings.memory;
        *available = *total - memory_used(current()->device);
        return CUDA_SUCCESS;
    });
}
API CUresult cuMemGetAddressRange_v2(CUdeviceptr* base, size_t* size, CUdeviceptr pointer) {
    return call("cuMemGetAddressRange", CONTEXT, [&](Lock&) {
        const AllocationPtr found = find(pointer);
        if (!found || found->freed) return CUDA_ERROR_NOT_FOUND;
        if (base) *base = found->begin;
        if (size) *size = found->size;
        return CUDA_SUCCESS;
    });
}
API CUresult cuPointerGetAttribute(void* value, int attribute, CUdeviceptr pointer) {
    return call("cuPointerGetAttribute", DRIVER, [&](Lock&) {
        const AllocationPtr found = find(pointer);
        if (!found || found->freed) return CUDA_ERROR_INVALID_VALUE;
        const bool is_device = found->kind == Kind::DEVICE;
        switch (attribute) {
            case 1: *(uint64_t*)value = found->context; break;
            case 2: *(unsigned*)value = is_device ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST; break;
            case 3: *(uint64_t*)value = pointer; break;
            case 4:
                if (is_device) return CUDA_ERROR_INVALID_VALUE;
                *(uint64_t*)value = pointer;
                break;
            case 7: *(uint64_t*)value = found->number; break;
            case 8: *(bool*)value = false; break;
            case 9: *(int*)value = found->device; break;
            case 11: *(uint64_t*)value = found->begin; break;
            case 12: *(size_t*)value = found->size; break;
            case 13: *(bool*)value = true; break;
            default: return CUDA_ERROR_INVALID_VALUE;
        }
        return CUDA_SUCCESS;
    });
}
API CUresult cuPointerGetAttributes(unsigned count, int* attributes, void** values, CUdeviceptr pointer) {
    for (unsigned i = 0; i < count; ++i) cuPointerGetAttribute(values[i], attributes[i], pointer);
    return CUDA_SUCCESS;
}
