"""`envbuild curated list`, `show` and `refresh`"""

from pathlib import Path
from typing import Annotated

import typer

from envbuild.settings import load_settings

from . import output

app = typer.Typer(
    help="Curated environments: used by name (--env curated/NAME), extended (register --from curated/NAME --add ...).",
    epilog="Example: envbuild run --env curated/pytorch-cpu src train.py",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A curated environment, with or without curated/ in front.")]


@app.command("list", epilog="Example: envbuild curated list")
def list_(as_json: output.Json = False) -> None:
    """List the environments that come with envbuild."""
    from envbuild.images.curated import curated_names, read_curated
    from envbuild.registry.curated import newest_lock

    settings = load_settings()
    found = [(each, newest_lock(each, settings)) for each in map(read_curated, curated_names())]
    if as_json:
        output.print_json(
            [
                {
                    "name": f"curated/{each.name}",
                    "base": each.base,
                    "description": each.description,
                    "locked": bool(lock),
                }
                for each, lock in found
            ]
        )
        return
    output.print_table(
        ("ENVIRONMENT", "BASE", "LOCKED", "DESCRIPTION"),
        [
            (f"curated/{each.name}", each.base, f"{len(lock.packages)} packages" if lock else "no", each.description)
            for each, lock in found
        ],
    )


@app.command(epilog="Example: envbuild curated show pytorch-cpu")
def show(name: Name, as_json: output.Json = False) -> None:
    """Show one curated environment: its file, its base and what its lock holds."""
    from envbuild.registry.curated import find_curated, newest_lock

    curated = find_curated(name)
    lock = newest_lock(curated, load_settings())
    packages = {package.name: package.version for package in lock.packages} if lock else {}
    text = curated.spec_file.read_text(encoding="utf-8")
    if as_json:
        output.print_json(
            {"name": f"curated/{curated.name}", "base": curated.base, "description": curated.description}
            | {"environment": text, "packages": packages}
        )
        return
    typer.echo(f"curated/{curated.name}  {curated.description}\nbase {curated.base}\n\n{text}")
    if packages:
        output.print_table(("PACKAGE", "VERSION"), list(packages.items()))
    else:
        output.note(f"not locked yet: its first use solves it, or envbuild curated refresh {curated.name}")


@app.command(epilog="Example: envbuild curated refresh pytorch-cpu")
def refresh(
    name: Name,
    into: Annotated[
        Path | None, typer.Option(help="Keep the lock as INTO/NAME/conda-lock.yml instead of in the home folder.")
    ] = None,
    as_json: output.Json = False,
) -> None:
    """Solve a curated environment again, keep its lock, and show what changed."""
    from envbuild.registry.curated import refresh as refresh_lock

    done = refresh_lock(name, load_settings(), output.reporter(), into=into)
    if as_json:
        output.print_json({"name": name, "lock": str(done.file), "changes": list(done.changes)})
        return
    for line in done.changes:
        typer.echo(line)
    typer.echo(f"{done.file}  {len(done.after.packages)} packages, {len(done.changes)} changes")
