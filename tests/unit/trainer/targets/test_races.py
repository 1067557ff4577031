"""An engine that looked at a container just as that ended is asked again; for any other reason it is not."""

from collections.abc import Callable

import pytest
from docker.errors import APIError, NotFound

from envbuild.trainer.targets import races
from envbuild.trainer.targets.races import ask_again


def engine(*answers: Exception | str) -> Callable[[], str]:
    """Gives one answer after another."""
    left = [*answers]

    def ask() -> str:
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ask


@pytest.mark.parametrize(
    "said",
    [
        "read /proc/28084/cgroup: no such process",
        "open /proc/66223/cgroup: no such file or directory",
        "cannot remove container as it could not be stopped: sending SIGKILL: container state improper: stopped",
        "no such container",
    ],
)
def test_it_answers_once_the_end_is_recorded(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(races, "_PAUSE", 0)
    assert ask_again(engine(APIError("500", explanation=said), APIError("500", explanation=said), "ended")) == "ended"


@pytest.mark.parametrize(
    "error",
    [
        NotFound("no such container"),
        APIError("500", explanation="no space left on device"),
        APIError("500", explanation="crun: open executable: no such file or directory"),
    ],
)
def test_another_error_is_raised_at_once(error: APIError) -> None:
    with pytest.raises(APIError) as raised:
        ask_again(engine(error, "never asked"))
    assert raised.value is error


def test_an_error_that_stays_is_raised_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(races, "_PAUSE", 0)
    with pytest.raises(APIError, match="no such process"):
        ask_again(engine(*[APIError("read /proc/1/cgroup: no such process")] * (races._TRIES + 1), "never asked"))
