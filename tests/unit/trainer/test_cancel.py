"""A run is answered for from the moment that it is recorded: also while what will supervise it is only starting."""

import os
import signal
from pathlib import Path

import pytest

from envbuild.trainer.cancel import answering_for
from envbuild.trainer.run import create_run, load_folder, update_run


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_start_is_recorded_as_canceled(tmp_path: Path, number: int) -> None:
    run = create_run(tmp_path, "digits", {}, supervised=True)
    with pytest.raises(KeyboardInterrupt), answering_for(run):
        os.kill(os.getpid(), number)
    assert load_folder(run.folder).state == "Canceled"


def test_how_a_run_ended_stays_when_the_command_is_interrupted_afterwards(tmp_path: Path) -> None:
    run = create_run(tmp_path, "digits", {}, supervised=True)
    with pytest.raises(KeyboardInterrupt), answering_for(run):
        update_run(run, state="Completed")
        os.kill(os.getpid(), signal.SIGINT)
    assert load_folder(run.folder).state == "Completed"
