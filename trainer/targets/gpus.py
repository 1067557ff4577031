"""The GPUs of this machine, as its Container Device Interface (CDI) specifications describe them.

For the sandbox, and for Podman, which takes a device request and forgets it. The driver's libraries and programs get
folders of their own, so that nothing else of this machine comes along; the hooks of a specification, which would run
programs of this machine in the job's file system, are not run, only read for the links that they would make.
https://github.com/cncf-tags/container-device-interface/blob/main/SPEC.md
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from envbuild.builder.sandbox.command import Mount
from envbuild.errors import InputError

FOLDERS = (Path("/etc/cdi"), Path("/var/run/cdi"))
"""Where specifications lie. Of two devices of one name, that in the later folder is taken."""

LIBRARIES = "/envbuild/gpu/lib"
PROGRAMS = "/envbuild/gpu/bin"

_MAKE = "the NVIDIA Container Toolkit writes one: nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"


@dataclass(frozen=True)
class Gpus:
    """What a job needs to use some GPUs."""

    devices: tuple[Mount, ...] = ()
    """Device nodes."""
    mounts: tuple[Mount, ...] = ()
    """The driver's libraries and programs."""
    variables: Mapping[str, str] = field(default_factory=dict)

    def env(self, env: Mapping[str, str]) -> dict[str, str]:
        """`env` with what finds the driver: its libraries before all others, its programs after all others."""
        if not self.devices:
            return dict(env)
        libraries = [LIBRARIES, env.get("LD_LIBRARY_PATH", "")]
        programs = [env.get("PATH", ""), PROGRAMS]
        paths = {"LD_LIBRARY_PATH": ":".join(filter(None, libraries)), "PATH": ":".join(filter(None, programs))}
        return {**env, **self.variables, **paths}


@dataclass(frozen=True)
class _Device:
    """One device of a specification."""

    file: Path
    kind: str
    name: str
    edits: tuple[Mapping[str, Any], ...]
    """Those of the specification, which every device of it needs, and its own."""


def find_gpus(wanted: str, folders: Sequence[Path] = FOLDERS) -> Gpus:
    """What a job needs for the GPUs `wanted`: `all`, a number of them, or their names separated by commas.

    Raises:
        InputError: there are no such GPUs here, or a specification cannot be read or names what does not exist.
    """
    if not wanted or (wanted.isdecimal() and int(wanted) == 0):
        return Gpus()
    devices = list(_devices(folders))
    if not devices:
        places = " or ".join(map(str, folders))
        raise InputError(f"no GPU is described on this machine: no CDI specification in {places} names one; {_MAKE}")
    chosen = _choose(wanted, devices)
    edits = [(device, edit) for device in chosen for edit in device.edits]
    nodes = {node.target: node for device, edit in edits for node in _nodes(device, edit)}
    mounts = {mount.target: mount for device, edit in edits for mount in _mounts(device, edit)}
    pairs = (text.partition("=") for _, edit in edits for text in edit.get("env") or ())
    return Gpus(tuple(nodes.values()), tuple(mounts.values()), {name: value for name, _, value in pairs})


def sandbox_mounts(gpus: Gpus) -> list[Mount]:
    """What the sandbox shows for `gpus`: containers have /sys by themselves, and drivers look around in it."""
    return [Mount(Path("/sys"), "/sys"), *gpus.devices, *gpus.mounts] if gpus.devices else []


def gpu_names(folders: Sequence[Path]) -> list[str]:
    """The names of the GPUs that `folders` describe.

    Raises:
        InputError: a specification cannot be read.
    """
    return sorted({device.name for device in _devices(folders)})


def _devices(folders: Sequence[Path]) -> Iterator[_Device]:
    """Every device of the class `gpu`, whoever made it."""
    import yaml  # takes a while, and is needed for nothing else in a run

    found: dict[tuple[str, str], _Device] = {}
    for file in [file for folder in folders for file in sorted(folder.glob("*")) if file.suffix in (".json", ".yaml")]:
        try:
            text = file.read_text()
            document = json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
            kind, shared = str(document["kind"]), document.get("containerEdits") or {}
            if kind.endswith("/gpu"):
                for device in document["devices"]:
                    edits = (shared, device.get("containerEdits") or {})
                    found[kind, str(device["name"])] = _Device(file, kind, str(device["name"]), edits)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
            raise InputError(f"{file} is no CDI specification: {str(error).splitlines()[0]}") from error
    return iter(found.values())


def _choose(wanted: str, devices: Sequence[_Device]) -> list[_Device]:
    single = sorted((device for device in devices if device.name.isdecimal()), key=lambda each: int(each.name))
    if wanted == "all":
        return [device for device in devices if device.name == "all"] or list(devices)
    if wanted.isdecimal():
        if len(single) < int(wanted):
            raise InputError(f"{wanted} GPUs were asked for; this machine has {len(single)}")
        return single[: int(wanted)]
    names = {name: device for device in devices for name in (device.name, f"{device.kind}={device.name}")}
    chosen = [name.strip() for name in wanted.removeprefix("device=").split(",") if name.strip()]
    for name in chosen:
        if name not in names:
            raise InputError(f"no GPU is called {name!r}; known: {', '.join(sorted({d.name for d in devices}))}")
    return [names[name] for name in chosen]


def _nodes(device: _Device, edit: Mapping[str, Any]) -> Iterator[Mount]:
    for node in edit.get("deviceNodes") or ():
        source = Path(node.get("hostPath") or node["path"])
        if not source.is_char_device() and not source.is_block_device():
            raise InputError(_missing(device, source))
        yield Mount(source, str(node["path"]), writable=True, device=True)


def _mounts(device: _Device, edit: Mapping[str, Any]) -> Iterator[Mount]:
    links = dict(_links(edit.get("hooks") or ()))
    for described in edit.get("mounts") or ():
        source, place = Path(described["hostPath"]), str(described["containerPath"])
        name = os.path.basename(place)
        if not source.exists():
            if place.startswith(("/run/", "/var/run/", "/tmp/")):
                continue  # the socket of a service that does not run now
            raise InputError(_missing(device, source))
        if re.match(r"lib.+\.so(\.|$)", name) and source.is_file():
            for each in _library_names(name, source, links):
                yield Mount(source, f"{LIBRARIES}/{each}")
        elif source.is_file() and os.access(source, os.X_OK):
            yield Mount(source, f"{PROGRAMS}/{name}")
        elif place.startswith(("/run/", "/var/run/", "/tmp/")):
            yield Mount(source, place.removeprefix("/var"))


def _library_names(name: str, source: Path, links: Mapping[str, str]) -> list[str]:
    """`name` and the others that programs ask for: the links beside the library, and those that hooks would make."""
    real = source.resolve()
    names = {name, *(entry.name for entry in source.parent.iterdir() if entry.is_symlink() and entry.resolve() == real)}
    while more := {link for link, target in links.items() if target in names} - names:
        names |= more
    return sorted(names)


def _links(hooks: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """The name of each link that a hook would make, and that of what it leads to (`--link TARGET::PLACE`)."""
    for hook in hooks:
        for argument in hook.get("args") or ():
            target, separator, place = str(argument).removeprefix("--link=").partition("::")
            if separator:
                yield os.path.basename(place), os.path.basename(target)


def _missing(device: _Device, path: Path) -> str:
    again = f"; after a change of the driver it must be written again; {_MAKE}" if "nvidia" in device.kind else ""
    return f"{path}, which {device.file} names for the GPU {device.name}, does not exist{again}"
