"""The default base from real Debian packages: the same bits every time, complete, and found again at once."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from envbuild.builder.bases.base import Base, DroppedPins, ensure_base, list_bases, update_base
from envbuild.builder.channel.elf import is_elf, needed
from envbuild.builder.layers.layer import tree_digest
from envbuild.builder.report import Silent
from envbuild.builder.sandbox.command import RootFilesystem
from envbuild.builder.sandbox.run import run_in_sandbox
from envbuild.errors import BaseError, NotFound
from envbuild.settings import Settings

NAME = "debian12-minimal"


def find(home: Path) -> Base:
    return ensure_base(NAME, Settings(home=home), Silent())


@pytest.fixture
def base(seed: Path) -> Base:
    return find(seed)


@pytest.fixture
def packages_only(seed: Path, tmp_path: Path) -> Path:
    """A home with the packages (and newer pins, where the mirror forced them), nothing built."""
    home = tmp_path / "home"
    shutil.copytree(seed / "packages", home / "packages", copy_function=os.link)
    for pins in (seed / "bases").glob("*/*/pins.toml"):
        target = home / pins.relative_to(seed)
        target.parent.mkdir(parents=True)
        shutil.copy(pins, target)
    return home


def without_apt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "no-programs").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "no-programs"))


def test_a_second_build_with_another_umask_and_zone_gives_the_same_layer(
    base: Base, packages_only: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    without_apt(monkeypatch, tmp_path)  # cached packages need none
    before = os.umask(0o077)
    try:
        again = find(packages_only)
    finally:
        os.umask(before)
    assert (again.layers[0].diff_id, again.layers[0].size) == (base.layers[0].diff_id, base.layers[0].size)


def test_the_record_tells_the_digest_of_the_tree(base: Base) -> None:
    assert tree_digest(base.trees[0]) == (base.layers[0].diff_id, base.layers[0].size)


def test_the_pins_of_this_version_give_this_layer(base: Base) -> None:
    if base.version != 1:
        pytest.skip("the Debian mirror has dropped a pinned version: this base is pinned again")
    assert base.layers[0].diff_id == "sha256:97c79a962571f123bac3b4d6be46c2d196364d2cd7b750b1e335f48b706c8224"


def test_a_base_that_is_there_is_found_by_its_record_alone(seed: Path, base: Base) -> None:
    looked_at: list[str] = []
    looking = True

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if looking and event in ("open", "os.listdir", "os.scandir", "subprocess.Popen"):
            looked_at.append(str(arguments[0]))

    sys.addaudithook(note)  # stays for as long as this process does
    try:
        assert find(seed) == base
    finally:
        looking = False
    assert any(path.endswith("base.json") for path in looked_at)
    assert [path for path in looked_at if "/trees" in path or "/packages" in path] == []
    assert len(looked_at) < 12


def test_every_library_that_a_program_loads_is_in_the_base(base: Base) -> None:
    files = [path for path in base.trees[0].rglob("*") if is_elf(path)]
    libraries = {path.name for path in base.trees[0].rglob("*.so*")}
    missing = {(path.name, name) for path in files for name in needed(path) if name not in libraries}
    assert len(files) > 100
    assert missing == set()


def test_no_file_has_a_set_user_id_bit(base: Base) -> None:
    assert [path for path in base.trees[0].rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o6000] == []


def test_every_package_is_listed_where_scanners_look(base: Base) -> None:
    assert len(list((base.trees[0] / "var/lib/dpkg/status.d").iterdir())) == base.packages


@pytest.mark.parametrize(
    ("script", "answer"),
    [
        ("getent passwd envbuild", "envbuild:x:1000:1000:envbuild:/home/envbuild:/bin/bash"),
        ("getent group root", "root:*:0:"),
        ("echo a b | awk '{print $2}'", "b"),
        ("which bash", "/usr/bin/bash"),
        ("TZ=Europe/Berlin date -d @0 +%H:%M", "01:00"),
        (
            "grep -c 'BEGIN CERTIFICATE' /etc/ssl/certs/ca-certificates.crt | sed 's/^[1-9][0-9][0-9]$/over 99/'",
            "over 99",
        ),
        ("tar -cf - /etc/hosts 2>/dev/null | gzip | gzip -d | tar -tf -", "etc/hosts"),
        ("find /etc -name mtab -type l -printf %l", "../proc/self/mounts"),
        ("ps -e -o comm= | grep -c ps", "1"),
        ("openssl version | cut -c 1-9", "OpenSSL 3"),
        ("stat -c '%A %u' ~envbuild", f"drwxrwxrwt {os.getuid()}"),  # root's in the image, ours on this disk
    ],
)
def test_programs_of_the_base_work(base: Base, tmp_path: Path, script: str, answer: str) -> None:
    done = run_in_sandbox(
        Settings(home=tmp_path),
        RootFilesystem((base.trees[0],)),
        ["bash", "-c", script],
        env={"PATH": "/usr/bin"},
        scratch=tmp_path / "scratch",
    )
    assert (done.stdout.decode().strip(), done.stderr.decode()) == (answer, "")


def test_every_program_of_the_base_finds_its_libraries(base: Base, tmp_path: Path) -> None:
    script = (
        "for each in /usr/bin/* /usr/sbin/*; do /lib64/ld-linux-x86-64.so.2 --list $each 2>&1; done | grep 'not found'"
    )
    done = run_in_sandbox(
        Settings(home=tmp_path),
        RootFilesystem((base.trees[0],)),
        ["bash", "-c", script],
        env={"PATH": "/usr/bin"},
        scratch=tmp_path / "scratch",
    )
    assert (done.stdout, done.stderr) == (b"", b"")


def test_a_damaged_record_or_a_lost_tree_is_made_again(packages_only: Path, base: Base) -> None:
    first = find(packages_only)
    record = packages_only / "bases" / NAME / str(base.version) / "base.json"
    record.write_text("{")
    assert find(packages_only) == first
    shutil.rmtree(first.trees[0])
    assert find(packages_only) == first
    assert json.loads(record.read_text())["diff_id"] == base.layers[0].diff_id


def test_a_host_without_apt_is_told_of_registry_bases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_apt(monkeypatch, tmp_path)
    with pytest.raises(BaseError, match=r"this machine has no apt-get; name a base image .* envbuild.toml \[bases\]"):
        find(tmp_path / "home")


def test_an_unknown_base_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no base is named 'debian12'; did you mean debian12-"):
        ensure_base("debian12", Settings(home=tmp_path), Silent())


def pins_of_another_time(home: Path, old: str, new: str, version: int) -> None:
    """Write newer pins into `home` that have `new` for `old`."""
    from envbuild.images.catalog import read_base, write_recipe

    text = write_recipe(read_base(NAME)).replace(old, new).replace("version = 1\n", f"version = {version}\n", 1)
    folder = home / "bases" / NAME / str(version)
    folder.mkdir(parents=True)
    (folder / "pins.toml").write_text(text)


def test_a_version_that_the_mirror_has_dropped_is_named_and_pinned_again(packages_only: Path) -> None:
    old = '{ name = "hostname", version = "3.23+nmu1", architecture = "amd64", size = 10500, sha256 = "17d9'
    pins_of_another_time(packages_only, old, old.replace("3.23", "0.01").replace("17d9", "0000"), 50)
    with pytest.raises(DroppedPins, match=rf"no longer .*\bhostname 0.01\+nmu1[,; ].*: envbuild base update {NAME}"):
        find(packages_only)
    settings = Settings(home=packages_only)
    changed = update_base(NAME, settings, Silent())
    assert changed.version == 51
    assert "hostname  0.01+nmu1 -> 3.23+nmu1" in changed.changes
    assert [(row.version, row.built) for row in list_bases(settings) if row.name == NAME] == [(51, False)]
    assert find(packages_only).version == 51
    assert update_base(NAME, settings, Silent()).changes == ()


def test_a_mirror_that_cannot_be_reached_is_not_taken_for_one_that_dropped_a_pin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = tmp_path / "nowhere.conf"
    proxy = "http://127.0.0.1:9"  # the discard port: nobody listens
    nowhere.write_text(f'Acquire::http::Proxy "{proxy}";\nAcquire::https::Proxy "{proxy}";\nAcquire::Retries "0";\n')
    monkeypatch.setenv("APT_CONFIG", str(nowhere))
    with pytest.raises(BaseError, match=r"no Debian mirror hands out .* and 40 more .*; check the network") as caught:
        find(tmp_path / "home")
    assert not isinstance(caught.value, DroppedPins)


def test_a_package_with_another_sha256_is_refused_and_not_kept(packages_only: Path) -> None:
    pins_of_another_time(packages_only, "17d9a2f3", "00000000", 50)
    with pytest.raises(BaseError, match=r"hostname 3.23\+nmu1 has sha256 17d9a2f3.*, pinned is 00000000.*; refused"):
        find(packages_only)
    assert list((packages_only / "packages").glob("00000000*")) == []
