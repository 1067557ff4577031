"""Ctrl-C before anything has begun: one line and 130, wherever it comes."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

LINE = "error: interrupted; nothing is half done, run the same command again to go on\n"

AT_AN_IMPORT = """\
import os, signal, sys

moment = int(sys.argv[1])
sys.argv = ["envbuild", "--version"]

class Counting:
    count = 0
    def find_spec(self, name, path=None, target=None):
        Counting.count += name not in ("envbuild", "envbuild.cli")  # before the first line that could do something
        if Counting.count == moment:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Counting())
from envbuild.cli import main
try:
    main()
finally:
    print(Counting.count)
"""


def interrupted_at(moment: int) -> "subprocess.CompletedProcess[str]":
    """`envbuild --version`, interrupted as it looks for its module number `moment`."""
    return subprocess.run(
        [sys.executable, "-c", AT_AN_IMPORT, str(moment)], capture_output=True, text=True, timeout=60, check=False
    )


def test_at_any_import_it_is_one_line_and_130() -> None:
    whole = interrupted_at(-1)
    assert (whole.returncode, whole.stderr) == (0, "")
    count = int(whole.stdout.split()[-1])
    assert count > 50
    for moment in [1, 2, 3, *range(4, count + 1, count // 20)]:
        done = interrupted_at(moment)
        assert (done.returncode, done.stderr) == (130, LINE), moment


def test_at_any_moment_the_command_ends_well() -> None:
    """Before our first line the interpreter itself may be interrupted: it ends, or complains and goes on; it shows
    nothing of ours then."""
    command = Path(sys.executable).with_name("envbuild")
    for delay in range(10, 250, 12):
        process = subprocess.Popen([command, "--version"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(delay / 1000)
        process.send_signal(2)
        _, said = process.communicate(timeout=60)
        if LINE in said:
            assert (process.returncode, said) == (130, LINE), delay
        else:
            assert "envbuild/cli/" not in said and "envbuild/builder/" not in said, said


@pytest.mark.parametrize("line", ["--version", "runs list"])
def test_who_ignores_ctrl_c_is_not_interrupted(line: str, tmp_path: Path) -> None:
    code = f"import os, signal, sys; signal.signal(2, signal.SIG_IGN); sys.argv = ['envbuild', *{line.split()}]\n"
    code += "import threading; threading.Timer(0.05, lambda: os.kill(os.getpid(), 2)).start()\n"
    code += "from envbuild.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, timeout=60, check=False, env={"ENVBUILD_HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
