"""An environment that is there and packages to add in, the request for both together out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from envbuild.builder.inputs.environment_text import environment_text
from envbuild.builder.inputs.match_spec import merge, parse_dependency
from envbuild.builder.inputs.requirement import parse_requirement
from envbuild.builder.inputs.spec_file import NO_PYTHON, complete, read_spec
from envbuild.builder.spec import EnvironmentSpec
from envbuild.errors import InputError
from envbuild.settings import Settings

from .curated import find_curated, is_curated
from .environments import Environment, load
from .request import LINUX_64, Request, loosened, request_for

_PIP = "pip:"


def extended_request(
    reference: str, added: Sequence[str], settings: Settings, *, name: str | None = None,
    platforms: Sequence[str] = (), loosen: Sequence[str] = (),
) -> Request:  # fmt: skip
    """What `reference` (`curated/NAME`, or a registered `NAME[:VERSION]`) asks for, and `added`.

    Each of `added` is a conda dependency (`lightgbm>=4`), or behind `pip:` a requirement of pip (`pip:six`). Without
    `name` a curated environment's extension is called like it, without `curated-`, and a registered one's like it. It
    is for the same platforms, unless `platforms` names others, and as loose; `loosen` adds to that.

    Raises:
        NotFound: there is no such environment.
        InputError: something of `added` cannot be understood, or contradicts what is there.
    """
    spec, base, its_platforms = _beginning(reference, settings)
    spec = _with(spec, added)
    without_python = not spec.pip and not any(each.name == "python" for each in spec.dependencies)
    whole = complete(spec, python=NO_PYTHON if without_python and not is_curated(reference) else None)
    whole = replace(loosened(whole, (*spec.loosen, *loosen)), name=name or spec.name.removeprefix("curated-"))
    request = request_for(whole, settings, platforms or its_platforms, document=environment_text(whole).encode())
    return replace(request, base=base)


def _beginning(reference: str, settings: Settings) -> tuple[EnvironmentSpec, str, Sequence[str]]:
    """What `reference` asks for, its base, and its platforms."""
    if is_curated(reference):
        curated = find_curated(reference)
        return read_spec(curated.spec_file), curated.base, LINUX_64
    environment = load(settings.home, reference)
    return _asked_for(environment), str(environment.record["base"]["name"]), environment.platforms


def _asked_for(environment: Environment) -> EnvironmentSpec:
    """The request of a registered environment, from its record: its file may have named others beside it."""
    said: Mapping[str, Any] = environment.record.get("spec_ingredients") or {}
    if "dependencies" not in said:
        raise InputError(f"{environment.reference} came from a lock; extend the environment file that it was made of")
    try:
        beside = [line for line in said["pip"] if _is_beside(line)]
        spec = EnvironmentSpec(
            name=environment.name,
            channels=tuple(said["channels"]),
            dependencies=tuple(parse_dependency(text) for text in said["dependencies"]),
            pip=tuple(said["pip"]),
            variables=tuple(sorted(said["variables"].items())),
            source=Path(environment.reference),
            constraints=tuple(said.get("constraints", ())),
            virtual_packages=tuple(sorted(said.get("virtual_packages", {}).items())),
            loosen=tuple(said.get("loosen", ())),
        )
    except (ValueError, KeyError, TypeError, AttributeError):  # of a record that somebody else has written
        raise InputError(f"what {environment.reference} asks for cannot be read from its record") from None
    if beside:
        raise InputError(
            f"{environment.reference} takes {', '.join(beside)} from beside its file, which is not kept here; add to "
            "that file instead"
        )
    return spec


def _is_beside(line: str) -> bool:
    """Whether a pip line names a file or folder by a relative path."""
    if line.startswith("-"):
        option, _, place = line.partition(" ")
        return option == "--find-links" and "://" not in place and not place.startswith("/")
    return parse_requirement(line).kind == "path"


def _with(spec: EnvironmentSpec, added: Sequence[str]) -> EnvironmentSpec:
    dependencies = {dependency.name: dependency for dependency in spec.dependencies}
    pip = set(spec.pip)
    for text in added:
        try:
            if text.startswith(_PIP):
                pip.add(parse_requirement(text.removeprefix(_PIP)).line)
                continue
            dependency = parse_dependency(text)
            known = dependencies.get(dependency.name, dependency)
            dependencies[dependency.name] = merge(known, dependency)
        except ValueError as error:
            raise InputError(f"--add {text}: {error}") from None
    options = [line for line in spec.pip if line.startswith("-")]
    return replace(
        spec,
        dependencies=tuple(dependencies[each] for each in sorted(dependencies)),
        pip=(*options, *sorted(pip - set(options))),
    )
