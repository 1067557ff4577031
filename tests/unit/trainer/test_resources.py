"""What a process tree uses, seen from outside; a GPU's figures as nvidia-smi prints them."""

import json
import os
import subprocess
import sys
from pathlib import Path

from envbuild.trainer.resources import ResourceMeter, read_gpus

BUSY = """\
import os, sys
block = bytearray(os.urandom(40 << 20))
while sum(os.times()[:2]) < 0.3:
    pass
print("ready", flush=True)
sys.stdin.read()
"""


def test_a_tree_s_processor_time_and_memory_are_those_of_its_processes(tmp_path: Path) -> None:
    line = [sys.executable, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BUSY!r}])"]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        meter = ResourceMeter(process.pid, tmp_path / "resources.jsonl")
        meter.sample()
        process.communicate()
    meter.sample()  # nothing is left to be seen
    (line_,) = (json.loads(text) for text in (tmp_path / "resources.jsonl").read_text().splitlines())
    assert line_["processes"] == 2
    assert line_["cpu_seconds"] >= 0.3
    assert line_["memory"] > 40 << 20
    assert meter.summary()["peak_memory"] == line_["memory"]


def test_a_process_that_is_gone_has_used_nothing_we_know_of(tmp_path: Path) -> None:
    meter = ResourceMeter(2**22 + 1, tmp_path / "resources.jsonl")
    meter.sample()
    assert meter.summary() == {}
    assert os.listdir(tmp_path) == []


def test_gpus_are_read_as_nvidia_smi_prints_them(tmp_path: Path) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\nprintf '0, 87, 2048\\n1, [N/A], 10\\n'\n")
    smi.chmod(0o755)
    assert read_gpus(str(smi)) == [
        {"index": 0, "utilization": 87, "memory": 2 << 30},
        {"index": 1, "utilization": 0, "memory": 10 << 20},
    ]
    smi.write_text("#!/bin/sh\necho no driver\nexit 9\n")
    assert read_gpus(str(smi)) == []
