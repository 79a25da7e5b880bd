// The device's memory, and the host's as far as the device may reach it.
//
// Device memory is one file in memory, mapped twice. Addresses that the program gets lie in the first view, which is
// closed (PROT_NONE) but for the time that an operation uses it, so that a host that dereferences one crashes. The double
// itself copies through the second view. Addresses are never given twice: a freed one stays closed for good.

#pragma once

#include <memory>

#include "streams.h"

namespace gpu {

struct Access {
    uint64_t begin, end;
    How how;
    int lane;
    uint32_t time;
    std::string name;
};

enum class Kind { DEVICE, PINNED, REGISTERED };

struct Allocation {
    uint64_t begin;
    size_t size;
    Kind kind;
    int device;
    std::string name;
    uint64_t context = 0;  // handle
    bool freed = false;
    int number = 0;
    std::vector<Access> accesses;
    int readers = 0, writers = 0;  // operations that have it open
    uint64_t first_page = 0;
    size_t pages = 0;  // bytes of them
};
using AllocationPtr = std::shared_ptr<Allocation>;

AllocationPtr allocate(size_t size, int device, uint64_t context);
AllocationPtr allocate_pinned(size_t size, int device, uint64_t context);
AllocationPtr register_host(void* address, size_t size, int device, uint64_t context);
void release(const AllocationPtr& allocation);

// The allocation that holds an address, also one that was freed; null if none ever did.
AllocationPtr find(uint64_t address);
bool is_device(uint64_t address);  // whether it lies in the device's view
std::string describe(uint64_t address);

// The same memory, where the double may always read and write.
char* own(uint64_t address);

size_t memory_used(int device);
std::vector<AllocationPtr> live_allocations();
void forget_memory();

// Checks what an operation is about to touch, and holds it open meanwhile. Not `good` if it must not run.
class Window {
public:
    Window(const Op& op, std::vector<Range> ranges, bool open);
    ~Window();
    bool good = true;

private:
    void check(const Op& op, const Allocation& allocation, const Range& range);
    std::vector<std::pair<AllocationPtr, bool>> held_;
};

}  // namespace gpu
