"""What is written beside a version for others to check: the bill of materials and the provenance of its images."""

from collections.abc import Mapping, Sequence
from typing import Any

from envbuild.builder.attestations import provenance, sbom
from envbuild.builder.attestations.contents import Content, base_contents, locked_contents
from envbuild.builder.bases.base import base_recipe
from envbuild.builder.lock import LockedPackage, read_locks
from envbuild.settings import Settings

from .environments import Environment


def make_documents(
    name: str,
    record: Mapping[str, Any],
    packages: Sequence[LockedPackage],
    licenses: Mapping[str, str],
    created: int,
    settings: Settings,
) -> dict[str, bytes]:
    """File name -> content, for the version that `record` describes."""
    contents = _contents(record, packages, licenses, settings)
    base = record["base"]
    images = [image["digest"] for image in _images(record).values()]
    index = [record["index"]["digest"]] if "index" in record else []
    return {
        sbom.FILE_NAME: _sbom(name, record, contents, created),
        provenance.FILE_NAME: provenance.make_provenance(
            name,
            [*index, *images],
            record["spec_ingredients"],
            record["ingredients"],
            {"name": f"{base['name']}:{base['version']}", "digest": base["diff_id"]},
            contents,
        ),
    }


def read_sbom(environment: Environment, settings: Settings) -> tuple[bytes, bool]:
    """The bill of materials of a version; and whether it is the one that was written when it was registered.

    For a version without one it is made now, from the lock: complete, but without licences.
    """
    try:
        return (environment.folder / sbom.FILE_NAME).read_bytes(), True
    except FileNotFoundError:
        record = environment.record
        locks = read_locks(environment.lock_file, tuple(_images(record)))
        contents = _contents(record, [each for lock in locks for each in lock.packages], {}, settings)
        return _sbom(environment.name, record, contents, 0), False


def _sbom(name: str, record: Mapping[str, Any], contents: Sequence[Content], created: int) -> bytes:
    properties = {key: str(record[key]) for key in ("environment_id", "spec_key", "lock_digest", "platform")}
    return sbom.make_sbom(name, record.get("index", record["image"])["digest"], created, properties, contents)


def _contents(
    record: Mapping[str, Any], packages: Sequence[LockedPackage], licenses: Mapping[str, str], settings: Settings
) -> list[Content]:
    base = record["base"]
    found = []
    for platform in _images(record):
        recipe = base_recipe(base["name"], base["version"], settings, platform)
        if recipe is not None:
            found += base_contents(recipe.packages, f"debian-{recipe.suite}")
    return [*found, *locked_contents(packages, licenses)]


def _images(record: Mapping[str, Any]) -> dict[str, Any]:
    images: dict[str, Any] = record.get("images") or {record["platform"]: record["image"]}
    return images
