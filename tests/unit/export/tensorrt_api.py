"""Makes tensorrt_api.json: which names TensorRT's Python classes have, by version. Run by hand, with a C compiler:

    pip download --no-deps --dest wheels tensorrt-cu12-bindings==10.3.0
    pip download --no-deps --dest wheels tensorrt-cu13-bindings==10.16.1.11
    pip download --no-deps --dest wheels tensorrt-cu13-bindings==11.4.0.106
    python tests/unit/export/tensorrt_api.py wheels/*.whl > tests/unit/export/tensorrt_api.json

The bindings are small and can be had anywhere; the libraries they load are neither. Nine functions that do nothing
stand in for those: enough to import the bindings and to look at their classes, and for nothing else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

CLASSES = (
    *("Builder", "IBuilderConfig", "INetworkDefinition", "IOptimizationProfile", "OnnxParser", "ParserError"),
    *("ITensor", "IProgressMonitor", "ILogger", "IHostMemory", "ITimingCache", "DataType", "BuilderFlag"),
    *("MemoryPoolType", "NetworkDefinitionCreationFlag", "HardwareCompatibilityLevel"),
    *("Runtime", "ICudaEngine", "IExecutionContext", "TensorIOMode", "TensorLocation"),
)
FUNCTIONS = (
    *("createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL"),
    *("createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL", "getNvOnnxParserVersion"),
    *("getBuilderPluginRegistry", "getPluginRegistry", "initLibNvInferPlugins"),
)
LOOK = """
import json, sys
import tensorrt_bindings as trt
names = {name: " ".join(n for n in dir(getattr(trt, name)) if n[0] != "_") for name in sys.argv[1:]}
print(json.dumps({trt.__version__: names}))
"""


def main(wheels: list[str]) -> None:
    found: dict[str, dict[str, str]] = {}
    for wheel in wheels:
        with tempfile.TemporaryDirectory() as folder:
            zipfile.ZipFile(wheel).extractall(folder)
            source = Path(folder) / "nothing.c"
            source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in FUNCTIONS))
            for library in ("libnvinfer", "libnvinfer_plugin", "libnvonnxparser"):
                for major in (10, 11):
                    name = f"{library}.so.{major}"
                    command = ["cc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", f"{folder}/{name}", str(source)]
                    subprocess.run(command, check=True)
            env = {**os.environ, "LD_LIBRARY_PATH": folder, "PYTHONPATH": folder}
            found |= json.loads(subprocess.check_output([sys.executable, "-c", LOOK, *CLASSES], env=env))
    json.dump(found, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main(sys.argv[1:])
