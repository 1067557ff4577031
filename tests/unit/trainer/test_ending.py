"""What a record says of how its job ended."""

import pytest

from envbuild.trainer.cancellation import TimeLimit
from envbuild.trainer.supervisor import _ending
from envbuild.trainer.targets import Outcome


@pytest.mark.parametrize(
    ("outcome", "state", "reason"),
    [
        (Outcome(0, canceled=False), "Completed", None),
        (Outcome(7, canceled=False), "Failed", "exit code 7"),
        (Outcome(128, canceled=False), "Failed", "exit code 128"),
        (Outcome(139, canceled=False), "Failed", "exit code 139 (SIGSEGV)"),
        (Outcome(255, canceled=False), "Failed", "exit code 255"),
        (Outcome(137, canceled=False, reason="it wanted more memory"), "Failed", "it wanted more memory"),
        (Outcome(137, canceled=True), "Canceled", "canceled"),
    ],
)
def test_the_reason_tells_more_than_the_number(outcome: Outcome, state: str, reason: str | None) -> None:
    assert _ending(outcome, TimeLimit(None)) == (state, reason)
