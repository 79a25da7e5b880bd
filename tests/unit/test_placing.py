"""Where frames live is chosen once, by a rule, and said with its reason."""

from __future__ import annotations

import pytest
from saliency_tubes.engine.errors import UsageError
from saliency_tubes.engine.runtimes import open as opening
from saliency_tubes.engine.runtimes.open import place_of
from saliency_tubes.stream.app.config import Config
from saliency_tubes.stream.app.placing import Placing, gpu_meant, placing, read_memory


@pytest.mark.parametrize(
    ("asked", "model", "name", "why"),
    [
        ("auto", "host", "host", "the model reads its samples there"),
        ("auto", "cuda:1", "cuda:1", "the model reads its samples there"),
        ("host", "host", "host", "as asked"),
        ("host", "cuda:0", "host", "as asked; what the model sees is copied to cuda:0"),
        ("cuda", "host", "cuda:0", "as asked; what the model sees is copied to the host"),
        ("cuda", "cuda:2", "cuda:2", "as asked"),
        ("cuda:1", "cuda:1", "cuda:1", "as asked"),
        ("cuda:1", "host", "cuda:1", "as asked; what the model sees is copied to the host"),
    ],
)
def test_frames_live_with_the_model_unless_something_else_is_asked(asked: str, model: str, name: str, why: str) -> None:
    assert placing(asked, model) == Placing(name, why)
    assert gpu_meant(asked, model) == name


def test_where_a_gpu_cannot_draw_auto_says_why_and_what_is_asked_is_refused() -> None:
    chosen = placing("auto", "cuda:0", "no NVRTC")
    assert chosen == Placing("host", "the model reads its samples on cuda:0, but nothing can be drawn there: no NVRTC")
    with pytest.raises(
        UsageError, match="frames cannot live on cuda:0: no NVRTC; use --memory host; 'saliency-tubes doc"
    ):
        placing("cuda", "cuda:0", "no NVRTC")


def test_frames_do_not_live_on_another_gpu_than_the_model() -> None:
    with pytest.raises(UsageError, match="frames cannot live on cuda:1 while the model runs on cuda:0: use --memory"):
        placing("cuda:1", "cuda:0")


@pytest.mark.parametrize("text", ["gpu", "cuda:", "cuda:x", "cuda:12345", "host:1", "auto:0", ""])
def test_another_memory_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^auto, host, cuda or cuda:N, the GPU number N, got"):
        read_memory(text)
    with pytest.raises(UsageError, match="memory must be auto, host, cuda or cuda:N"):
        Config("a.mp4", memory=text)


def test_a_memory_is_read_whatever_its_case() -> None:
    assert Config("a.mp4", memory="CUDA:1").memory == "cuda:1"


def test_where_a_model_will_read_its_samples_is_known_before_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert place_of("i3d") == place_of("i3d", device="GPU") == "host"
    assert place_of("i3d", runtime="openvino", device="cuda") == "host"
    assert place_of("i3d", runtime="onnxruntime") == "host"
    assert place_of("i3d", device="cuda") == place_of("i3d", runtime="tensorrt") == "cuda:0"
    assert place_of("i3d", runtime="onnxruntime", device="cuda:1") == "cuda:1"
    monkeypatch.setattr(opening, "is_plan", lambda path: True)
    assert place_of("i3d") == "cuda:0"
    assert place_of("i3d", device="cuda:2") == "cuda:2"
