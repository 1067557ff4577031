"""Asking an engine again which looked at a container just as that ended.

Podman before 4.4 answers with an error then, whatever it was asked: once the end is recorded, it answers.
"""

import re
import time
from collections.abc import Callable
from typing import TypeVar

_RACES = re.compile(
    r"container state improper"  # its signal came after the end: podman issue 16142
    r"|/proc/\d+/\S*: no such (process|file or directory)"  # its look did: podman pull requests 12464 and 16504
    r"|no such container"  # a list, over one that goes meanwhile
)
_TRIES = 100
_PAUSE = 0.05

Answer = TypeVar("Answer")


def ask_again(ask: Callable[[], Answer]) -> Answer:
    """What the engine answers to `ask`, once no container ends between two of its own looks.

    Raises:
        docker.errors.APIError: it goes on failing, or for another reason; a container that does not exist is no race.
    """
    from docker.errors import APIError, NotFound

    for _ in range(_TRIES):
        try:
            return ask()
        except NotFound:
            raise
        except APIError as error:
            if not _RACES.search(str(error)):
                raise
        time.sleep(_PAUSE)
    return ask()
