"""`envbuild register FILE`"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from envbuild.errors import InputError
from envbuild.settings import Settings, load_settings

from . import output
from .load import into_engine, shown

if TYPE_CHECKING:
    from envbuild.registry.environments import Environment
    from envbuild.registry.registration import Registration
    from envbuild.registry.request import ReadingOptions, Request


def add_to(app: typer.Typer) -> None:
    app.command(
        name="register",
        epilog="Example: envbuild register pytorch-env.yml    (again: says reused)",
    )(register)


def register(
    file: Annotated[
        Path | None,
        typer.Argument(help="environment.yml, requirements.txt, conda-lock.yml, pixi.lock or an explicit list."),
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option("--from", metavar="NAME", help="Begin with curated/NAME or a registered NAME[:VERSION]."),
    ] = None,
    add: Annotated[
        list[str] | None, typer.Option(metavar="SPEC", help="With --from: a package to add; pip:SPEC for one of pip.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The environment's name; default: the file's own.")] = None,
    base: Annotated[str | None, typer.Option(help="The base image (envbuild base list).")] = None,
    platform: Annotated[
        list[str] | None, typer.Option(help="A platform to build for (repeat for several); default: linux-64.")
    ] = None,
    from_conda: Annotated[
        str | None, typer.Option(metavar="NAME|PREFIX", help="What a conda environment of this machine holds.")
    ] = None,
    from_venv: Annotated[
        Path | None, typer.Option(metavar="PATH", help="What pip has installed in a virtual environment.")
    ] = None,
    python: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Python for a file that names none; 'none' for no Python.")
    ] = None,
    loosen: Annotated[
        list[str] | None, typer.Option(metavar="builds|pins", help="Drop those that no channel offers any more.")
    ] = None,
    pixi_environment: Annotated[str, typer.Option(metavar="NAME", help="Of a pixi.lock.")] = "default",
    refresh: Annotated[bool, typer.Option("--refresh", help="Solve again although this request is locked.")] = False,
    no_build: Annotated[bool, typer.Option("--no-build", help="Write conda-lock.yml here and build nothing.")] = False,
    allow_script: Annotated[
        list[str] | None, typer.Option(metavar="PACKAGE", help="Let this package's post-link script run.")
    ] = None,
    load: Annotated[bool, typer.Option("--load", help="Load the image into Docker Engine as well.")] = False,
    as_json: output.Json = False,
) -> None:
    """Lock, build and register the environment that FILE describes."""
    from envbuild.registry.request import ReadingOptions

    settings = load_settings()
    settings = replace(settings, allow_scripts=(*settings.allow_scripts, *(allow_script or ())))
    options = ReadingOptions(name, tuple(platform or ()), python, tuple(loosen or ()), pixi_environment)
    request = _request(_Thing(file, from_, tuple(add or ()), from_conda, from_venv), settings, options)
    if no_build:
        if load:
            raise InputError("--no-build makes no image, so there is none to --load; leave out one of them")
        _lock_only(request, settings, base, refresh, as_json)
        return
    from envbuild.registry.register import register as register_request

    done = register_request(request, settings, output.reporter(), base=base, refresh=refresh)
    _note_unknown_scripts(allow_script or (), done.environment)
    loaded = into_engine(done.environment, "", settings) if load else None
    if as_json:
        output.print_json({**_document(done), **({"loaded": asdict(loaded)} if loaded else {})})
        return
    digest = done.environment.record["image"]["digest"]
    if done.status in ("reused", "pulled"):
        how = done.status
    else:
        how = f"built in {done.seconds['total']:.1f} s ({done.packed} of {done.packages} packages packed)"
    typer.echo(f"{done.environment.reference}  {digest}  {how}")
    if loaded:
        typer.echo(shown(loaded))


def _note_unknown_scripts(allowed: Sequence[str], environment: "Environment") -> None:
    """A name that is misspelt would be found out by nobody: a package without it is refused in other words."""
    known = {each.partition(":")[2] for each in environment.record["ingredients"]["packages"]}
    for name in allowed:
        if name not in known:
            output.note(f"--allow-script {name}: {environment.reference} has no package of that name")


def _lock_only(request: "Request", settings: Settings, base: str | None, refresh: bool, as_json: bool) -> None:
    from envbuild.registry.locking import lock_only

    target = Path("conda-lock.yml")
    locks = lock_only(request, target, settings, output.reporter(), base=base, refresh=refresh)
    if as_json:
        packages = {lock.platform: len(lock.packages) for lock in locks}
        output.print_json({"file": str(target), "status": "locked", "packages": packages})
        return
    for lock in locks:
        typer.echo(f"{target}  {len(lock.packages)} packages locked for {lock.platform}")


@dataclass(frozen=True)
class _Thing:
    """What is named on the command line; one of them."""

    file: Path | None
    from_: str | None
    add: tuple[str, ...]
    from_conda: str | None
    from_venv: Path | None


def _request(thing: _Thing, settings: Settings, options: "ReadingOptions") -> "Request":
    from envbuild.registry.curated import curated_request, is_curated
    from envbuild.registry.extended import extended_request
    from envbuild.registry.request import read_request, request_from_conda, request_from_venv

    if sum(each is not None for each in (thing.file, thing.from_, thing.from_conda, thing.from_venv)) != 1:
        raise InputError("name one thing to register: a file, --from NAME, --from-conda NAME or --from-venv PATH")
    if thing.add and not thing.from_:
        raise InputError("--add goes with --from; add the package to the file instead")
    if thing.file:
        return read_request(thing.file, settings, output.reporter(), options)
    if thing.from_conda:
        return request_from_conda(thing.from_conda, settings, options)
    if thing.from_venv:
        return request_from_venv(thing.from_venv, settings, options)
    from_ = str(thing.from_)
    if options.python:
        raise InputError("--python is for files that do not say it; write --add python=VERSION")
    if options.pixi_environment != "default":
        raise InputError("--pixi-environment goes with a pixi.lock")
    if is_curated(from_) and not thing.add:
        if options.loosen or len(options.platforms) > 1:
            raise InputError(f"{from_} as it is goes with one --platform, and without --loosen")
        platform = (*options.platforms, "linux-64")[0]
        return curated_request(from_, settings, name=options.name, platform=platform)
    return extended_request(
        from_, thing.add, settings, name=options.name, platforms=options.platforms, loosen=options.loosen
    )


def _document(done: "Registration") -> dict[str, object]:
    environment = done.environment
    return {
        "name": environment.name,
        "version": environment.version,
        "environment_id": environment.environment_id,
        "spec_key": environment.record["spec_key"],
        "lock_digest": environment.record["lock_digest"],
        "image": environment.record["image"],
        "status": done.status,
        "reason": done.reason,
        "packed": done.packed,
        "packages": done.packages,
        "seconds": dict(done.seconds),
        "log": str(done.log),
    }
