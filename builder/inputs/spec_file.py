"""A file that describes an environment in, the completed request out, whichever kind of file it is."""

import re
from dataclasses import replace
from pathlib import Path

from envbuild.errors import InputError, SpecError

from ..spec import CondaDependency, EnvironmentSpec
from .environment_file import read_environment
from .git_version import describe, version_tool
from .local_source import content_digest
from .match_spec import parse_dependency
from .requirement import parse_requirement
from .requirements_file import read_requirements
from .unread_file import refuse_unread

NO_PYTHON = "none"


def read_spec(path: Path, *, name: str | None = None, python: str | None = None) -> EnvironmentSpec:
    """Read an environment.yml, or a requirements file when `path` ends in `.txt` or `.in`.

    `python` is the version to have where the file asks for none, or `none` for an environment without Python.

    Raises:
        SpecError: the file cannot be understood; the message says where and what was expected.
        InputError: `python` is no version, or the file asks for Python itself.
    """
    refuse_unread(path)
    spec = read_requirements(path) if path.suffix in (".txt", ".in") else read_environment(path)
    return complete(replace(spec, name=name) if name else spec, python)


def complete(spec: EnvironmentSpec, python: str | None = None) -> EnvironmentSpec:
    """Add what the request needs and does not say: Python, pip for a pip section, and what local packages hold.

    Raises:
        SpecError: a local package does not exist.
        InputError: `python` is no version, or the request asks for Python itself.
    """
    names = {dependency.name for dependency in spec.dependencies}
    added, notes = [], list(spec.notes)
    if python and "python" in names:
        raise InputError(f"{spec.source.name} asks for python itself; leave --python out, or change it there")
    if python == NO_PYTHON:
        if spec.pip:
            raise InputError(f"{spec.source.name} has a pip section, which needs Python; leave --python none out")
    elif python:
        added.append(_python(python))
    elif "python" not in names:
        added.append(CondaDependency("python"))
        notes.append(f"{spec.source.name} does not ask for python; the newest that fits is added")
    if spec.pip and "pip" not in names:
        added.append(CondaDependency("pip"))
        notes.append(f"{spec.source.name} has a pip section and does not ask for pip; it is added")
    dependencies = tuple(sorted((*spec.dependencies, *added), key=lambda each: each.name))
    return replace(spec, dependencies=dependencies, notes=tuple(notes), contents=_contents(spec))


def _python(version: str) -> CondaDependency:
    if not re.fullmatch(r"\d+(\.\d+){0,2}(\.\*)?", version):
        raise InputError(f"--python {version!r} is no version; write for instance --python 3.11, or --python none")
    return parse_dependency(f"python={version}")


def _contents(spec: EnvironmentSpec) -> tuple[tuple[str, str], ...]:
    """The packages that pip lines take from beside the file: their content is part of the request."""
    lines = [parse_requirement(line) for line in spec.pip if not line.startswith("-")]
    paths = {line.location: line.line for line in lines if line.kind == "path"}
    return tuple((path, _content(spec, path, paths[path])) for path in sorted(paths))


def _content(spec: EnvironmentSpec, location: str, line: str) -> str:
    """The digest of what is there; with what git says, where the version is made of that: a new tag is a change."""
    path = spec.folder / location
    try:
        digest, tool = content_digest(path), version_tool(path)
        described = describe(path, tool) if tool else None
    except SpecError as error:
        place = spec.places.get(("pip", line))
        raise SpecError(f"{place}: {error}" if place else str(error)) from None
    return f"{digest} {described.tag}-{described.distance}-g{described.commit}" if described else digest
