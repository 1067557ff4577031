"""What goes wrong between us and a registry: a clear sentence, nothing lost, and a retry finishes."""

import json
import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import Project

from registry import Proxy, Seen, TokenServer, docker_registry, token_server

PASSWORD = "hunter2pass"
HTPASSWD = "ann:$2b$05$abcdefghijklmnopqrstuuiJ6plTq.jdxMPgLwlp74bkSC/wrRmsO\n"
"""bcrypt of `PASSWORD`."""


def elsewhere(project: Project, tmp_path: Path) -> Project:
    return Project(project.folder, tmp_path / "elsewhere-home")


def login(tmp_path: Path, registry: str, user: str, password: str) -> dict[str, str]:
    """The variables of a user who has logged in."""
    import base64

    folder = tmp_path / f"docker-{user}-{len(password)}"
    folder.mkdir(exist_ok=True)
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {registry: {"auth": auth}}}))
    return {"DOCKER_CONFIG": str(folder)}


def chunked(project: Project, size: str = "1MiB") -> dict[str, str]:
    return {"ENVBUILD_REGISTRY_CHUNK_SIZE": size}


def once(chosen: Callable[[Seen], bool], action: object, times: int = 1) -> Callable[[Seen], object]:
    """A rule for the first `times` requests that are `chosen`."""
    lock, left = threading.Lock(), [times]

    def rule(seen: Seen) -> object:
        with lock:
            if chosen(seen) and left[0]:
                left[0] -= 1
                return action
        return None

    return rule


def is_chunk(seen: Seen) -> bool:
    return seen.method == "PATCH"


def arrived_chunks(proxy: Proxy) -> set[tuple[str, int]]:
    """(upload, place in the blob) of every chunk that the registry took."""
    return {
        (each.path.rpartition("/")[2].partition("?")[0], int(each.headers["content-range"].partition("-")[0]))
        for each in proxy.seen
        if is_chunk(each) and each.status == 202
    }


def is_layer_download(seen: Seen) -> bool:
    """Layers are asked for as they are; documents are not."""
    return seen.method == "GET" and "/blobs/sha256:" in seen.path and seen.headers["accept-encoding"] == "identity"


def is_manifest_upload(seen: Seen) -> bool:
    return seen.method == "PUT" and "/manifests/" in seen.path


def largest_layer(project: Project, proxy: Proxy) -> int:
    """The size of the largest blob that was pushed."""
    records = (project.home / "store/compressed").glob("*.json")
    return max(int(json.loads(record.read_text())["size"]) for record in records)


def push_fails(project: Project, place: str, env: dict[str, str] | None = None, *more: str) -> str:
    done = project.envbuild("push", "small", place, *more, env=env)
    assert done.returncode in (1, 2), (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stderr


def pull_fails(project: Project, place: str, env: dict[str, str] | None = None) -> str:
    done = project.envbuild("pull", place, env=env)
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    assert not (project.home / "environments/small").exists()
    return done.stderr


# --- credentials


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[str]:
    """A registry that asks for a user name and a password."""
    (tmp_path / "htpasswd").write_text(HTPASSWD)
    auth = f"auth: {{htpasswd: {{realm: test, path: {tmp_path / 'htpasswd'}}}}}\n"
    with docker_registry(tmp_path / "guarded", auth) as address:
        yield address


def test_basic_credentials_right_wrong_and_missing(sender: Project, guarded: str, tmp_path: Path) -> None:
    place = f"{guarded}/team/small"
    none = push_fails(sender, place, {"DOCKER_CONFIG": str(tmp_path / "none")})
    assert f"{guarded} wants credentials, and none are stored; log in: docker login {guarded}" in none
    wrong = push_fails(sender, place, login(tmp_path, guarded, "ann", "not-it-at-all"))
    assert f"{guarded} refuses the credentials from " in wrong and "config.json" in wrong
    assert "not-it-at-all" not in wrong
    right = login(tmp_path, guarded, "ann", PASSWORD)
    assert sender.json("push", "small", place, env=right)["tags"] == ["1"]
    other = elsewhere(sender, tmp_path)
    assert "wants credentials" in pull_fails(other, f"{place}:1", {"DOCKER_CONFIG": str(tmp_path / "none")})
    assert other.json("pull", f"{place}:1", env=right)["status"] == "pulled"
    found = subprocess.run(
        ["grep", "-rIl", "-e", PASSWORD, "-e", "YW5uOmh1bnRlcjJwYXNz", sender.home, other.home],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == ""  # no secret in any record or log


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[TokenServer]:
    with token_server(tmp_path / "tokens", {"ann": PASSWORD}) as server:
        yield server


def test_tokens_are_fetched_with_the_credentials_and_kept(sender: Project, tokens: TokenServer, tmp_path: Path) -> None:
    """The token specification of CNCF distribution, against docker-registry's own verification (RS256, x5c)."""
    with docker_registry(tmp_path / "registry", tokens.config) as registry:
        place = f"{registry}/team/small"
        right = login(tmp_path, registry, "ann", PASSWORD)
        none = push_fails(sender, place, {"DOCKER_CONFIG": str(tmp_path / "none")})
        assert "wants credentials" in none
        assert "refuses the credentials" in push_fails(sender, place, login(tmp_path, registry, "ann", "wrong"))
        tokens.issued.clear()
        assert sender.json("push", "small", place, env=right)["tags"] == ["1"]
        assert tokens.issued == [("ann", ("repository:team/small:pull,push",))]
        tokens.issued.clear()
        second = sender.json("push", "small", f"{registry}/other/small", env=right)
        assert second["layers"]["mounted"] > 0 and second["layers"]["sent"] == 0
        assert ("ann", ("repository:other/small:pull,push", "repository:team/small:pull")) in tokens.issued
        other = elsewhere(sender, tmp_path)
        tokens.issued.clear()
        assert other.json("pull", f"{place}:1", env=right)["status"] == "pulled"
        assert tokens.issued == [("ann", ("repository:team/small:pull",))]


def test_an_identity_token_is_exchanged_and_one_that_is_no_longer_known_is_said(
    sender: Project, tokens: TokenServer, tmp_path: Path
) -> None:
    """What `docker login` keeps for a registry with single sign-on instead of a password."""
    tokens.identity_tokens["the-identity-of-ann"] = "ann"
    folder = tmp_path / "docker-config"
    folder.mkdir()
    env = {"DOCKER_CONFIG": str(folder)}
    with docker_registry(tmp_path / "registry", tokens.config) as registry:
        place = f"{registry}/team/small"

        def log_in(token: str) -> None:
            entry = {"auth": "PHRva2VuPjo=", "identitytoken": token}  # <token>: with no password
            (folder / "config.json").write_text(json.dumps({"auths": {registry: entry}}))

        log_in("an-identity-of-long-ago")
        said = push_fails(sender, place, env)
        assert f"{registry} refuses the credentials from {folder}/config.json; log in again" in said
        assert "an-identity-of-long-ago" not in said and tokens.issued == []
        log_in("the-identity-of-ann")
        assert sender.json("push", "small", place, env=env)["tags"] == ["1"]
        assert tokens.issued == [("ann", ("repository:team/small:pull,push",))]
        other = elsewhere(sender, tmp_path)
        assert other.json("pull", f"{place}:1", env=env)["status"] == "pulled"
    found = subprocess.run(
        ["grep", "-rIl", "-e", "the-identity-of-ann", sender.home, other.home],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == ""


def test_an_account_that_may_not_push_is_told_so(sender: Project, tokens: TokenServer, tmp_path: Path) -> None:
    tokens.may_push = False
    with docker_registry(tmp_path / "registry", tokens.config) as registry:
        said = push_fails(sender, f"{registry}/team/small", login(tmp_path, registry, "ann", PASSWORD))
    assert "the account may not do this: ask who runs the registry for access" in said


# --- answers


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (403, "the account may not do this"),
        (404, "check the name, and whether the repository must be made there before a push"),
        (413, "set a smaller chunk-size in envbuild.toml [registry]"),
        (429, "too many requests; wait a while"),
        (500, "nothing is lost, the same command goes on later"),
        (503, "nothing is lost, the same command goes on later"),
    ],
)
def test_a_refusal_is_one_sentence_and_a_retry_finishes(sender: Project, proxy: Proxy, status: int, said: str) -> None:
    proxy.rule = lambda seen: status if seen.method == "POST" else None
    answer = push_fails(sender, f"{proxy.address}/team/small")
    assert f"{proxy.address} answered {status} for" in answer and said in answer
    proxy.rule = lambda _: None
    assert sender.json("push", "small", f"{proxy.address}/team/small")["tags"] == ["1"]


def test_what_passes_is_tried_again(sender: Project, proxy: Proxy, tmp_path: Path) -> None:
    proxy.rule = once(lambda seen: seen.method in ("POST", "PUT"), 503, times=3)  # type: ignore[assignment]
    assert sender.json("push", "small", f"{proxy.address}/team/small")["tags"] == ["1"]
    proxy.rule = once(lambda seen: seen.method == "GET", 429, times=2)  # type: ignore[assignment]
    proxy.retry_after = "1"
    assert elsewhere(sender, tmp_path).json("pull", f"{proxy.address}/team/small:1")["status"] == "pulled"


BLOB_UNKNOWN = {"code": "MANIFEST_BLOB_UNKNOWN", "message": "blob unknown to registry"}


def test_what_a_registry_misses_for_a_moment_is_not_missing(sender: Project, proxy: Proxy) -> None:
    """docker-registry 2.8 rewrites its links in place, so that one push makes blobs vanish for another."""
    told = json.dumps({"errors": [{"code": "DIGEST_INVALID", "message": "not what it was"}, BLOB_UNKNOWN]})
    proxy.rule = once(is_manifest_upload, (400, told), times=3)  # type: ignore[assignment]
    assert sender.json("push", "small", f"{proxy.address}/team/small")["tags"] == ["1"]


def test_a_registry_that_keeps_missing_what_it_has_is_left_in_its_own_words(sender: Project, proxy: Proxy) -> None:
    told = json.dumps({"errors": [BLOB_UNKNOWN]})
    proxy.rule = lambda seen: (400, told) if is_manifest_upload(seen) else None
    said = push_fails(sender, f"{proxy.address}/team/small")
    assert "answered 400 for the manifest" in said and "MANIFEST_BLOB_UNKNOWN blob unknown to registry" in said
    assert len([each for each in proxy.seen if is_manifest_upload(each)]) == 8


def test_what_is_really_missing_is_said_at_once(sender: Project, proxy: Proxy) -> None:
    """The config never reaches the registry; so its refusal is true."""
    image = sender.json("env", "show", "small")["image"]["config_digest"]
    proxy.rule = lambda seen: 201 if seen.method == "PUT" and image.partition(":")[2] in seen.path else None
    said = push_fails(sender, f"{proxy.address}/team/small")
    assert "MANIFEST_BLOB_UNKNOWN blob unknown to registry" in said
    assert len([each for each in proxy.seen if is_manifest_upload(each)]) == 1


def test_what_is_not_there_is_named(sender: Project, registry: str, tmp_path: Path) -> None:
    said = pull_fails(elsewhere(sender, tmp_path), f"{registry}/team/nothing:7")
    assert f"{registry}/team/nothing:7 is not in the registry" in said


def test_a_registry_that_is_down_is_named(sender: Project, tmp_path: Path) -> None:
    said = push_fails(sender, "127.0.0.1:9/team/small")
    assert "127.0.0.1:9 cannot be reached (connection refused)" in said


def test_plain_http_needs_a_word_where_it_is_not_this_machine(sender: Project, registry: str) -> None:
    """The name means this machine, but nobody can know that of a name: https is wanted."""
    name = f"{os.uname().nodename}:{registry.partition(':')[2]}"
    said = push_fails(sender, f"{name}/team/small")
    assert "cannot be reached" in said or "add --insecure" in said


# --- cut connections


def test_a_cut_in_the_middle_of_an_upload_costs_one_chunk(sender: Project, proxy: Proxy) -> None:
    proxy.rule = once(is_chunk, ("up", 300_000), times=3)  # type: ignore[assignment]
    place = f"{proxy.address}/team/small"
    done = sender.json("push", "small", place, env=chunked(sender))
    stored = sum(
        int(json.loads(each.read_text())["size"]) for each in (sender.home / "store/compressed").glob("*.json")
    )
    assert len([each for each in proxy.seen if is_chunk(each) and not each.status]) == 3
    assert stored <= done["bytes_sent"] <= stored + 3 * (1 << 20)
    assert any(each.method == "GET" and "/blobs/uploads/" in each.path for each in proxy.seen)


def test_another_process_goes_on_with_an_upload_that_was_given_up(sender: Project, proxy: Proxy) -> None:
    place = f"{proxy.address}/team/small"

    def fails_late(seen: Seen) -> "tuple[str, int] | None":
        start = int(seen.headers.get("content-range", "0-").partition("-")[0])
        return ("up", 1000) if is_chunk(seen) and start >= 4 << 20 else None

    proxy.rule = fails_late
    assert "cannot be reached" in push_fails(sender, place, chunked(sender))
    assert largest_layer(sender, proxy) > 6 << 20
    arrived = arrived_chunks(proxy)
    proxy.forget()
    proxy.rule = lambda _: None
    assert sender.json("push", "small", place, env=chunked(sender))["tags"] == ["1"]
    again = arrived_chunks(proxy)
    assert any(start >= 4 << 20 and (upload, 0) in arrived for upload, start in again)
    assert arrived.isdisjoint(again)  # what had arrived was not sent again
    assert list((sender.home / "registries").rglob("uploads/*.json")) == []


def test_a_cut_in_the_middle_of_a_download_goes_on_where_it_was(sender: Project, proxy: Proxy, tmp_path: Path) -> None:
    place = f"{proxy.address}/team/small"
    sender.json("push", "small", place)
    proxy.forget()
    proxy.rule = once(is_layer_download, ("down", 600_000), times=3)  # type: ignore[assignment]
    other = elsewhere(sender, tmp_path)
    assert other.json("pull", f"{place}:1")["status"] == "pulled"
    ranges = [each.headers["range"] for each in proxy.seen if "range" in each.headers]
    assert ranges and set(ranges) <= {"bytes=524288-", "bytes=1048576-", "bytes=1572864-"}


def test_a_connection_that_is_cut_again_and_again_is_said_in_words(
    sender: Project, proxy: Proxy, tmp_path: Path
) -> None:
    sender.json("push", "small", f"{proxy.address}/team/small")
    proxy.rule = lambda seen: ("down", 1000) if "/blobs/" in seen.path else None
    done = elsewhere(sender, tmp_path).envbuild("pull", f"{proxy.address}/team/small:1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("the connection was cut; the same command goes on later\n")


def test_a_download_that_is_given_up_is_continued_by_the_next_process(
    sender: Project, proxy: Proxy, tmp_path: Path
) -> None:
    place = f"{proxy.address}/team/small"
    sender.json("push", "small", place)
    largest = largest_layer(sender, proxy)
    other = elsewhere(sender, tmp_path)
    proxy.rule = lambda seen: ("down", 600_000) if is_layer_download(seen) else None
    assert "the same command goes on later" in pull_fails(other, f"{place}:1")
    parts = {part.name: part.stat().st_size for part in (other.home / "store/parts").glob("[!.]*")}
    assert parts
    proxy.rule = lambda _: None
    proxy.forget()
    assert other.json("pull", f"{place}:1")["status"] == "pulled"
    resumed = {
        re.search(r"sha256:(\w+)", each.path).group(1): each.headers["range"]  # type: ignore[union-attr]
        for each in proxy.seen
        if "range" in each.headers
    }
    assert resumed == {name: f"bytes={size}-" for name, size in parts.items() if size}
    assert largest > max(parts.values())


# --- damage


def test_a_blob_damaged_on_the_way_down_is_asked_for_again(sender: Project, proxy: Proxy, tmp_path: Path) -> None:
    place = f"{proxy.address}/team/small"
    sender.json("push", "small", place)
    proxy.rule = lambda seen: ("damage", 50) if is_layer_download(seen) else None
    other = elsewhere(sender, tmp_path)
    said = pull_fails(other, f"{place}:1")
    assert "it was damaged on the way or in the registry" in said
    assert list((other.home / "trees").glob("[!.]*")) == []
    proxy.rule = once(is_layer_download, ("damage", 50), times=2)  # type: ignore[assignment]
    assert other.json("pull", f"{place}:1")["status"] == "pulled"


def test_a_blob_damaged_in_our_own_store_is_made_again(sender: Project, registry: str, tmp_path: Path) -> None:
    sender.json("push", "small", f"{registry}/team/small")
    with docker_registry(tmp_path / "second") as second:
        record = max((sender.home / "store/compressed").glob("*.json"), key=lambda each: each.stat().st_mtime)
        victim = sender.home / "store/blobs/sha256" / json.loads(record.read_text())["digest"].partition(":")[2]
        data = bytearray(victim.read_bytes())
        data[60] ^= 1
        victim.unlink()
        victim.write_bytes(data)
        said = push_fails(sender, f"{second}/team/small")
        assert "was changed since it was made" in said and "it is removed" in said
        assert sender.json("push", "small", f"{second}/team/small")["tags"] == ["1"]


def test_a_full_disk_while_pulling_is_a_sentence(sender: Project, registry: str, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    sender.json("push", "small", f"{registry}/team/small")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], check=True)
    try:
        other = Project(sender.folder, disk / "home")
        said = pull_fails(other, f"{registry}/team/small:1")
        assert "No space left on device" in said and "make room" in said
        subprocess.run(["mount", "-o", "remount,size=600m", disk], check=True)
        assert other.json("pull", f"{registry}/team/small:1")["status"] == "pulled"
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)
