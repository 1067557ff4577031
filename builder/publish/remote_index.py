"""The images of one environment into a repository: of several platforms, an index of what was pushed of each.

The pushed manifests list compressed layers and have digests of their own, so the index of them is made anew (OCI image
specification, image-index.md): equal images, compressed equally, give an equal index.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..distribution.memory import Memory
from ..distribution.repository import INDEX_TYPE, Repository
from ..distribution.upload import CHUNK
from ..image import Image, make_index, platform_of
from ..layers.compression import Compression
from ..report import Reporter
from ..store import Store
from .remote import Pushed, push_image


def push_images(
    images: Sequence[Image], annotations: Mapping[str, str], repository: Repository, how: Compression, store: Store,
    memory: Memory, reporter: Reporter, chunk: int = CHUNK,
) -> Pushed:  # fmt: skip
    """Bring `images` into `repository`: one as it is, several below an index, in the order of their platforms.

    Raises:
        RegistryError: the registry fails or refuses something; what has arrived stays for the next try.
        StoreError: a layer is gone or was changed, or the disk is full.
    """
    ordered = sorted(images, key=lambda image: sorted(platform_of(image).items()))
    done = [push_image(image, annotations, repository, how, store, memory, reporter, chunk) for image in ordered]
    if len(done) == 1:
        return done[0]
    index = make_index([replace(image, manifest=each.manifest) for image, each in zip(ordered, done, strict=True)])
    with memory.one_writer(repository.name):
        repository.put_manifest(index, INDEX_TYPE)
    return Pushed(
        index,
        sum(each.there for each in done),
        sum(each.mounted for each in done),
        sum(each.missing for each in done),
        sum(each.sent for each in done),
    )
