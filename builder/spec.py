"""What is asked for, as values: the canonical request that every reader gives, and its key.

What order, comments, spaces and letter case cannot mean is gone from a request; where its parts were written is kept
beside it, for messages, and is no part of its identity.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_CHANNEL = "defaults"


@dataclass(frozen=True)
class CondaDependency:
    """One package asked for from conda channels, in the pieces of a MatchSpec (conda's documentation)."""

    name: str
    version: str = ""
    """Sorted, for instance `<2,>=1.5` or `1.2.*`; empty for any."""
    build: str = ""
    channel: str = ""

    @property
    def text(self) -> str:
        """The MatchSpec."""
        spec = " ".join(part for part in (self.name, self.version or ("*" if self.build else ""), self.build) if part)
        return f"{self.channel}::{spec}" if self.channel else spec


@dataclass(frozen=True)
class EnvironmentSpec:
    """What a user asks for. Equal requests are equal values, but for `name`, `source` and `notes`."""

    name: str
    channels: tuple[str, ...]
    """In the order written: it is meaning."""
    dependencies: tuple[CondaDependency, ...]
    """Sorted by name, one for each name."""
    pip: tuple[str, ...]
    """Lines of a requirements file: options first, in their order, then requirements, sorted. Files that were
    brought in with `-r` are in it already."""
    variables: tuple[tuple[str, str], ...]
    source: Path
    notes: tuple[str, ...] = ()
    """What was assumed, to be said aloud."""
    constraints: tuple[str, ...] = ()
    """Of the pip section (`-c`): versions that hold for whatever is installed. Sorted."""
    contents: tuple[tuple[str, str], ...] = ()
    """Path, as pip lines name it, and sha256 of every file or folder that is installed from beside the file."""
    virtual_packages: tuple[tuple[str, str], ...] = ()
    """What the target machines have, for instance (`__cuda`, `12.4`). Sorted."""
    loosen: tuple[str, ...] = ()
    """Of `builds` and `pins`: what may be dropped where no channel offers it any more. Sorted."""
    places: Mapping[tuple[str, str], str] = field(default_factory=dict, compare=False)
    """Where each part was written: (`dependencies`, `numpy <2`) -> `environment.yml:5`. The first word is the
    ingredient of `spec_key`, the second its text (of a variable or virtual package: its name)."""

    @property
    def folder(self) -> Path:
        """From where the paths in pip lines count."""
        return self.source.absolute().parent


def spec_key(spec: EnvironmentSpec, steering: Mapping[str, object]) -> tuple[str, dict[str, object]]:
    """`sha256:<hex>` that answers "have we locked this request?", and the ingredients it was made of.

    `steering` is what else decides the solve: platforms, virtual packages, channel mapping, pip indexes.
    """
    ingredients: dict[str, object] = {
        "channels": list(spec.channels),
        "dependencies": [dependency.text for dependency in spec.dependencies],
        "pip": list(spec.pip),
        "variables": dict(spec.variables),
        "steering": dict(steering),
    }
    for name, part in (
        ("constraints", list(spec.constraints)),
        ("contents", dict(spec.contents)),
        ("virtual_packages", dict(spec.virtual_packages)),
        ("loosen", list(spec.loosen)),
    ):
        if part:
            ingredients[name] = part
    text = json.dumps(ingredients, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}", ingredients
