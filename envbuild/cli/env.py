"""`envbuild env`: list, show, history, tag, untag, remove, lock; and what env_compare.py adds"""

from pathlib import Path
from typing import Annotated, Any

import typer

from envbuild.errors import InputError, StoreError
from envbuild.settings import load_settings

from . import env_compare, output

app = typer.Typer(help="Registered environments.", epilog="Example: envbuild env list", no_args_is_help=True)


Reference = Annotated[
    str,
    typer.Argument(
        metavar="NAME[:VERSION]", help="NAME (its newest version), NAME:VERSION, NAME:TAG or NAME@sha256:DIGEST."
    ),
]


@app.command("list", epilog="Example: envbuild env list")
def list_(
    name: Annotated[str | None, typer.Argument(help="Only this environment's versions.")] = None,
    as_json: output.Json = False,
) -> None:
    """List every version of every registered environment."""
    from dataclasses import asdict

    from envbuild.registry.environments import load
    from envbuild.registry.index import list_versions

    home = load_settings().home
    found = list_versions(home, name)
    if name and not found.entries:
        load(home, name)  # says which names there are
    for folder in found.damaged:
        output.note(
            f"{folder} holds no readable environment.json; remove it: "
            f"envbuild env remove {folder.parent.name}:{folder.name}"
        )
    tags = {each: _tags(home, each) for each in sorted({entry.name for entry in found.entries})}
    if as_json:
        output.print_json(
            [{**asdict(entry), "tags": tags[entry.name].get(entry.version, [])} for entry in found.entries]
        )
        return
    if not found.entries:
        output.note("no environment is registered yet: envbuild register environment.yml")
        return
    output.print_table(
        ("ENVIRONMENT", "TAGS", "REGISTERED", "PACKAGES", "SIZE", "IMAGE"),
        [
            (
                entry.reference,
                ",".join(tags[entry.name].get(entry.version, [])) or "-",
                entry.registered,
                entry.packages,
                output.size(entry.size),
                entry.digest[:19],
            )
            for entry in found.entries
        ],
    )


@app.command(epilog="Example: envbuild env show pytorch-env:1")
def show(reference: Reference, as_json: output.Json = False) -> None:
    """Show one environment: why it was made, its tags, identities, layers with their packages, files."""
    from envbuild.registry.environments import load

    home = load_settings().home
    environment = load(home, reference)
    record: Any = environment.record
    tags = ", ".join(_tags(home, environment.name).get(environment.version, []))
    if as_json:
        output.print_json({**record, "folder": str(environment.folder)})
        return
    for label, value in (
        ("environment", environment.reference),
        ("tags", tags),
        ("registered", record["registered"]),
        ("because", record.get("reason", "")),
        ("image", record["image"]["digest"]),
        ("config", record["image"]["config_digest"]),
        ("environment id", environment.environment_id),
        ("spec key", record["spec_key"]),
        ("lock", record["lock_digest"]),
        ("base", f"{record['base']['name']}:{record['base']['version']}  {record['base']['diff_id']}"),
        ("platform", ", ".join(environment.platforms)),
        ("files", environment.folder),
    ):
        if value:
            typer.echo(output.printable(f"{label:<15} {value}"))
    for platform, dropped in record.get("dropped", {}).items():
        for each in dropped:
            typer.echo(output.printable(f"{'dropped':<15} {platform}: {each}"))
    for platform in environment.platforms:
        typer.echo("")
        if len(environment.platforms) > 1:
            typer.echo(f"{platform}  {record['images'][platform]['digest']}")
        output.print_table(
            ("LAYER", "SIZE", "PACKAGES"),
            [
                (layer.diff_id[7:19], output.size(layer.size), ", ".join(layer.packages) or layer.title)
                for layer in environment.layers_of(platform)
            ],
        )


@app.command(epilog="Example: envbuild env history pytorch-env")
def history(
    name: Annotated[str, typer.Argument(help="The environment's name.")],
    as_json: output.Json = False,
) -> None:
    """Show what happened under one name: versions registered and removed, tags set and moved."""
    from dataclasses import asdict

    from envbuild.registry.history import history as read_history

    events = read_history(load_settings().home, name)
    if as_json:
        output.print_json([asdict(event) for event in events])
        return
    output.print_table(
        ("TIME", "EVENT", "VERSION", "TAGS", "IMAGE", "DETAIL"),
        [
            (event.time, event.what, event.version, ",".join(event.tags) or "-", event.digest[:19] or "-", event.detail)
            for event in events
        ],
    )


@app.command(epilog="Example: envbuild env tag pytorch-env:3 prod    (moves the tag when it is there already)")
def tag(
    reference: Reference,
    tag: Annotated[str, typer.Argument(help="The tag, for instance prod.")],
    as_json: output.Json = False,
) -> None:
    """Point a tag at one version; NAME:TAG then means that version."""
    from envbuild.registry.environments import load
    from envbuild.registry.tags import move_tag

    home = load_settings().home
    environment = load(home, reference)
    before = move_tag(home, environment.name, tag, environment.version)
    if as_json:
        output.print_json({"name": environment.name, "tag": tag, "version": environment.version, "before": before})
        return
    moved = f"  (before: {environment.name}:{before})" if before not in (None, environment.version) else ""
    typer.echo(f"{environment.name}:{tag}  is {environment.reference}{moved}")


@app.command(epilog="Example: envbuild env untag pytorch-env:prod")
def untag(
    reference: Annotated[str, typer.Argument(metavar="NAME:TAG", help="The tag to remove; the version stays.")],
    as_json: output.Json = False,
) -> None:
    """Remove a tag; the version that it points at stays."""
    from envbuild.registry.environments import load
    from envbuild.registry.tags import drop_tag

    home = load_settings().home
    name, _, tag = reference.partition(":")
    if not tag:
        raise InputError(f"{reference} names no tag; write {name}:TAG")
    load(home, name)  # says which names there are
    version = drop_tag(home, name, tag)
    if as_json:
        output.print_json({"name": name, "tag": tag, "version": version})
        return
    typer.echo(f"{name}:{tag}  removed; it was {name}:{version}")


@app.command(epilog="Example: envbuild env remove pytorch-env:1")
def remove(
    reference: Annotated[str, typer.Argument(metavar="NAME[:VERSION]", help="NAME alone means all its versions.")],
    force: Annotated[bool, typer.Option("--force", help="Also what a tag points at or a recorded run names.")] = False,
    as_json: output.Json = False,
) -> None:
    """Remove one version, or every version of a name; its number is never given again."""
    from envbuild.registry.remove import remove as remove_versions
    from envbuild.trainer.uses import recorded_uses

    settings = load_settings()
    done = remove_versions(settings, reference, recorded_uses(settings.home), force=force)
    if as_json:
        output.print_json({"removed": list(done.references), "tags": list(done.tags), "bytes": done.size})
        return
    for each in done.references:
        typer.echo(f"{each}  removed")
    for each in done.tags:
        typer.echo(f"{each}  removed: it pointed at nothing else")
    if done.size is None:
        output.note(
            "a record or tags file of another environment is damaged; envbuild gc says which, and frees nothing"
        )
    else:
        typer.echo(f"envbuild gc will now free {output.size(done.size)} more")


@app.command(epilog="Example: envbuild env lock pytorch-env > conda-lock.yml")
def lock(
    reference: Reference,
    platform: Annotated[str | None, typer.Option(help="With --json: whose packages; default: the first.")] = None,
    as_json: output.Json = False,
) -> None:
    """Print the lock of a version: the conda-lock.yml, or with --json the packages of one platform."""
    from dataclasses import asdict

    from envbuild.registry.compare import locked
    from envbuild.registry.environments import load

    if platform and not as_json:
        raise InputError("--platform goes with --json; without it the whole lock is printed, of every platform")
    environment = load(load_settings().home, reference)
    if as_json:
        output.print_json(asdict(locked(environment, platform)))
    else:
        typer.echo(environment.lock_file.read_text(encoding="utf-8"), nl=False)


@app.command(epilog="Example: envbuild env sbom pytorch-env > pytorch-env.cdx.json")
def sbom(reference: Reference, as_json: output.Json = False) -> None:
    """Print the bill of materials of a version: CycloneDX 1.6 as JSON, with or without --json."""
    from envbuild.registry.documents import read_sbom
    from envbuild.registry.environments import load

    settings = load_settings()
    environment = load(settings.home, reference)
    document, is_kept = read_sbom(environment, settings)
    if not is_kept:
        output.note(f"{environment.reference} was registered without one; made from its lock, without licences")
    typer.echo(document, nl=False)


@app.command(
    epilog="Example: envbuild env sign pytorch-env --key signing.key    (checked by: verify --key signing.pub)"
)
def sign(
    reference: Reference,
    key: Annotated[Path, typer.Option(help="A private key: PEM, PKCS #8; ECDSA P-256 is what cosign uses.")],
    as_json: output.Json = False,
) -> None:
    """Sign the provenance of a version; the signature (a DSSE envelope) travels with it."""
    from envbuild.registry.environments import load
    from envbuild.registry.sign import sign as sign_version

    environment = load(load_settings().home, reference)
    file = sign_version(environment, key)
    if as_json:
        output.print_json({"environment": environment.reference, "file": str(file)})
    else:
        typer.echo(f"{environment.reference}  signed: {file}")


def _tags(home: Path, name: str) -> dict[int, list[str]]:
    """Version -> tags; a damaged file is said and does not hide the versions."""
    from envbuild.registry.tags import tags_by_version

    try:
        return tags_by_version(home, name)
    except StoreError as error:
        output.note(str(error))
        return {}


env_compare.add_to(app)
