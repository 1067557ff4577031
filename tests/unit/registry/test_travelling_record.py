"""The record of an environment of several platforms is believed as far as it can be worked out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from envbuild.builder.image import Image, Layer, digest, make_image, make_index
from envbuild.builder.lock import Lock, LockedPackage, write_locks
from envbuild.builder.plan import environment_id, joint_identity
from envbuild.errors import LayerError
from envbuild.registry.environments import image_record
from envbuild.registry.travelling_record import check_images, foreign_layers, platforms_of, read_record

PLATFORMS = ("linux-aarch64", "linux-64")  # the first is not the first of the alphabet


def package(platform: str) -> LockedPackage:
    url = f"https://example.test/ch/{platform}/tool-1.0-0.conda"
    return LockedPackage("conda", "tool", "1.0", url, digest(platform.encode()).removeprefix("sha256:"))


class Sent:
    """A record on its way, with its configs and its lock."""

    def __init__(self, folder: Path) -> None:
        locks = [Lock(platform, (), (package(platform),)) for platform in PLATFORMS]
        identities = [environment_id(lock, digest(lock.platform.encode()), (), 1) for lock in locks]
        self.images = [self._image(platform) for platform in PLATFORMS]
        self.configs = [image.config for image in self.images]
        write_locks(locks, folder / "lock.yml")
        self.lock = (folder / "lock.yml").read_bytes()
        images = {platform: image_record(image) for platform, image in zip(PLATFORMS, self.images, strict=True)}
        self.record: dict[str, Any] = {
            "name": "tool",
            "version": 1,
            "environment_id": joint_identity([identity for identity, _ in identities]),
            "ingredients": identities[0][1],
            "all_ingredients": dict(zip(PLATFORMS, [each for _, each in identities], strict=True)),
            "spec_key": "sha256:0",
            "lock_digest": "sha256:1",
            "platform": PLATFORMS[0],
            "registered": "2026-01-01T00:00:00Z",
            "base": {"name": "debian12-minimal", "version": 1, "diff_id": "sha256:2"},
            "packages": 2,
            "image": images[PLATFORMS[0]],
            "images": images,
            "index": {"digest": digest(make_index(self.images))},
        }

    def _image(self, platform: str) -> Image:
        return make_image([Layer(digest(platform.encode()), 1024, "", "base", ())], platform, 0, {}, {})

    def arrive(self) -> tuple[Image, ...]:
        record = read_record({"environment.json": json.dumps(self.record).encode(), "conda-lock.yml": self.lock})
        return check_images(record, self.configs)


@pytest.fixture
def sent(tmp_path: Path) -> Sent:
    return Sent(tmp_path)


def test_what_fits_together_gives_the_images_in_the_order_of_the_index(sent: Sent) -> None:
    assert platforms_of(sent.record) == PLATFORMS
    assert [image.digest for image in sent.arrive()] == [image.digest for image in sent.images]


def test_foreign_layers_are_those_of_all_platforms(sent: Sent) -> None:
    assert foreign_layers(sent.record) == set()
    layer = sent.record["images"]["linux-64"]["layers"][0]
    layer["blob"] = {"digest": "sha256:2", "size": 1, "media_type": ""}
    assert foreign_layers(sent.record) == {layer["diff_id"]}


HARMS: dict[str, tuple[Callable[[Sent], object], str]] = {
    "the second image": (lambda sent: sent.record["images"]["linux-64"].update(digest="sha256:0"), "another image"),
    "the index": (lambda sent: sent.record["index"].update(digest="sha256:0"), "another image"),
    "no index": (lambda sent: sent.record.pop("index"), "cannot be read"),
    "image is another": (lambda sent: sent.record.update(image=sent.record["images"]["linux-64"]), "none of images"),
    "images are a list": (lambda sent: sent.record.update(images=["linux-64"]), "cannot be read"),
    "no images": (lambda sent: sent.record.update(images={}), "does not follow"),
    "a config is missing": (lambda sent: sent.configs.pop(), "but 1 images came with it"),
    "the second platform's ingredients": (
        lambda sent: sent.record["all_ingredients"]["linux-64"].update(prefix="/elsewhere"),
        "does not follow",
    ),
    "no ingredients of the second": (lambda sent: sent.record["all_ingredients"].pop("linux-64"), "cannot be read"),
    "a base that is a path": (lambda sent: sent.record["base"].update(name="/x"), "no base"),
    "a base that is a pattern": (lambda sent: sent.record["base"].update(name="x*"), "no base"),
    "a base without a number": (lambda sent: sent.record["base"].update(version="1"), "no base"),
    "no base": (lambda sent: sent.record.pop("base"), "cannot be read"),
    "packages without a number": (lambda sent: sent.record.update(packages="many"), "no number of packages"),
    "a request that is a list": (lambda sent: sent.record.update(spec_ingredients=[1]), "is no table"),
    "what was dropped as a word": (lambda sent: sent.record.update(dropped={"linux-64": "six"}), "no table of lists"),
    "the second platform's lock": (
        lambda sent: setattr(sent, "lock", sent.lock.replace(package("linux-64").sha256.encode(), b"b" * 64)),
        "other packages",
    ),
}


@pytest.mark.parametrize("name", HARMS)
def test_what_does_not_fit_is_refused(sent: Sent, name: str) -> None:
    harm, reason = HARMS[name]
    harm(sent)
    with pytest.raises(LayerError, match=reason):
        sent.arrive()
