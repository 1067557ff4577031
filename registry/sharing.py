"""Environments in a registry: pushed whole, pulled whole, and found by what they are before anybody builds them again.

The image travels with everything that its version's folder holds, each file as an artifact that refers to the image
(OCI image specification 1.1, manifest.md; of several platforms to the index), so that `name:version` is the same on
another machine. In the repository
that a team shares (`[registry] repository`) three more tags point at the image:

    env-HEX      the environment id
    request-HEX  all that was asked for (spec key, base, layout and packer version): nothing is locked, no base built
    spec-HEX     the spec key alone: its lock saves the solving

Whoever may push there decides what the others run: the registry's own access rules are the trust.
"""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from envbuild.builder.distribution.connection import Connection, Patience
from envbuild.builder.distribution.memory import Memory
from envbuild.builder.distribution.reference import Reference, is_tag, parse_reference
from envbuild.builder.distribution.repository import Artifact, Repository
from envbuild.builder.home_lock import sharing
from envbuild.builder.layers.compression import Compression
from envbuild.builder.layers.trees import find_foreign_tree, find_trees
from envbuild.builder.lock import Lock, read_locks
from envbuild.builder.log import FILE_NAME as LOG_NAME
from envbuild.builder.platforms import find_platform
from envbuild.builder.publish.remote import Pushed
from envbuild.builder.publish.remote_index import push_images
from envbuild.builder.pull import RemoteImage, find_image, pulled
from envbuild.builder.report import Reporter
from envbuild.builder.store import Store
from envbuild.errors import EnvbuildError, InputError, RegistryError
from envbuild.settings import Settings

from .environments import LOCK, Environment, check_name
from .index import RECORD
from .rebuild import ready
from .request import Request
from .restore import FILES, Restoration, restore
from .travelling_record import foreign_layers, platforms_of, read_record

_OURS = "application/vnd.envbuild"
_TYPES = {
    RECORD: (f"{_OURS}.environment.v1+json", "application/json"),
    LOCK: (f"{_OURS}.lock.v1+yaml", "application/yaml"),
    "spec.yml": (f"{_OURS}.spec.v1+yaml", "application/yaml"),
    "requirements.txt": (f"{_OURS}.spec.v1+text", "text/plain"),
    LOG_NAME: (f"{_OURS}.build-log.v1+text", "text/plain"),
    "sbom.cdx.json": ("application/vnd.cyclonedx+json", "application/vnd.cyclonedx+json"),
    "provenance.json": ("application/vnd.in-toto+json", "application/vnd.in-toto+json"),
    "provenance.dsse.json": ("application/vnd.dsse.envelope.v1+json", "application/vnd.dsse.envelope.v1+json"),
}
"""File -> its artifact type, which scanners look for, and its media type."""
_REFERENCE = "dev.envbuild.reference"
_CREATED = "org.opencontainers.image.created"
_HURRY = Patience(tries=2, connect=3, read=60)
"""For the shared cache: who cannot be reached soon is not waited for."""

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Published:
    """What `push` did."""

    reference: Reference
    """With tag and digest."""
    tags: tuple[str, ...]
    """Every tag that points at the image now."""
    files: tuple[str, ...]
    """What travelled beside it."""
    image: Pushed


def push(
    environment: Environment, destination: str | None, settings: Settings, reporter: Reporter, *, codec: str = "gzip",
    insecure: bool = False,
) -> Published:  # fmt: skip
    """Push `environment` to `destination` (`registry/repository[:tag]`), or to the repository that the team shares.

    The tag is the version where none is given; in the shared repository `NAME-VERSION`.

    Raises:
        InputError: the destination cannot be understood, or there is none.
        RegistryError: the registry fails or refuses something; what has arrived stays for the next try.
        StoreError: a layer is gone or was changed, or the disk is full.
    """
    how = Compression.default(codec)
    place = _destination(environment, destination, settings)
    repository = _repository(place, settings, insecure=insecure, push=True)
    memory, store = Memory(settings.home, place.registry), Store(settings.home)
    annotations = {_REFERENCE: environment.reference}
    images = environment.all_images(store)
    # the layers are held, and gc is kept from what is compressed meanwhile
    with ready(environment, settings, reporter), sharing(settings.home, reporter):
        done = push_images(images, annotations, repository, how, store, memory, reporter, settings.registry.chunk_size)
    artifacts = _artifacts(environment)
    tags = (place.tag, *(_shared_tags(environment.record) if _is_shared(place, settings) else ()))
    with memory.one_writer(repository.name):
        repository.attach(artifacts, done.manifest)
        for tag in tags:
            repository.put_manifest(done.manifest, done.media_type, tag)
    reached = Reference(place.registry, place.repository, place.tag, done.digest)
    return Published(reached, tags, tuple(each.name for each in artifacts), done)


def pull(
    source: str, settings: Settings, reporter: Reporter, *, name: str | None = None, platform: str = "linux-64",
    insecure: bool = False,
) -> Restoration:  # fmt: skip
    """Register the environment at `source` (`registry/repository:tag` or `...@sha256:<hex>`) as it was pushed.

    An environment of several platforms comes with all of them; `platform` is the image to look for first.

    Raises:
        InputError: the reference cannot be understood.
        RegistryError: the registry fails, or has no environment there.
        LayerError: what arrived does not belong together, or was changed.
        StoreError: the disk is full.
    """
    place = parse_reference(source)
    if not place.tag and not place.digest:
        raise InputError(f"{source!r} has neither tag nor digest; add :TAG or @sha256:...")
    find_platform(platform)
    if name is not None:
        check_name(name)  # before anything travels
    repository = _repository(place, settings, insecure=insecure)
    image = find_image(repository, place, platform)
    if image is None:
        raise RegistryError(f"{place} is not in the registry; check the name and tag, or push it first", status=404)
    with sharing(settings.home, reporter):
        return _restore(image, _files(repository, image), repository, settings, reporter, name)


class SharedCache:
    """The repository that a team shares, asked before anything is solved or built; it is never the reason of a failure.

    The first fault is told once; from then on nothing is asked any more.
    """

    def __init__(self, settings: Settings, reporter: Reporter) -> None:
        self._settings = settings
        self._reporter = reporter
        self._repository: Repository | None = None
        self._off = not settings.registry.repository

    def pull_request(self, request: Request, key: str) -> Environment | None:
        """The environment that somebody registered from an equal request on an equal base: `key` is of both."""

        def fits(record: Mapping[str, Any]) -> bool:
            return (record.get("spec_key"), record.get("request_key")) == (request.key, key)

        return self._try(lambda: self._pull(_tag("request", key), request, fits))

    def locks(self, request: Request) -> tuple[Lock, ...] | None:
        """The locks of an equal request, whatever base it was built on."""
        return self._try(lambda: self._find_locks(request))

    def pull_environment(self, identity: str, request: Request) -> Environment | None:
        """The environment whose id is `identity`."""

        def fits(record: Mapping[str, Any]) -> bool:
            return record.get("environment_id") == identity

        return self._try(lambda: self._pull(_tag("env", identity), request, fits))

    def _try(self, work: Callable[[], _Result | None]) -> _Result | None:
        if self._off:
            return None
        try:
            return work()
        except EnvbuildError as error:
            self._off = True
            self._reporter.say(f"the shared registry is left out: {error}")
            return None

    def _find(self, tag: str, platform: str) -> RemoteImage | None:
        place = parse_reference(self._settings.registry.repository)
        if self._repository is None:
            self._repository = _repository(place, self._settings, patience=_HURRY)
        return find_image(self._repository, Reference(place.registry, place.repository, tag), platform)

    def _pull(self, tag: str, request: Request, fits: Callable[[Mapping[str, Any]], bool]) -> Environment | None:
        image = self._find(tag, request.platforms[0])
        if image is None or self._repository is None:
            return None
        files = _files(self._repository, image)
        if not fits(_parsed(files[RECORD])):
            raise RegistryError(f"{image.reference} holds another environment than its tag says")
        self._reporter.say(f"pulling from {image.reference}")
        done = _restore(image, files, self._repository, self._settings, self._reporter, request.name)
        return done.environment

    def _find_locks(self, request: Request) -> tuple[Lock, ...] | None:
        image = self._find(_tag("spec", request.key), request.platforms[0])
        if image is None or self._repository is None:
            return None
        files = _files(self._repository, image)
        if _parsed(files[RECORD]).get("spec_key") != request.key or LOCK not in files:
            return None
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / LOCK
            file.write_bytes(files[LOCK])
            return read_locks(file, request.platforms)


def _destination(environment: Environment, destination: str | None, settings: Settings) -> Reference:
    text = destination or settings.registry.repository
    if not text:
        raise InputError(
            "no registry is named; write registry/repository after the environment, or set [registry] repository "
            "in envbuild.toml"
        )
    place = parse_reference(text)
    if place.digest:
        raise InputError(f"{text!r} has a digest; what is pushed gets its own: write registry/repository[:tag]")
    shared = f"{environment.name}-{environment.version}"
    tag = place.tag or (shared if _is_shared(place, settings) else str(environment.version))
    if not is_tag(tag):
        raise InputError(f"{tag!r} cannot be a tag; write registry/repository:TAG after the environment")
    return Reference(place.registry, place.repository, tag)


def _is_shared(place: Reference, settings: Settings) -> bool:
    shared = settings.registry.repository
    return bool(shared) and parse_reference(shared).place == place.place


def _repository(
    place: Reference, settings: Settings, *, insecure: bool = False, push: bool = False,
    patience: Patience | None = None,
) -> Repository:  # fmt: skip
    allowed = insecure or (_is_shared(place, settings) and settings.registry.insecure)
    connection = Connection(place.registry, place.repository, insecure=allowed, patience=patience)
    return Repository(connection, place.repository, push=push)


def _shared_tags(record: Mapping[str, Any]) -> tuple[str, ...]:
    keys = {"env": record["environment_id"], "request": record.get("request_key"), "spec": record["spec_key"]}
    return tuple(_tag(kind, key) for kind, key in keys.items() if key)


def _tag(kind: str, key: str) -> str:
    return f"{kind}-{key.removeprefix('sha256:')}"


def _artifacts(environment: Environment) -> list[Artifact]:
    """The version's files, each with its types."""
    annotations = ((_CREATED, str(environment.record["registered"])), (_REFERENCE, environment.reference))
    return [
        Artifact(*_TYPES[name], name, (environment.folder / name).read_bytes(), annotations)
        for name in (RECORD, *FILES)
        if (environment.folder / name).is_file()
    ]


def _files(repository: Repository, image: RemoteImage) -> dict[str, bytes]:
    """The files that came with the image, all from one push: of several the one that the image names, else the newest.

    Raises:
        RegistryError: it is an image, but no environment of ours.
    """
    ours = {kind for kind, _ in _TYPES.values()}
    subjects = dict.fromkeys((image.top, image.manifest.digest))  # an index that others made has no files itself
    found_by = ([each for each in repository.referrers(name) if each.get("artifactType") in ours] for name in subjects)
    listed: list[dict[str, Any]] = next(filter(None, found_by), [])
    pushes = [_push_of(each) for each in listed if each["artifactType"] == _TYPES[RECORD][0]]
    if not pushes:
        raise RegistryError(
            f"{image.reference} is an image without an environment of envbuild; it can be a base: "
            "name it in envbuild.toml [bases]"
        )
    named = image.annotations.get(_REFERENCE, "")
    chosen = max(pushes, key=lambda each: (each[1] == named, each))
    found = repository.connection.in_parallel(
        repository.artifact, [each for each in listed if _push_of(each) == chosen]
    )
    files = {name: data for name, data in filter(None, found) if name in _TYPES}
    if RECORD not in files:
        raise RegistryError(f"the {RECORD} of {image.reference} cannot be read; push the environment again")
    return files


def _push_of(descriptor: Mapping[str, Any]) -> tuple[str, str]:
    """When what was registered: equal for all files of one push."""
    annotations = descriptor.get("annotations")
    known = annotations if isinstance(annotations, dict) else {}
    return str(known.get(_CREATED, "")), str(known.get(_REFERENCE, ""))


def _parsed(record: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(record)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _restore(
    image: RemoteImage, files: Mapping[str, bytes], repository: Repository, settings: Settings, reporter: Reporter,
    name: str | None,
) -> Restoration:  # fmt: skip
    record = read_record(files)
    foreign = foreign_layers(record)
    images = _of_all_platforms(image, platforms_of(record), repository)
    here = set(find_trees(settings.home))
    wanted = {
        diff_id
        for each in images
        for diff_id in each.diff_ids
        if (find_foreign_tree(settings.home, diff_id) is None if diff_id in foreign else diff_id not in here)
    }
    store = Store(settings.home)
    with pulled(images, wanted, foreign, repository, store, reporter) as open_layer:
        done = restore([each.config for each in images], files, open_layer, settings, reporter, name=name)
    digests = [blob.digest for each in images for blob in each.blobs]
    Memory(settings.home, repository.connection.registry).seen(repository.name, digests)
    return done


def _of_all_platforms(image: RemoteImage, platforms: Sequence[str], repository: Repository) -> list[RemoteImage]:
    """The images of `platforms` that the registry has beside `image`, in this order.

    Raises:
        RegistryError: one is not there.
    """
    if len(platforms) == 1:
        return [image]
    place = Reference(image.reference.registry, image.reference.repository, digest=image.top)
    found = [find_image(repository, place, platform) for platform in platforms]
    return [each for each in found if each is not None]
