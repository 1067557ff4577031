"""What a script asks for that is not here: one sentence, at the place where it is asked for."""

import difflib
from collections.abc import Sequence
from typing import Any

from envbuild.errors import InputError


class UnknownImport(InputError, ImportError):
    """A module, or a name in one, of the SDK that has no counterpart here."""


class UnknownName(InputError, AttributeError):
    """A method or option of the SDK that has no counterpart here."""


def no_counterpart(what: str, name: str, known: Sequence[str]) -> str:
    """The sentence; `name` is the part of `what` for which `known` may hold something near."""
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"there is: {', '.join(known)}"
    return f"{what} has no counterpart when a script runs by envbuild azureml; {hint}"


class Section:
    """Makes an attribute that a script sets a sentence, unless the class (or its annotations) knows it."""

    def __setattr__(self, name: str, value: Any) -> None:
        classes = type(self).__mro__[:-1]
        known = [each for one in classes for each in (*vars(one), *vars(one).get("__annotations__", ()))]
        if not name.startswith("_") and name not in known:
            public = sorted({each for each in known if not each.startswith("_")})
            raise UnknownName(no_counterpart(f"{type(self).__name__}.{name}", name, public))
        super().__setattr__(name, value)


class Named:
    """Makes an unknown attribute a sentence."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        known = [each for each in dir(type(self)) if not each.startswith("_")]
        raise UnknownName(no_counterpart(f"{type(self).__name__}.{name}", name, known))
