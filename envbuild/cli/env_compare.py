"""`envbuild env diff` and `envbuild env explain`"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from envbuild.settings import load_settings

from . import output

if TYPE_CHECKING:
    from envbuild.builder.lock import LockedPackage
    from envbuild.registry.changes import PackageChanges
    from envbuild.registry.compare import Difference


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: envbuild env diff pytorch-env:1 pytorch-env:2")(diff)
    app.command(
        epilog="Example: envbuild env explain environment.yml    (or: envbuild env explain pytorch-env:1 pytorch-env:2)"
    )(explain)


def diff(
    before: Annotated[str, typer.Argument(metavar="A", help="NAME, NAME:VERSION, NAME:TAG or NAME@sha256:DIGEST.")],
    after: Annotated[str, typer.Argument(metavar="B", help="The same; also of another name.")],
    as_json: output.Json = False,
) -> None:
    """Show what is different in B: packages, base, variables, and what a pull of B moves for one who has A."""
    from envbuild.registry.compare import diff as compare
    from envbuild.registry.environments import load

    home = load_settings().home
    found = compare(load(home, before), load(home, after))
    if as_json:
        output.print_json(_document(found))
        return
    if not found.identity:
        typer.echo(f"{found.before.reference} and {found.after.reference} are the same environment")
    for change in found.identity:
        typer.echo(output.printable(change.line))
    for each in found.platforms:
        on = f"{each.platform}: " if len(found.platforms) > 1 else ""
        typer.echo(
            f"{on}{len(each.new_layers)} of {each.layers} layers are new; a pull of {found.after.reference} moves "
            f"{output.size(each.bytes_to_pull)} (uncompressed) for one who has {found.before.reference}"
        )


def explain(
    subject: Annotated[str, typer.Argument(metavar="FILE|A", help="An environment file, or a registered environment.")],
    other: Annotated[
        str | None, typer.Argument(metavar="B", help="What became of A; default: A against the version before it.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="For a FILE: the environment's name; default: its own.")] = None,
    platform: Annotated[
        list[str] | None, typer.Option(help="For a FILE: as register is told (repeat for several).")
    ] = None,
    base: Annotated[str | None, typer.Option(help="For a FILE: as register is told.")] = None,
    python: Annotated[str | None, typer.Option(metavar="VERSION", help="For a FILE: as register is told.")] = None,
    loosen: Annotated[
        list[str] | None, typer.Option(metavar="builds|pins", help="For a FILE: as register is told.")
    ] = None,
    pixi_environment: Annotated[str, typer.Option(metavar="NAME", help="Of a pixi.lock.")] = "default",
    as_json: output.Json = False,
) -> None:
    """Say which ingredient makes this a new build: the package, the setting, the line of the file, the platform."""
    from dataclasses import asdict

    from envbuild.registry.compare import explain as explain_environment
    from envbuild.registry.compare import explain_file
    from envbuild.registry.environments import load
    from envbuild.registry.request import ReadingOptions, read_request

    settings = load_settings()
    if other is None and (Path(subject).is_file() or Path(subject).suffix in (".yml", ".yaml", ".txt", ".lock")):
        options = ReadingOptions(name, tuple(platform or ()), python, tuple(loosen or ()), pixi_environment)
        request = read_request(Path(subject), settings, output.reporter(), options)
        found = explain_file(request, settings, base)
    else:
        after = load(settings.home, other or subject)
        found = explain_environment(after, load(settings.home, subject) if other else None, settings)
    if as_json:
        output.print_json(
            {"verdict": found.verdict, "before": found.before, "changes": [asdict(change) for change in found.changes]}
        )
        return
    typer.echo(found.verdict)
    for change in found.changes:
        typer.echo(output.printable(f"  {change.line}"))


def _document(found: "Difference") -> dict[str, Any]:
    several = len(found.platforms) > 1
    return {
        "before": found.before.reference,
        "after": found.after.reference,
        "packages": {
            "added": [_package(new, on) for on, each in _each(found) for new in each.added],
            "removed": [_package(old, on) for on, each in _each(found) for old in each.removed],
            "changed": [
                {"before": _package(old, on), "after": _package(new, on)}
                for on, each in _each(found)
                for old, new in each.changed
            ],
        },
        "changes": [
            {"ingredient": each.ingredient, "text": each.text, **({"platform": each.platform} if several else {})}
            for each in found.identity
            if each.ingredient != "packages"
        ],
        "layers": {
            "new": [{"diff_id": each.diff_id, "size": each.size, "title": each.title} for each in found.new_layers],
            "shared": found.shared_layers,
        },
        "bytes_to_pull": found.bytes_to_pull,
        "platforms": {each.platform: {"bytes_to_pull": each.bytes_to_pull} for each in found.platforms},
    }


def _each(found: "Difference") -> "list[tuple[str, PackageChanges]]":
    return [(each.platform, each.packages) for each in found.platforms]


def _package(package: "LockedPackage", platform: str) -> dict[str, str]:
    return {
        "platform": platform,
        "manager": package.manager,
        "name": package.name,
        "version": package.version,
        "build": package.build,
        "channel": package.channel,
        "sha256": package.sha256,
    }
