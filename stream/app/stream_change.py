"""What a new version of the configuration file means for streams that run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...engine.saliency import parse_target
from ..net.address import Address
from ..pipeline.explainer import Look
from ..sinks.open import check_outputs, open_sink
from ..sinks.rules import check_rules
from .config import Config, label_of
from .job import Job
from .options import changed, entries
from .settings import differences


@dataclass(frozen=True)
class StreamChange:
    """What a new file means for one stream."""

    old: Config
    new: Config
    """the old one with what can change while it runs"""
    live: list[str]
    """what that is, by name"""
    restart: list[str]
    """what is different and cannot"""

    @classmethod
    def between(cls, old: Config, asked: Config) -> StreamChange:
        """asked: the stream as the new file has it."""
        live, restart = differences(old, asked)
        given = {name: entry.value_in(asked) for name, entry in entries(type(old)).items() if entry.declared.live}
        new = replace(changed(old, given), outputs=asked.outputs if "rules" in live else old.outputs)
        return cls(old, new, live, restart)


def pairs_of(streams: Sequence[Config], asked: Sequence[Config]) -> list[tuple[Config, Config]]:
    """Each stream, and what the new file asks of it; those that are in both."""
    if len(streams) == len(asked) == 1 and not (streams[0].name or asked[0].name):
        return [(streams[0], asked[0])]  # called by its input, which may be another one
    fresh = {label_of(config): config for config in asked}
    return [(config, fresh[label]) for config in streams if (label := label_of(config)) in fresh]


def check_streams(streams: Sequence[Config], labels: Sequence[str]) -> None:
    """Raises what opening them would say, as far as it can be said without opening anything.

    labels: the model's classes.
    """
    for config in streams:
        parse_target(config.explain, labels)
        check_rules(config.outputs, labels)
        check_outputs(config.input, config.outputs, config.sink.listen)
        for uri in config.outputs:
            open_sink(uri, config.sink)


def update(job: Job, config: Config) -> None:
    """Gives a running stream what may change, checked before."""
    target = parse_target(config.explain, job.runner.manifest.labels)
    job.pipeline.look = Look(target, config.style, config.max_age, config.hold)
    for sink, address in zip(job.sinks, map(Address.parse, config.outputs), strict=True):
        sink.reconfigure(address)
