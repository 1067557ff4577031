"""What a killed envbuild left on this machine's engines: containers that nobody looks after any more."""

from dataclasses import dataclass

from envbuild.builder.publish.engine import Engine, engine_address, engine_errors, find_engine
from envbuild.errors import EngineError
from envbuild.settings import Settings

from . import kind_of
from .container import RUN_LABEL, remove, stale_containers
from .docker import read_docker_settings


@dataclass(frozen=True)
class Leftover:
    """A container without a supervisor."""

    container: str
    """Its id, short."""
    run_id: str
    """Empty for a shell's."""
    engine: str
    """The engine's address."""


def remove_leftovers(settings: Settings, *, dry_run: bool = False) -> list[Leftover]:
    """Remove what is left on the engine of the target `docker`, and of every other target of that type.

    An engine that does not answer is passed over, and so is one that is not asked through a socket of this machine: the
    first runs nothing now, the second cannot run our jobs.
    """
    found = []
    for engine in _engines(settings):
        try:
            with engine_errors(engine, "look for what earlier runs left"):
                for each in stale_containers(engine):
                    if dry_run or remove(each):
                        found.append(Leftover(str(each.short_id), each.labels.get(RUN_LABEL, ""), engine.host))
        except EngineError:
            continue
    return found


def _engines(settings: Settings) -> list[Engine]:
    hosts: dict[str, str] = {}
    for name in dict.fromkeys(("docker", *settings.targets)):
        if kind_of(name, settings) == "docker":
            host = read_docker_settings(name, settings.targets.get(name, {})).host
            try:
                hosts.setdefault(engine_address(host), host)
            except EngineError:
                continue
    engines = []
    for address, host in hosts.items():
        if address.startswith(("unix://", "http+unix://")):
            try:
                engines.append(find_engine(host))
            except EngineError:
                continue
    return engines
