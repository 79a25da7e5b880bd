// Which memory a launch of a kernel reads and writes: what tests/gpu_double checks, and what it lets the kernel touch.

#pragma once

#include <stddef.h>
#include <stdint.h>

#include <functional>
#include <vector>

enum class How { READ, WRITE, ADD };  // ADD: atomic, in any order among its like

struct Range {
    uint64_t begin;
    size_t size;
    How how;
};

struct Reach {
    std::vector<Range> ranges;
    std::function<void(void* to, uint64_t from, size_t size)> fetch;  // copies from the device's memory

    void read(const void* data, size_t size) { add(data, size, How::READ); }
    void write(const void* data, size_t size) { add(data, size, How::WRITE); }
    void count(const void* data, size_t size) { add(data, size, How::ADD); }

    // An array that the kernel reads and that decides what else it reads.
    template <class T>
    std::vector<T> array(const T* data, size_t count) {
        read(data, count * sizeof(T));
        std::vector<T> values(count);
        fetch(values.data(), (uint64_t)data, count * sizeof(T));
        return values;
    }

private:
    void add(const void* data, size_t size, How how) {
        if (size) ranges.push_back({(uint64_t)data, size, how});
    }
};
