"""How many cores a process may use, read from the files of control groups as several systems have them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from saliency_tubes.engine.cores import Cores, cores
from saliency_tubes.engine.runtimes import openvino
from saliency_tubes.engine.runtimes.open import open_runner

CGROUP = "proc/self/cgroup"
V2, V1 = "sys/fs/cgroup", "sys/fs/cgroup/cpu,cpuacct"


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        pytest.param({CGROUP: "0::/\n", f"{V2}/cpu.max": "150000 100000\n"}, 1.5, id="version 2, a container"),
        pytest.param({CGROUP: "0::/\n", f"{V2}/cpu.max": "max 100000\n"}, None, id="version 2, no limit"),
        pytest.param({CGROUP: "0::/\n"}, None, id="version 2, the root has no file"),
        pytest.param(
            {
                CGROUP: "0::/a.slice/tubes.service\n",
                f"{V2}/a.slice/cpu.max": "50000 50000\n",
                f"{V2}/a.slice/tubes.service/cpu.max": "400000 100000\n",
            },
            1.0,
            id="version 2, CPUQuota of a service, and less of the slice around it",
        ),
        pytest.param(
            {CGROUP: "0::/../other\n", f"{V2}/cpu.max": "200000 100000\n"}, 2.0, id="version 2, outside of its root"
        ),
        pytest.param(
            {
                CGROUP: "5:memory:/docker/1\n4:cpu,cpuacct:/docker/1\n0::/docker/1\n",
                f"{V1}/cpu.cfs_quota_us": "200000\n",
                f"{V1}/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/memory/cpu.max": "1 100000\n",
            },
            2.0,
            id="version 1, a container that sees the path of the host",
        ),
        pytest.param(
            {CGROUP: "4:cpu,cpuacct:/\n", f"{V1}/cpu.cfs_quota_us": "-1\n", f"{V1}/cpu.cfs_period_us": "100000\n"},
            None,
            id="version 1, no limit",
        ),
        pytest.param({CGROUP: "0::/\n", f"{V2}/cpu.max": "what is this\n"}, None, id="not understood"),
        pytest.param({}, None, id="no control groups"),
    ],
)
def test_the_quota_of_control_groups(files: dict[str, str], quota: float | None, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cores(tmp_path).quota == quota


def test_the_cores_of_this_machine() -> None:
    found = cores()
    assert 1 <= found.threads <= found.allowed <= found.machine
    assert math.ceil(found.usable) == found.threads


@pytest.mark.parametrize(
    ("found", "limited", "usable", "threads"),
    [
        (Cores(8, 8), False, 8.0, 8),
        (Cores(8, 4), False, 4.0, 4),
        (Cores(8, 4, 16.0), False, 4.0, 4),
        (Cores(64, 64, 2.5), True, 2.5, 3),
        (Cores(8, 8, 0.2), True, 0.2, 1),
    ],
)
def test_what_may_be_used(found: Cores, limited: bool, usable: float, threads: int) -> None:
    assert (found.limited, found.usable, found.threads) == (limited, usable, threads)


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_a_runtime_takes_no_more_threads_than_a_container_may_use(
    runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(runtime)
    made: list[Any] = []
    limit = Cores(64, 64, 1.5)
    if runtime == "openvino":
        monkeypatch.setattr(openvino, "cores", lambda: limit)
        core = openvino.open_core()

        class Noting:
            """As the process's Core, and notes what a model is compiled with."""

            def __getattr__(self, name: str) -> Any:
                return getattr(core, name)

            def compile_model(self, model: Any, device: str, config: dict[str, Any]) -> Any:
                made.append(core.compile_model(model, device, config))
                return made[-1]

        monkeypatch.setattr(openvino, "open_core", Noting)
        open_runner(clip_length=16, runtime=runtime)
        assert made[0].get_property("INFERENCE_NUM_THREADS") == 2
    else:
        from saliency_tubes.engine.runtimes import onnxruntime_session

        monkeypatch.setattr(onnxruntime_session, "cores", lambda: limit)
        real = onnxruntime_session.ort.InferenceSession

        def noting(path: str, settings: Any, **how: Any) -> Any:
            made.append(settings.intra_op_num_threads)
            return real(path, settings, **how)

        monkeypatch.setattr(onnxruntime_session.ort, "InferenceSession", noting)
        open_runner(clip_length=16, runtime=runtime)
        assert made == [2]
