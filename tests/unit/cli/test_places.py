"""The folder in which a command is typed."""

import os
import subprocess
import sys
from pathlib import Path


def test_a_folder_that_was_removed_under_the_user_is_a_sentence(tmp_path: Path) -> None:
    line = f"mkdir gone && cd gone && rmdir ../gone && exec {sys.executable} -m envbuild env list"
    done = subprocess.run(
        ["sh", "-c", line], cwd=tmp_path, env={**os.environ}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: the folder that you are in is not there any more; go to another one (cd ..)\n"
