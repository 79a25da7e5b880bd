// Vector clocks: what is known to have happened before what.
//
// Every stream counts its operations on a lane of its own. A clock says, for each lane, up to which operation everything
// is done before. Waiting for an event joins the clock of where it was recorded. The host has one clock for all its
// threads, since what they tell each other cannot be seen from here.

#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace gpu {

class Clock {
public:
    uint32_t at(int lane) const { return lane < (int)times_.size() ? times_[lane] : 0; }

    void set(int lane, uint32_t time) {
        if (lane >= (int)times_.size()) times_.resize(lane + 1);
        times_[lane] = time;
    }

    void join(const Clock& other) {
        if (other.times_.size() > times_.size()) times_.resize(other.times_.size());
        for (size_t i = 0; i < other.times_.size(); ++i) times_[i] = std::max(times_[i], other.times_[i]);
    }

private:
    std::vector<uint32_t> times_;
};

}  // namespace gpu
