"""Blocks of memory on a GPU that are leased, returned, and leased again: a stream of frames allocates nothing."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from ..errors import ModelError
from .resources import Memory, Moment, Stream

if TYPE_CHECKING:
    from .driver import Gpu


class Block:
    """Memory that is leased. It returns to its pool by `close`, or when it is garbage; in any thread."""

    __slots__ = ("__weakref__", "_memory", "_uses", "pointer", "pool")

    def __init__(self, memory: Memory, pool: Pool) -> None:
        self.pointer = memory.pointer
        """address"""
        self._memory: Memory | None = memory
        self.pool = pool
        self._uses: dict[int, Moment] = {}

    def used(self, event: Moment) -> None:
        """Says that somebody reads or writes the memory until the event; whoever leases it next waits for that."""
        self._uses[event.stream] = event  # a stream works in order: its last event is enough

    def close(self) -> None:
        """Gives the memory back."""
        memory, self._memory = self._memory, None
        if memory is not None:
            self.pool.give(memory, self._uses)

    def __del__(self) -> None:
        self.close()


class Pool:
    """Blocks of one size. Any thread may lease and return them."""

    def __init__(self, gpu: Gpu, block_bytes: int, most: int) -> None:
        """block_bytes: of each block. most: the number of blocks, which are allocated when they are first needed, or by
        `fill`."""
        self._gpu, self.block_bytes, self._most = gpu, block_bytes, most
        self._free: deque[tuple[Memory, dict[int, Moment]]] = deque()
        self._unmade = deque(range(most))  # a queue, since its `pop` is one step for all threads
        self._closed = False

    @property
    def leased(self) -> int:
        """Number of blocks that somebody holds."""
        return self._most - len(self._free) - len(self._unmade)

    def fill(self, most: int) -> None:
        """Makes it a pool of `most` blocks, and allocates all of them now but those that are there already, of which a
        source may hold some.

        Raises ModelError if the GPU has not so much memory. Within `Gpu.entered`.
        """
        made = self._most - len(self._unmade)
        self._closed, self._most = False, max(most, made)
        self._unmade = deque(range(self._most - made))
        while self._unmade:
            self._free.append((self._gpu.allocate(self.block_bytes), {}))
            self._unmade.pop()

    def take(self, stream: Stream) -> Block:
        """A block for work on the stream, which is made to wait, on the GPU, for the block's last uses.

        Raises ModelError if all blocks are leased, or if the GPU has no memory.
        """
        try:
            memory, uses = self._free.popleft()
        except IndexError:
            memory, uses = self._made(), {}
        others = [event for number, event in uses.items() if number != stream.number and not event.refused]
        if others:
            try:
                with self._gpu.entered():
                    for event in others:
                        stream.wait(event)
            except ModelError:
                self.give(memory, uses)
                raise
        return Block(memory, self)

    def give(self, memory: Memory, uses: dict[int, Moment]) -> None:
        """Takes a block back. Called by the block."""
        if self._closed:
            self._drop(memory, uses)
        else:
            self._free.append((memory, uses))

    def close(self) -> None:
        """Frees the blocks once their uses are over; those that are held, once they are let go."""
        self._closed = True
        with suppress(IndexError):
            while True:  # until none is left: other threads may take and give at the same time
                self._drop(*self._free.popleft())

    def _made(self) -> Memory:
        try:
            number = self._unmade.pop()
        except IndexError:
            size = self.block_bytes / 1e6
            raise ModelError(
                f"all {self._most} blocks of {size:.1f} MB on {self._gpu.name} are in use: what is kept for long must "
                "be copied to the host"
            ) from None
        try:
            with self._gpu.entered():
                return self._gpu.allocate(self.block_bytes)
        except ModelError as error:
            self._unmade.append(number)
            raise ModelError(f"{self._gpu.name} has no {self.block_bytes / 1e6:.1f} MB more ({error})") from None

    def _drop(self, memory: Memory, uses: dict[int, Moment]) -> None:
        """Leaves the memory to be freed by `Gpu.collect`."""
        for event in uses.values():
            memory.used_until(event)
        self._unmade.append(0)
