"""Which containers nobody looks after any more."""

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from docker.errors import APIError, NotFound

from envbuild.errors import EngineError
from envbuild.trainer.targets import container as containers
from envbuild.trainer.targets import races
from envbuild.trainer.targets.container import SUPERVISOR_LABEL, new_container, remove, stale_containers

OURS = containers._supervisor()
BOOT, PID, START, SPACE = OURS.split()


class Container:
    """Made three hours before anybody looks, whenever that is."""

    def __init__(self, supervisor: str, running: bool = True, ended: timedelta | None = None) -> None:
        self.labels = {SUPERVISOR_LABEL: supervisor}
        self.running, self.ended = running, ended

    @property
    def attrs(self) -> dict[str, Any]:
        ended = ago(self.ended) if self.ended else "0001-01-01T00:00:00Z"
        return {"Created": ago(timedelta(hours=3)), "State": {"Running": self.running, "FinishedAt": ended}}


def ago(time: timedelta) -> str:
    """As Docker writes it."""
    return (datetime.now(timezone.utc) - time).strftime("%Y-%m-%dT%H:%M:%S.123456789Z")


@pytest.mark.parametrize(
    ("container", "stale"),
    [
        (Container(OURS), False),
        (Container(f"{BOOT} {PID} 1 {SPACE}"), True),  # the pid is another process by now
        (Container(f"{BOOT} {PID} 1 17"), False),  # a process that we cannot see, in a container beside us
        (Container(f"another-machine {PID} {START} {SPACE}"), False),
        (Container(f"an-earlier-start {PID} {START} {SPACE}", running=False, ended=timedelta(minutes=30)), False),
        (Container(f"an-earlier-start {PID} {START} {SPACE}", running=False, ended=timedelta(minutes=90)), True),
        (Container(f"an-earlier-start {PID} {START} {SPACE}", running=False), True),  # made long ago, never started
        (Container("what is this"), False),
    ],
)
def test_a_container_is_stale_when_nobody_can_be_looking_after_it(
    container: Container, stale: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containers, "watched_containers", lambda _: [container])
    engine: Any = None
    assert stale_containers(engine) == ([container] if stale else [])


class Ending:
    """A container whose removal fails with `errors`, one after another, until none is left."""

    short_id = "c0ffee"

    def __init__(self, *errors: Exception) -> None:
        self.errors = [*errors]

    def remove(self, **_: object) -> None:
        if self.errors:
            raise self.errors.pop(0)


def engine_with(container: Ending) -> Any:
    making = SimpleNamespace(create=lambda **_: container)
    return SimpleNamespace(client=SimpleNamespace(containers=making), product="Podman", host="")


IMPROPER = "cannot remove container as it could not be stopped: sending SIGKILL: container state improper: stopped"


def test_a_container_that_ends_while_it_is_stopped_is_removed_once_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(races, "_PAUSE", 0)
    ending = Ending(APIError(IMPROPER), APIError(IMPROPER))
    with pytest.raises(BrokenPipeError), new_container(engine_with(ending), {}):
        raise BrokenPipeError
    assert ending.errors == []
    assert remove(Ending(APIError(IMPROPER)))  # type: ignore[arg-type]


def test_another_reason_why_a_container_stays_is_said_at_once() -> None:
    ending = Ending(APIError("device or resource busy"), APIError("never seen"))
    told = "could not remove the container c0ffee: device or resource busy"
    with pytest.raises(EngineError, match=told), new_container(engine_with(ending), {}):
        pass
    assert len(ending.errors) == 1


def test_what_went_wrong_first_is_told_also_when_the_container_cannot_be_removed_then() -> None:
    ending = Ending(requests.ConnectionError("gone"))
    with pytest.raises(EngineError, match="^first$"), new_container(engine_with(ending), {}):
        raise EngineError("first")
    assert ending.errors == []


def test_a_container_that_somebody_else_has_removed_is_gone() -> None:
    with new_container(engine_with(Ending(NotFound("no such container"))), {}):
        pass
