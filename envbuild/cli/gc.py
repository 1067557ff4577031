"""`envbuild gc`"""

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from envbuild.errors import InputError
from envbuild.settings import load_settings

from . import output

if TYPE_CHECKING:
    from envbuild.registry.gc import Collection
    from envbuild.trainer.targets.leftovers import Leftover

_UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: envbuild gc --dry-run --older-than 30d")(gc)


def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    keep_last: Annotated[
        int | None,
        typer.Option(min=1, help="Remove versions but the newest N of each name; not tagged ones, nor those of runs."),
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option(
            metavar="AGE", help="Remove layers and downloads of versions not used for so long, as 30d, 12h or 4w."
        ),
    ] = None,
    as_json: output.Json = False,
) -> None:
    """Remove what no registered environment, tag or recorded run needs. Layers are built again when somebody does."""
    from envbuild.registry.gc import collect
    from envbuild.registry.marks import Rules
    from envbuild.trainer.targets.leftovers import remove_leftovers
    from envbuild.trainer.uses import all_uses

    settings = load_settings()
    rules = Rules(keep_last, _age(older_than) if older_than else None)
    found = collect(settings, output.reporter(), rules, lambda: all_uses(settings.home), dry_run=dry_run)
    leftovers = remove_leftovers(settings, dry_run=dry_run)
    if as_json:
        output.print_json(_document(found, leftovers, dry_run))
        return
    verb = "would remove" if dry_run else "removed"
    for entry in found.removed:
        typer.echo(f"{verb} {entry.reference}")
    for left in leftovers:
        typer.echo(f"{verb} the container {left.container} that {left.run_id or 'a shell'} left at {left.engine}")
    if found.cold:
        typer.echo(f"layers built again when needed: {', '.join(entry.reference for entry in found.cold)}")
    for path in found.held:
        typer.echo(f"kept {path}: a running job uses it")
    if found.garbage:
        output.print_table(
            ("KIND", "ENTRIES", "SIZE"),
            [(each.kind, len(each.paths), output.size(each.size)) for each in found.garbage],
        )
    typer.echo(f"{output.size(found.size)} {'would be freed' if dry_run else 'freed'}")


def _document(found: "Collection", leftovers: "list[Leftover]", dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "kinds": {each.kind: {"entries": len(each.paths), "bytes": each.size} for each in found.garbage},
        "bytes": found.size,
        "removed": [entry.reference for entry in found.removed],
        "cold": [entry.reference for entry in found.cold],
        "containers": [asdict(left) for left in leftovers],
        "held": [str(path) for path in found.held],
    }


def _age(text: str) -> float:
    """Seconds; `30d`, `12h`, `4w`, `90m`."""
    match = re.fullmatch(r"(\d+)([mhdw])", text.strip())
    if not match:
        raise InputError(f"--older-than {text!r} is no age; write for instance 30d, 12h or 4w")
    return float(int(match[1]) * _UNITS[match[2]])
