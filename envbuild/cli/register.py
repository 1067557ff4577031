"""`envbuild register FILE`"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from envbuild.settings import load_settings

from . import output

if TYPE_CHECKING:
    from envbuild.registry.register import Registration


def add_to(app: typer.Typer) -> None:
    app.command(
        name="register",
        epilog="Example: envbuild register pytorch-env.yml    (again: says reused)",
    )(register)


def register(
    file: Annotated[Path, typer.Argument(help="environment.yml, requirements.txt or conda-lock.yml")],
    name: Annotated[str | None, typer.Option(help="The environment's name; default: the file's own.")] = None,
    base: Annotated[str | None, typer.Option(help="The base image (envbuild base list).")] = None,
    platform: Annotated[str, typer.Option(help="The platform to build for.")] = "linux-64",
    refresh: Annotated[bool, typer.Option("--refresh", help="Solve again although this request is locked.")] = False,
    no_build: Annotated[bool, typer.Option("--no-build", help="Write conda-lock.yml here and build nothing.")] = False,
    as_json: output.Json = False,
) -> None:
    """Lock, build and register the environment that FILE describes."""
    from envbuild.registry import register as registry

    settings = load_settings()
    if no_build:
        target = Path("conda-lock.yml")
        lock = registry.lock_only(file, target, settings, output.reporter(), platform=platform, refresh=refresh)
        typer.echo(f"{target}  {len(lock.packages)} packages locked for {lock.platform}")
        return
    done = registry.register(
        file, settings, output.reporter(), name=name, base=base, platform=platform, refresh=refresh
    )
    if as_json:
        output.print_json(_document(done))
        return
    digest = done.environment.record["image"]["digest"]
    if done.status == "reused":
        how = "reused"
    else:
        how = f"built in {done.seconds['total']:.1f} s ({done.packed} of {done.packages} packages packed)"
    typer.echo(f"{done.environment.reference}  {digest}  {how}")


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
        "packed": done.packed,
        "packages": done.packages,
        "seconds": dict(done.seconds),
        "log": str(done.log),
    }
