// Streams, the operations queued on them, and when each is carried out.

#pragma once

#include <deque>
#include <memory>

#include "../kernels/reach.h"
#include "world.h"

namespace gpu {

struct Context;
struct Capture;

// What is to be done on the device.
struct Work {
    std::string name;
    std::function<void(Reach&)> reach;  // which memory it reads and writes, asked when it is carried out
    std::function<void()> run;
    bool without_lock = false;  // for what calls back into the program under test
};

struct Op {
    Work work;
    int device;
    int lane;
    uint32_t time;  // its number on the lane
    Clock clock;  // what has happened before it
    std::vector<std::shared_ptr<Op>> after;
    bool running = false, done = false;
    double finished = 0;  // seconds
};
using OpPtr = std::shared_ptr<Op>;

struct Stream {
    CUstream handle;
    std::weak_ptr<Context> context;
    int device;
    int lane;
    bool blocking;  // whether it waits for stream 0, and stream 0 for it
    int priority = 0;
    uint32_t time = 0;
    Clock clock;
    std::vector<OpPtr> waits;  // what the next operation waits for
    OpPtr tail;
    std::deque<OpPtr> queue;
    std::shared_ptr<Capture> capture;
};
using StreamPtr = std::shared_ptr<Stream>;

struct Event {
    CUevent handle;
    unsigned flags;
    OpPtr op;
    Clock clock;
    std::string stream;
    std::shared_ptr<Capture> capture;
};
using EventPtr = std::shared_ptr<Event>;

StreamPtr new_stream(const std::shared_ptr<Context>& context, bool blocking, int priority);
void destroy_stream(const StreamPtr& stream);

// 0 and 1: the current context's stream 0; 2: the thread's own. Null for a handle that is none.
StreamPtr stream_of(CUstream handle);
EventPtr event_of(CUevent handle);
std::string name_of(const StreamPtr& stream);

OpPtr enqueue(const StreamPtr& stream, Work work);

// Carries out what must be, in an order that the seed chooses, until the operation is done.
void finish(Lock& lock, const OpPtr& op);
void finish_stream(Lock& lock, const StreamPtr& stream);
void finish_all(Lock& lock, int device);  // -1: of all devices

// Carries out one operation; false if there is none that could be.
bool step(Lock& lock);
size_t pending();
size_t pending(const StreamPtr& stream);

void waited(const char* function, const std::string& stream, bool pending, bool spins);
bool spins(unsigned event_flags);
long thread_number();

size_t live_streams();
size_t live_events();
void forget_streams();

}  // namespace gpu
