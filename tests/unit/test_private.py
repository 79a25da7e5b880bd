"""What watches people's rooms talks to nobody: running a model opens no connection and starts no analytics."""

import subprocess
import sys

SCRIPT = """
import socket, sys, threading

def refuse(*arguments, **options):
    print("connects", arguments)
    raise OSError("refused by the test")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from saliency_tubes.engine.runtimes.open import open_runner
import numpy as np
runner = open_runner("i3d", clip_length=16, runtime="openvino")
runner.infer(np.zeros((1, 3, 16, 224, 224), np.float32))
print("telemetry", sys.modules.get("openvino_telemetry"))
print("threads", [thread.name for thread in threading.enumerate()])
"""


def test_running_a_model_talks_to_nobody():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == ["telemetry None", "threads ['MainThread']"]
