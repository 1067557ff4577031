"""What a user names in, a request out: the name, what is wanted (a spec to solve, or locks), and the key of both.

Every way in ends here, so that registering knows one kind of thing.

    environment.yml  requirements.txt  a conda environment  a virtual environment   -> EnvironmentSpec
    conda-lock.yml   pixi.lock         an explicit list                             -> Lock, one for each platform
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from envbuild.builder.fetching.credentials import redacted
from envbuild.builder.inputs.conda_prefix import find_prefix, read_conda_prefix
from envbuild.builder.inputs.environment_text import environment_text
from envbuild.builder.inputs.explicit_file import is_explicit, read_explicit
from envbuild.builder.inputs.pixi_lock import is_pixi_lock, read_pixi_lock
from envbuild.builder.inputs.spec_file import complete, read_spec
from envbuild.builder.inputs.unread_file import READ
from envbuild.builder.inputs.venv import read_venv
from envbuild.builder.lock import Lock, is_lock_file, lock_digest, read_locks
from envbuild.builder.platforms import find_platform
from envbuild.builder.report import Reporter, Silent
from envbuild.builder.solving.explicit_lock import lock_explicit
from envbuild.builder.spec import EnvironmentSpec, spec_key
from envbuild.builder.steering import steering
from envbuild.errors import InputError
from envbuild.settings import Settings

from .environments import check_name

LINUX_64 = ("linux-64",)


@dataclass(frozen=True)
class Request:
    """What is asked for, whatever it was read from."""

    name: str
    key: str
    """`sha256:<hex>`: equal requests have equal keys (the name is not part of it)."""
    ingredients: Mapping[str, Any]
    """What `key` is made of, each by its name."""
    wanted: EnvironmentSpec | tuple[Lock, ...]
    """A request to solve, or the locks of `platforms`, in their order."""
    platforms: tuple[str, ...]
    source: str
    """How the log names what was read, for instance `environment.yml`."""
    document: bytes
    """What was read, to be kept with the version."""
    document_name: str
    variables: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    """What was assumed, to be said aloud."""
    base: str = ""
    """The base that belongs to it, unless the user names another; empty for the one of the settings."""


@dataclass(frozen=True)
class ReadingOptions:
    """What a user says beside the thing to read."""

    name: str | None = None
    """Stands before the name that the thing itself has."""
    platforms: tuple[str, ...] = ()
    """Empty for all that a lock has, and for `linux-64` of anything else."""
    python: str | None = None
    """The version of Python where the file asks for none, or `none` for an environment without."""
    loosen: tuple[str, ...] = ()
    """Of `builds` and `pins`: what may be dropped where no channel offers it any more."""
    pixi_environment: str = "default"


def read_request(
    file: Path, settings: Settings, reporter: Reporter | None = None, options: ReadingOptions | None = None
) -> Request:
    """Read `file`: environment.yml, requirements.txt, conda-lock.yml, pixi.lock, or an explicit list.

    Raises:
        InputError: there is no such file, or an option does not fit it.
        SpecError, LockError: the file cannot be understood.
        FetchError: a package of an explicit list without sha256 cannot be had.
    """
    options, reporter = options or ReadingOptions(), reporter or Silent()
    if not file.is_file():
        raise InputError(f"{file} is not a file; name one: {READ} are read")
    is_pixi = is_pixi_lock(file)
    _check(options, has_environments=is_pixi)
    if is_lock_file(file):
        return _from_locks(file, read_locks(file, options.platforms), options, "spec.yml")
    if is_pixi:
        platforms = options.platforms or LINUX_64
        locks = tuple(read_pixi_lock(file, platform, options.pixi_environment) for platform in platforms)
        return _from_locks(file, locks, options, "pixi.lock")
    if is_explicit(file):
        lock, notes = lock_explicit(read_explicit(file), options.platforms, settings, reporter)
        return replace(_from_locks(file, (lock,), options, "explicit.txt"), notes=notes)
    spec = read_spec(file, name=options.name, python=options.python)
    return request_for(loosened(spec, options.loosen), settings, options.platforms or LINUX_64)


def request_from_conda(name: str, settings: Settings, options: ReadingOptions | None = None) -> Request:
    """What the conda environment `name` (or the folder of one) holds.

    Raises:
        SpecError: there is none, or it cannot be asked for again.
    """
    return _from_installed(read_conda_prefix(find_prefix(name), Path.cwd()), settings, options or ReadingOptions())


def request_from_venv(path: Path, settings: Settings, options: ReadingOptions | None = None) -> Request:
    """What pip has installed in the virtual environment at `path`.

    Raises:
        SpecError: there is none, or it cannot be asked for again.
    """
    return _from_installed(read_venv(path, Path.cwd()), settings, options or ReadingOptions())


def request_for(
    spec: EnvironmentSpec, settings: Settings, platforms: Sequence[str] = LINUX_64, *, document: bytes | None = None
) -> Request:
    """What `spec` asks for; `document` is kept with the version instead of the file that it was read from.

    Raises:
        InputError: its name cannot be one, or a platform is unknown.
    """
    key, ingredients = spec_key(spec, steering(settings, platforms))
    return Request(
        name=check_name(spec.name),
        key=key,
        ingredients=ingredients,
        wanted=spec,
        platforms=tuple(platforms),
        source=spec.source.name,
        document=_public(document or spec.source.read_bytes()),
        document_name="spec.yml" if document or spec.source.suffix in (".yml", ".yaml") else "requirements.txt",
        variables=spec.variables,
        notes=spec.notes,
    )


def _from_installed(spec: EnvironmentSpec, settings: Settings, options: ReadingOptions) -> Request:
    _check(options)
    if options.python:
        raise InputError("--python is for files that do not say it; here it is read from what is installed")
    whole = complete(replace(spec, name=options.name) if options.name else spec)
    text = environment_text(whole)
    return request_for(loosened(whole, options.loosen), settings, options.platforms or LINUX_64, document=text.encode())


def _from_locks(file: Path, locks: tuple[Lock, ...], options: ReadingOptions, kept_as: str) -> Request:
    if options.python or options.loosen:
        raise InputError(f"{file.name} is a lock: every package is decided; --python and --loosen do not go with it")
    platforms = tuple(find_platform(lock.platform).subdir for lock in locks)
    ingredients = {"locks": {lock.platform: lock_digest(lock) for lock in locks}}
    key = f"sha256:{hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()}"
    return Request(
        name=check_name(options.name or file.absolute().parent.name),
        key=key,
        ingredients=ingredients,
        wanted=locks,
        platforms=platforms,
        source=file.name,
        document=_public(file.read_bytes()),
        document_name=kept_as,
    )


def _check(options: ReadingOptions, *, has_environments: bool = False) -> None:
    if options.pixi_environment != ReadingOptions.pixi_environment and not has_environments:
        raise InputError(f"--pixi-environment {options.pixi_environment} goes with a pixi.lock, and this is none")
    for platform in options.platforms:
        find_platform(platform)
    if len(set(options.platforms)) < len(options.platforms):
        raise InputError(f"--platform {' '.join(options.platforms)} names one twice; name each once")


def loosened(spec: EnvironmentSpec, kinds: Sequence[str]) -> EnvironmentSpec:
    """`spec`, of which that may be dropped where no channel offers it any more.

    Raises:
        InputError: a kind is unknown.
    """
    from envbuild.builder.solving.offered import LOOSENABLE

    for kind in kinds:
        if kind not in LOOSENABLE:
            raise InputError(f"--loosen {kind} is unknown; known: {', '.join(LOOSENABLE)}")
    return replace(spec, loosen=tuple(sorted(set(kinds))))


def _public(document: bytes) -> bytes:
    """`document` without the credentials in its URLs; text of another encoding than UTF-8 stays as it is."""
    try:
        return redacted(document.decode()).encode()
    except UnicodeDecodeError:
        return document
