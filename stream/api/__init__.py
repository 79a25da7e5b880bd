"""Saliency Tubes: where and when, on video, a 3D CNN found the evidence for what it says.

What this package offers is what it names here; every other module is private and may change between two versions.
"""

if __name__ != "saliency_tubes":
    raise ImportError(f"import saliency_tubes, not {__name__}: a second copy of its types would match nothing")

from saliency_tubes.engine.draw.style import PRESETS, Style
from saliency_tubes.engine.errors import ModelError, SinkError, SourceError, TubesError, UsageError
from saliency_tubes.engine.manifest import Manifest
from saliency_tubes.engine.picture import Color, Image, Layout, Picture
from saliency_tubes.engine.place import Place
from saliency_tubes.engine.runtimes.base import HostRunner, Runner, TensorRunner
from saliency_tubes.engine.runtimes.open import open_runner
from saliency_tubes.engine.saliency import Normalize, Target
from saliency_tubes.engine.types import (
    ClassScore,
    Clip,
    Crop,
    Frame,
    HostOutputs,
    HostSample,
    Outputs,
    Sample,
    Scale,
    Span,
    Tube,
    WallTime,
)
from saliency_tubes.engine.types import Explanation as PlainExplanation
from saliency_tubes.engine.types import Shown as PlainShown
from saliency_tubes.stream.app.keywords import RunOptions
from saliency_tubes.stream.media.info import VideoInfo
from saliency_tubes.stream.net.address import Address
from saliency_tubes.stream.net.secret import Login, Secret
from saliency_tubes.stream.pipeline.explainer import Look
from saliency_tubes.stream.pipeline.options import Options as PipelineOptions
from saliency_tubes.stream.sinks.base import Sink, SinkOptions
from saliency_tubes.stream.sinks.condition import SinkHealth
from saliency_tubes.stream.sinks.open import open_sink
from saliency_tubes.stream.sources.base import Source, SourceHealth, SourceOptions
from saliency_tubes.stream.sources.open import open_source
from saliency_tubes.stream.telemetry.events import Event
from saliency_tubes.stream.telemetry.stats import Snapshot, Spread
from saliency_tubes.stream.telemetry.summary import Sighting, Summary

from .annotators import TubeAnnotator
from .explainer import Explainer
from .explanation import Explanation, Shown
from .run import Pipeline, explain

__all__ = [
    "PRESETS",
    "Address",
    "ClassScore",
    "Clip",
    "Color",
    "Crop",
    "Event",
    "Explainer",
    "Explanation",
    "Frame",
    "HostOutputs",
    "HostRunner",
    "HostSample",
    "Image",
    "Layout",
    "Login",
    "Look",
    "Manifest",
    "ModelError",
    "Normalize",
    "Outputs",
    "Picture",
    "Pipeline",
    "PipelineOptions",
    "Place",
    "PlainExplanation",
    "PlainShown",
    "RunOptions",
    "Runner",
    "Sample",
    "Scale",
    "Secret",
    "Shown",
    "Sighting",
    "Sink",
    "SinkError",
    "SinkHealth",
    "SinkOptions",
    "Snapshot",
    "Source",
    "SourceError",
    "SourceHealth",
    "SourceOptions",
    "Span",
    "Spread",
    "Style",
    "Summary",
    "Target",
    "TensorRunner",
    "Tube",
    "TubeAnnotator",
    "TubesError",
    "UsageError",
    "VideoInfo",
    "WallTime",
    "explain",
    "open_runner",
    "open_sink",
    "open_source",
]
