"""Several pushes at once, of one home and of many, and Ctrl-C: everybody gets done, and nothing is half done."""

import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from harness import PATIENCE, Project, copy_home, started, wait_for

from registry import Proxy, Seen, proxy_before

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture
def new_sender(sender: Project, compressed_home: Path, tmp_path: Path) -> Callable[[str], Project]:
    """Makes homes that all have `small:1`, as those of several machines."""

    def make(name: str) -> Project:
        home = tmp_path / f"{name}-home"
        copy_home(compressed_home, home)
        return Project(sender.folder, home)

    return make


@pytest.fixture
def receiver(sender: Project, tmp_path: Path) -> Project:
    return Project(sender.folder, tmp_path / "receiver-home")


def ends_of(pushes: "list[subprocess.Popen[str]]") -> list[dict[str, object]]:
    """What each of `pushes` says; all of them must succeed."""
    answers = [process.communicate(timeout=PATIENCE) for process in pushes]
    assert [process.returncode for process in pushes] == [0] * len(pushes), answers
    return [json.loads(output) for output, _ in answers]


def is_chunk(seen: Seen) -> bool:
    return seen.method == "PATCH"


def test_two_pushes_at_once_send_everything_once(sender: Project, proxy: Proxy) -> None:
    place = f"{proxy.address}/team/small"
    first, second = ends_of([sender.start("push", "small", place, "--json") for _ in range(2)])
    assert first["digest"] == second["digest"]
    blobs = sum(int(json.loads(each.read_text())["size"]) for each in (sender.home / "store/compressed").glob("*.json"))
    assert sum(int(str(each["bytes_sent"])) for each in (first, second)) == blobs


def test_two_pushes_of_one_home_write_no_document_at_the_same_moment(sender: Project, proxy: Proxy) -> None:
    under_way: list[Seen] = []
    together: list[tuple[Seen, Seen]] = []

    def rule(seen: Seen) -> None:
        if seen.method == "PUT" and "/manifests/" in seen.path and "sha256:" not in seen.path:  # the tags
            together.extend((each, seen) for each in under_way)
            under_way.append(seen)
            time.sleep(0.3)
            under_way.remove(seen)

    proxy.rule = rule
    ends_of([sender.start("push", "small", f"{proxy.address}/team/small", "--json") for _ in range(2)])
    assert together == []


def test_pushes_of_several_homes_at_once_all_end_well(
    new_sender: Callable[[str], Project], registry: str, receiver: Project
) -> None:
    """Each sends what it has, and docker-registry 2.8, rewriting its links, loses sight of blobs meanwhile."""
    homes = [new_sender(name) for name in ("first", "second", "third")]
    for place in (f"{registry}/team/{name}" for name in ("one", "two", "three")):
        done = ends_of([each.start("push", "small", place, "--json") for each in homes + homes])
        assert len({str(each["digest"]) for each in done}) == 1
    assert receiver.json("pull", f"{registry}/team/three:1")["status"] == "pulled"


def test_what_refers_to_an_image_stays_listed_when_another_writer_overwrites_it(
    sender: Project, registry: str, receiver: Project
) -> None:
    """The other one has read the list before ours was in it, and writes it after us."""
    written: list[str] = []

    def overwrite(tag: str) -> None:
        place = f"http://{registry}/v2/team/small/manifests"
        image = requests.get(f"{place}/{tag.replace('-', ':')}", headers={"Accept": MANIFEST_TYPE}, timeout=PATIENCE)
        theirs = {
            "mediaType": MANIFEST_TYPE,
            "digest": image.headers["Docker-Content-Digest"],
            "size": len(image.content),
        }
        index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [theirs]}
        requests.put(f"{place}/{tag}", json.dumps(index), headers={"Content-Type": INDEX_TYPE}, timeout=PATIENCE)

    def rule(seen: Seen) -> None:
        tag = seen.path.rpartition("/")[2]
        if seen.method == "PUT" and tag.startswith("sha256-"):
            put.append(tag)
        elif seen.method == "GET" and tag in put and not written:  # it is looked at again: the other one was quicker
            overwrite(tag)
            written.append(tag)

    put: list[str] = []
    with proxy_before(registry) as proxy:
        proxy.rule = rule
        done = sender.json("push", "small", f"{proxy.address}/team/small")
    tag = done["digest"].replace(":", "-")
    assert (written, len(put)) == ([tag], 2)
    index = requests.get(
        f"http://{registry}/v2/team/small/manifests/{tag}", headers={"Accept": INDEX_TYPE}, timeout=PATIENCE
    )
    listed = [each["digest"] for each in index.json()["manifests"]]
    assert done["digest"] in listed and len(listed) == 1 + len(done["files"])
    assert receiver.json("pull", f"{registry}/team/small:1")["status"] == "pulled"


def test_ctrl_c_ends_a_push_at_once_and_a_retry_finishes(sender: Project, proxy: Proxy) -> None:
    place = f"{proxy.address}/team/small"
    waiting = threading.Event()

    def slow(seen: Seen) -> None:
        if is_chunk(seen):
            waiting.set()
            time.sleep(0.2)

    proxy.rule = slow
    process = sender.start("push", "small", place, env={"ENVBUILD_REGISTRY_CHUNK_SIZE": "64KiB"})
    assert waiting.wait(PATIENCE)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130 and "Traceback" not in said
    proxy.rule = lambda _: None
    assert sender.json("push", "small", place)["tags"] == ["1"]


def test_ctrl_c_ends_a_push_that_waits_for_another(sender: Project, proxy: Proxy) -> None:
    """The other one sends a layer, which may take hours."""
    place = f"{proxy.address}/team/small"
    begun, go_on = threading.Event(), threading.Event()

    def hold(seen: Seen) -> None:
        if is_chunk(seen):
            begun.set()
            go_on.wait(2 * PATIENCE)

    proxy.rule = hold
    chunks = {"ENVBUILD_REGISTRY_CHUNK_SIZE": "1MiB"}
    with started(sender, "push", "small", place, "--json", env=chunks) as first:
        assert begun.wait(PATIENCE)
        known = len(proxy.seen)
        with started(sender, "push", "small", place, "--json") as second:
            wait_for(lambda: sum(each.method == "HEAD" for each in proxy.seen[known:]) > 3)
            time.sleep(0.5)  # its threads are at the locks; a slow machine would only make this an easier case
            second.send_signal(signal.SIGINT)
            _, said = second.communicate(timeout=PATIENCE)
        assert second.returncode == 130 and "Traceback" not in said
        go_on.set()
        ends_of([first])
