"""The settings in force: `envbuild.toml`, the environment's `ENVBUILD_...` variables, and where each value came from.

The nearest `envbuild.toml` from the working folder upward marks a project; none is needed. A variable
`ENVBUILD_<TABLE>_<KEY>` (upper case, `-` as `_`) overrides a plain value of the file, for instance
`ENVBUILD_SNAPSHOT_MAX_FILES=5000`; `ENVBUILD_HOME` says where everything is kept. An unknown key is an error that
names the nearest known one: a misspelt setting that is silently ignored costs an afternoon. Where nothing says which
indexes pip's section is solved from, uv's own variables do.
"""

import difflib
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import platformdirs

from envbuild.errors import SettingsError
from envbuild.uv_variables import indexes_of_uv

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE_NAME = "envbuild.toml"

_DEFAULTS: dict[str, dict[str, Any]] = {
    "project": {"name": "", "environment": "", "target": "local"},
    "pip": {"index": "", "extra-indexes": [], "find-links": []},
    "bases": {"default": "debian12-minimal"},
    "registry": {"repository": "", "insecure": False, "chunk-size": "64MiB"},
    "build": {"bwrap": "", "workers": 0, "allow-scripts": []},
    "snapshot": {"max-size": "300MiB", "max-files": 2000},
}
_OPEN_TABLES = ("channels", "virtual-packages", "bases", "targets")
"""Tables whose keys the user invents."""

_SIZE = re.compile(r"(?i)\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*")


@dataclass(frozen=True)
class PipSettings:
    """Where the `pip:` section of an environment file is solved from. uv does not read pip's own configuration."""

    index: str = ""
    """The default index's URL; empty for uv's own default."""
    extra_indexes: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()


@dataclass(frozen=True)
class BaseImage:
    """A base that comes from a registry."""

    image: str
    """`registry/repository:tag` or `...@sha256:<hex>`"""
    platform: str = ""
    """The one it is for, such as `linux-64`; empty for every one that an index has."""
    insecure: bool = False
    """Whether plain http will do."""


@dataclass(frozen=True)
class RegistrySettings:
    """The repository that a team shares."""

    repository: str = ""
    """`registry/repository`; empty for none."""
    insecure: bool = False
    """Whether plain http will do (it always does on this machine's own addresses)."""
    chunk_size: int = 64 << 20
    """Bytes of a blob that one request of an upload carries."""


@dataclass(frozen=True)
class SnapshotLimits:
    """What a snapshot of a source folder may hold."""

    max_size: int = 300 * 1024**2
    """Bytes."""
    max_files: int = 2000


@dataclass(frozen=True)
class Settings:
    """Every setting in force."""

    home: Path
    """Where environments, runs, packages and caches are kept (`ENVBUILD_HOME`)."""
    project: Path | None = None
    """The folder that holds `envbuild.toml`, or `None` outside a project."""
    project_name: str = ""
    environment: str = ""
    """The environment that `run` uses when none is named; empty for the last one registered in this project."""
    target: str = "local"
    channels: Mapping[str, str] = field(default_factory=dict)
    """Channel name -> URL. Relative paths are taken from the folder of `envbuild.toml`."""
    pip: PipSettings = PipSettings()
    virtual_packages: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Platform -> virtual package -> version, for instance `{"linux-64": {"__glibc": "2.36"}}`."""
    base: str = "debian12-minimal"
    bases: Mapping[str, BaseImage] = field(default_factory=dict)
    """Name -> image, for the bases that come from registries."""
    registry: RegistrySettings = RegistrySettings()
    bwrap: str = ""
    """Path of the `bwrap` to use; empty to look for one."""
    workers: int = 0
    """Processes that pack; 0 for one per core, at most four."""
    allow_scripts: tuple[str, ...] = ()
    """Packages whose scripts may run at installation, inside the sandbox."""
    snapshot: SnapshotLimits = SnapshotLimits()
    targets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    """`table.key` -> where its value came from, for `envbuild doctor`."""


def load_settings(start: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings in force for a command started in `start` (default: the working folder).

    Raises:
        SettingsError: `envbuild.toml` is not TOML, has an unknown key, or a value of the wrong kind.
    """
    environ = os.environ if environ is None else environ
    file = _find(start or Path.cwd())
    written = _read(file) if file else {}
    values, origins = _merge(written, file, environ)
    folder = file.parent if file else None
    return Settings(
        home=home_folder(environ),
        project=folder,
        project_name=values["project"]["name"],
        environment=values["project"]["environment"],
        target=values["project"]["target"],
        channels={name: _url(_text(file, f"channels.{name}", url), folder) for name, url in values["channels"].items()},
        pip=PipSettings(
            index=_url(values["pip"]["index"], folder),
            extra_indexes=tuple(_url(each, folder) for each in values["pip"]["extra-indexes"]),
            find_links=tuple(_url(each, folder) for each in values["pip"]["find-links"]),
        ),
        virtual_packages={
            platform: {
                name: _text(file, f"virtual-packages.{platform}.{name}", version) for name, version in table.items()
            }
            for platform, table in _tables(file, "virtual-packages", values["virtual-packages"]).items()
        },
        base=values["bases"]["default"],
        bases={
            name: _base_image(file, name, table)
            for name, table in _tables(file, "bases", values["bases"], skip="default").items()
        },
        registry=RegistrySettings(
            repository=values["registry"]["repository"],
            insecure=values["registry"]["insecure"],
            chunk_size=max(parse_size(values["registry"]["chunk-size"], "registry.chunk-size"), 1),
        ),
        bwrap=values["build"]["bwrap"],
        workers=values["build"]["workers"],
        allow_scripts=tuple(values["build"]["allow-scripts"]),
        snapshot=SnapshotLimits(
            max_size=parse_size(values["snapshot"]["max-size"], "snapshot.max-size"),
            max_files=values["snapshot"]["max-files"],
        ),
        targets=_tables(file, "targets", values["targets"]),
        origins=origins,
    )


def home_folder(environ: Mapping[str, str]) -> Path:
    """`ENVBUILD_HOME`, or the platform's folder for user data."""
    chosen = environ.get("ENVBUILD_HOME")
    return _own_path(chosen).absolute() if chosen else Path(platformdirs.user_data_dir("envbuild"))


def parse_size(text: str | int, name: str) -> int:
    """Read `300MiB`, `2 GB` or a number of bytes.

    Raises:
        SettingsError: `text` is not a size.
    """
    match = _SIZE.fullmatch(str(text))
    if not match:
        raise SettingsError(f"{name} = {text!r} is not a size; write for instance 300MiB or 2GB")
    number, prefix, binary = match.groups()
    return int(float(number) * (1024 if binary else 1000) ** " kmgt".index(prefix.lower() or " "))


def _find(start: Path) -> Path | None:
    start = start.absolute()
    for folder in (start, *start.parents):
        file = folder / FILE_NAME
        if file.is_file():
            return file
    return None


def _read(file: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not valid TOML: {error}") from None
    return document


def _merge(
    written: dict[str, Any], file: Path | None, environ: Mapping[str, str]
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """The defaults, overlaid by what uv's variables say of indexes, by the file, and by the environment."""
    known = sorted({*_DEFAULTS, *_OPEN_TABLES})
    for table, content in written.items():
        _expect_known(file, table, known, f"[{table}]")
        if not isinstance(content, dict):
            raise SettingsError(f"{file}: {table} must be a table, written [{table}]")
    values: dict[str, dict[str, Any]] = {table: dict(_DEFAULTS.get(table, {})) for table in known}
    origins = {f"{table}.{key}": "default" for table, keys in _DEFAULTS.items() for key in keys}
    for key, (found, variable) in indexes_of_uv(environ).items():
        values["pip"][key], origins[f"pip.{key}"] = found, variable
    for table, content in written.items():
        for key, value in content.items():
            default = _DEFAULTS.get(table, {}).get(key)
            if table not in _OPEN_TABLES:
                _expect_known(file, key, sorted(_DEFAULTS[table]), f"{key} in [{table}]")
            if default is not None and type(value) is not type(default):
                kind = {str: "text", int: "a whole number", list: "a list of texts", bool: "true or false"}[
                    type(default)
                ]
                raise SettingsError(f"{file}: {table}.{key} must be {kind}, not {value!r}")
            if isinstance(default, list) and not all(isinstance(each, str) for each in value):
                raise SettingsError(f"{file}: {table}.{key} must be a list of texts, not {value!r}")
            values[table][key] = value
            origins[f"{table}.{key}"] = str(file)
    for table, keys in _DEFAULTS.items():
        for key, default in keys.items():
            variable = f"ENVBUILD_{table}_{key}".upper().replace("-", "_")
            if variable in environ:
                values[table][key] = _from_text(variable, environ[variable], default)
                origins[f"{table}.{key}"] = variable
    return values, origins


def _expect_known(file: Path | None, name: str, known: list[str], shown: str) -> None:
    if name in known:
        return
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
    raise SettingsError(f"{file}: unknown setting {shown}; {hint}")


def _from_text(variable: str, text: str, default: Any) -> Any:
    if isinstance(default, list):
        return text.split()
    if isinstance(default, bool):
        if text.lower() not in ("true", "false", "1", "0"):
            raise SettingsError(f"{variable}={text!r} must be true or false")
        return text.lower() in ("true", "1")
    if isinstance(default, int):
        if not text.isdecimal():
            raise SettingsError(f"{variable}={text!r} must be a whole number")
        return int(text)
    return text


def _text(file: Path | None, name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise SettingsError(f"{file}: {name} must be text, not {value!r}")
    return value


def _base_image(file: Path | None, name: str, table: Mapping[str, Any]) -> BaseImage:
    kinds: dict[str, type] = {"image": str, "platform": str, "insecure": bool}
    for key, value in table.items():
        _expect_known(file, key, sorted(kinds), f"{key} in [bases] {name}")
        if type(value) is not kinds[key]:
            raise SettingsError(
                f"{file}: bases.{name}.{key} must be {'text' if kinds[key] is str else 'true or false'}"
            )
    if "image" not in table:
        raise SettingsError(f'{file}: bases.{name} has no image; write {{ image = "registry/repository@sha256:..." }}')
    return BaseImage(**table)


def _tables(file: Path | None, table: str, content: Mapping[str, Any], skip: str = "") -> dict[str, dict[str, Any]]:
    tables = {name: value for name, value in content.items() if name != skip}
    for name, value in tables.items():
        if not isinstance(value, dict):
            raise SettingsError(f"{file}: {table}.{name} must be a table, not {value!r}")
    return tables


def _own_path(text: str) -> Path:
    """A path as a shell reads it: `~` is the home folder of its user."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise SettingsError(f"{text!r} names the home folder of a user whom this machine does not know") from None


def _url(text: str, folder: Path | None) -> str:
    """Make a relative path (or `file:` path) absolute, counted from the folder of `envbuild.toml`."""
    if not text or ("://" in text and not text.startswith("file://.")):
        try:
            _ = urlsplit(text).port
        except ValueError as error:
            shown = text.rpartition("@")[2]  # what stands before may be a password
            raise SettingsError(f"{shown!r}, the address of a channel or index, is no URL: {error}") from None
        return text
    path = _own_path(text.removeprefix("file://"))
    return ((folder or Path.cwd()) / path).resolve().as_uri()
