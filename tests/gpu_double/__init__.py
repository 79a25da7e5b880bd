"""A GPU that is not there: one libcuda.so.1 in C++ beneath the real cuda-bindings, GStreamer and PyNvVideoCodec.

In a test, the fixture `gpu_double` turns it on:

    def test_something(gpu_double):
        double = gpu_double(kind="discrete", seed=7, gpus=1)   # or kind="integrated"
        ...                                                    # the code under test, with the real cuda-bindings
        assert double.counts["allocations"] == 3

At the end of the test the fixture asserts that no rule was broken and that nothing is left: memory, streams, events,
modules, contexts pushed. `double.may_leave` names what may be. `seed` decides when queued work is done: 0 as late as
possible, 1 at once, others at random moments and in random order. Kernels run by their bodies; a new one needs a line
in tests/kernels/bodies.h. Other processes get the double by `double.environment`, and write what they counted into
`double.report_of_children`.

The rules, each of which becomes a line of `double.violations` when it is broken:
- An operation may touch only memory that no other one, which no event orders before it, has written; and may write only
  what no such other one has read. Waiting on the host, an event on a stream, and stream 0 give that order.
- Freed memory is neither touched nor freed again, and freed only after the host has waited for what uses it.
- A launch has the block that the kernel was bounded to, and stays within what bodies.h says that it touches.
- A stream is used in its own context; a thread ends with no context pushed.
The host that dereferences an address of the device ends the process, with a line that says so.
"""

from .double import Double, build

__all__ = ["Double", "build"]
