"""What gc keeps and what it removes, on homes made by hand."""

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from envbuild.builder.home_lock import holding
from envbuild.builder.image import make_image
from envbuild.builder.packing.pack import possible_piece_keys
from envbuild.builder.report import Silent
from envbuild.builder.store import Store
from envbuild.errors import InputError, StoreError
from envbuild.registry.environments import Environment, load
from envbuild.registry.gc import KEEP_LOGS, Collection, collect
from envbuild.registry.marks import Rules, RunUse
from envbuild.registry.remove import remove
from envbuild.registry.tags import move_tag
from envbuild.settings import Settings

Add = Callable[..., Environment]

DAY = 86400.0


def gc(home: Path, uses: Sequence[RunUse] = (), *, dry_run: bool = False, **rules: float) -> Collection:
    return collect(Settings(home), Silent(), Rules(**rules), lambda: uses, dry_run=dry_run)  # type: ignore[arg-type]


def put(path: Path, size: int = 4096) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    return path


def tree(home: Path, name: str, size: int = 4096) -> Path:
    put(home / "trees" / name / "file", size)
    put(home / "trees" / f"{name}.json", 100)
    return home / "trees" / name


def image(name: str, packages: dict[str, str] | None = None) -> dict[str, object]:
    """What a record says of an image whose one layer is the tree `name`."""
    layer = {"diff_id": f"sha256:{name * 4}", "size": 1, "tree": name, "title": name, "packages": []}
    document = {"digest": f"sha256:{name * 4}", "config_digest": f"sha256:{name * 4}", "layers": [layer]}
    return {"image": document, "ingredients": {"packages": packages or {}}}


def use(name: str, version: int, *, active: bool = False, run: str = "digits/1", snapshot: str = "s") -> RunUse:
    return RunUse(run, name, version, f"sha256:{'e' * 64}", snapshot, frozenset({"f1"}), active)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def age(path: Path, days: float) -> None:
    then = time.time() - days * DAY
    os.utime(path, (then, then), follow_symlinks=False)


def test_what_a_version_is_made_of_stays(tmp_path: Path, add: Add) -> None:
    python, numpy = "1" * 64, "2" * 64
    add(**image("a" * 16, {"conda:python": python, "conda:numpy": numpy}))
    pieces = [possible_piece_keys(python, python)[0][:16], possible_piece_keys(numpy, python)[1][:16]]
    for name in ("a" * 16, *pieces, "9" * 16):
        tree(tmp_path, name)
    put(tmp_path / "packages" / numpy / "numpy.conda")
    put(tmp_path / "packages" / ("3" * 64) / "gone.conda")
    found = gc(tmp_path)
    assert {each.kind: len(each.paths) for each in found.garbage} == {"trees": 2, "packages": 1}
    kept = {each.partition(".")[0] for each in names(tmp_path / "trees")}
    assert kept == {"a" * 16, *pieces}
    assert names(tmp_path / "packages") == [numpy]


def test_a_dry_run_says_the_same_and_removes_nothing(tmp_path: Path, add: Add) -> None:
    add(**image("a" * 16))
    tree(tmp_path, "9" * 16, 100_000)
    would = gc(tmp_path, dry_run=True)
    assert (tmp_path / "trees" / ("9" * 16)).is_dir()
    assert gc(tmp_path) == would
    assert gc(tmp_path).garbage == ()
    assert would.size > 100_000


def test_a_file_with_several_names_is_counted_with_the_last_of_them(tmp_path: Path) -> None:
    one = tree(tmp_path, "1" * 16, 1_000_000)
    two = tree(tmp_path, "2" * 16, 10)
    os.link(one / "file", two / "same")
    assert 1_000_000 < gc(tmp_path, dry_run=True).size < 1_100_000
    os.link(one / "file", tmp_path / "elsewhere")
    assert gc(tmp_path, dry_run=True).size < 100_000


def test_keep_last_removes_surplus_versions_but_those_with_tags_and_runs(tmp_path: Path, add: Add) -> None:
    for identity in "abcde":
        add(identity=identity, **image(identity * 16))
        tree(tmp_path, identity * 16)
    move_tag(tmp_path, "small", "prod", 1)
    found = gc(tmp_path, [use("small", 2)], keep_last=2)
    assert [entry.reference for entry in found.removed] == ["small:3"]
    assert [entry.reference for entry in found.cold] == ["small:2"]
    assert names(tmp_path / "trees")[::2] == ["a" * 16, "d" * 16, "e" * 16]
    assert load(tmp_path, "small:2").version == 2


def test_older_than_keeps_records_and_lets_layers_go(tmp_path: Path, add: Add) -> None:
    for identity in "abc":
        add(identity=identity, **image(identity * 16))
        tree(tmp_path, identity * 16)
    move_tag(tmp_path, "small", "prod", 1)
    for version in (1, 2):
        age(tmp_path / f"environments/small/{version}", 40)
    found = gc(tmp_path, older_than=30 * DAY)
    assert (found.removed, [entry.reference for entry in found.cold]) == ((), ["small:2"])
    assert names(tmp_path / "trees")[::2] == ["a" * 16, "c" * 16]
    assert [load(tmp_path, f"small:{version}").version for version in (1, 2, 3)] == [1, 2, 3]


def test_image_documents_of_versions_and_runs_stay(tmp_path: Path) -> None:
    store = Store(tmp_path)
    kept, lost = (make_image((), "linux-64", time, {}, {}) for time in (1, 2))
    store.add(kept)
    store.add(lost)
    run = RunUse("digits/1", "gone", 1, kept.digest, "s", frozenset(), False)
    gc(tmp_path, [run])
    assert store.blob(kept.digest) == kept.manifest and store.blob(kept.config_digest) == kept.config
    assert [each["digest"] for each in json.loads((tmp_path / "store/index.json").read_text())["manifests"]] == [
        kept.digest
    ]
    assert len(names(tmp_path / "store/blobs/sha256")) == 2


def test_compressed_layers_go_with_their_layer(tmp_path: Path, add: Add) -> None:
    add(**image("a" * 16))
    for layer, blob in (("a" * 64, "1" * 64), ("b" * 64, "2" * 64)):
        put(tmp_path / "store/blobs/sha256" / blob)
        record = put(tmp_path / "store/compressed" / f"{layer}.gzip-1-4.json")
        record.write_text(json.dumps({"digest": f"sha256:{blob}"}))
    found = gc(tmp_path)
    assert {each.kind: len(each.paths) for each in found.garbage} == {"compressed": 2}
    assert names(tmp_path / "store/blobs/sha256") == ["1" * 64]
    assert names(tmp_path / "store/compressed") == [f"{'a' * 64}.gzip-1-4.json"]


def test_snapshots_of_recorded_runs_stay(tmp_path: Path) -> None:
    for file in ("s.json", "t.json", "files/f1", "files/f2"):
        put(tmp_path / "snapshots" / file)
    gc(tmp_path, [use("small", 1)])
    assert names(tmp_path / "snapshots") == ["files", "s.json"]
    assert names(tmp_path / "snapshots/files") == ["f1"]


def test_scratch_of_running_jobs_stays(tmp_path: Path) -> None:
    for name in ("run-1", "run-2", "0123456789abcdef"):
        put(tmp_path / "scratch" / name / "code/train.py")
    gc(tmp_path, [use("small", 1, run="digits/2", active=True)])
    assert names(tmp_path / "scratch") == ["0123456789abcdef", "run-2"]
    gc(tmp_path)
    assert names(tmp_path / "scratch") == []


def test_a_held_tree_stays(tmp_path: Path) -> None:
    held = tree(tmp_path, "1" * 16)
    tree(tmp_path, "2" * 16)
    with holding([held]):
        found = gc(tmp_path)
    assert found.held == (held,)
    assert names(tmp_path / "trees") == ["1" * 16, f"{'1' * 16}.json"]


def test_logs_locks_and_bases_that_nothing_needs_go(tmp_path: Path, add: Add) -> None:
    add(base={"name": "debian", "version": 2, "diff_id": "sha256:x"}, **image("a" * 16))
    for number in range(KEEP_LOGS + 3):
        folder = put(tmp_path / f"logs/small-{number:03}/20_image_build_log.txt").parent
        age(folder, 100 - number)
    for key, days in (("a" * 64, 99), ("b" * 64, 99), ("c" * 64, 1)):
        age(put(tmp_path / f"locks/{key}.yml"), days)
    for version in (1, 2, 3):
        put(tmp_path / f"bases/debian/{version}/pins.toml")
    found = gc(tmp_path)
    assert {each.kind: len(each.paths) for each in found.garbage} == {"logs": 3, "locks": 1, "bases": 1}
    assert names(tmp_path / "logs")[0] == "small-003"
    assert names(tmp_path / "locks") == [f"{'a' * 64}.yml", f"{'c' * 64}.yml"]
    assert names(tmp_path / "bases/debian") == ["2", "3"]


def test_leftovers_of_killed_writers_go_and_users_files_stay(tmp_path: Path) -> None:
    left = [put(tmp_path / each) for each in ("trees/.tmp-1-a/file", "store/.tmp-1-b", "runs/digits/.tmp-1-c/run.json")]
    users = put(tmp_path / "runs/digits/20260101/outputs/.tmp-mine")
    found = gc(tmp_path)
    assert [each.kind for each in found.garbage] == ["temporaries"]
    assert not any(path.exists() for path in left)
    assert users.is_file()


def test_what_is_half_removed_is_finished_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "1" * 16)
    tree(tmp_path, "2" * 16)

    def killed(folder: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("envbuild.builder.atomic.remove_tree", killed)
    with pytest.raises(KeyboardInterrupt):
        gc(tmp_path)
    monkeypatch.undo()
    assert [name for name in names(tmp_path / "trees") if not name.startswith(".")] == ["2" * 16]
    gc(tmp_path)
    assert names(tmp_path / "trees") == []


def test_a_damaged_record_stops_gc_and_can_be_removed(tmp_path: Path, add: Add) -> None:
    environment = add()
    (environment.folder / "environment.json").write_text("{")
    with pytest.raises(StoreError, match="envbuild env remove small:1"):
        gc(tmp_path)
    remove(Settings(tmp_path), "small:1", [])
    assert gc(tmp_path).removed == ()


def test_remove_says_what_gc_frees(tmp_path: Path, add: Add) -> None:
    for identity in "ab":
        add(identity=identity, **image(identity * 16))
        tree(tmp_path, identity * 16, 1_000_000)
    done = remove(Settings(tmp_path), "small:1", [])
    assert done.references == ("small:1",)
    assert 1_000_000 < done.size < 1_100_000
    assert 0 <= done.size - gc(tmp_path, dry_run=True).size < 20_000  # the version's own folder is gone already


def test_remove_refuses_what_tags_and_runs_name(tmp_path: Path, add: Add) -> None:
    for identity in "ab":
        add(identity=identity, **image(identity * 16))
    move_tag(tmp_path, "small", "prod", 1)
    with pytest.raises(InputError, match="the tag prod points at small:1; move it"):
        remove(Settings(tmp_path), "small", [])
    with pytest.raises(InputError, match="small:2 is the environment of the run digits/1 and 1 more runs"):
        remove(Settings(tmp_path), "small:2", [use("small", 2), use("small", 2, run="digits/2")])
    assert remove(Settings(tmp_path), "small", [use("small", 2)], force=True).references == ("small:1", "small:2")


def test_leftovers_of_killed_data_put_and_of_killed_supervisors_go_once_nobody_can_be_making_them(
    tmp_path: Path,
) -> None:
    left = [
        put(tmp_path / "data/files/.tmp-1-ab"),
        put(tmp_path / "data/sets/numbers/.tmp-removed-1/content/file").parents[1],
        put(tmp_path / "runs/digits/1/.tmp-1-ab"),
    ]
    fresh = put(tmp_path / "runs/digits/1/.tmp-2-ab")
    users = [put(tmp_path / "data/sets/numbers/2/content/.tmp-mine"), put(tmp_path / "runs/digits/1/outputs/.tmp-mine")]
    for path in (*left, *users):
        os.utime(path, (time.time() - 120,) * 2)
    gc(tmp_path)
    assert [path.exists() for path in left] == [False, False, False]
    assert [path.exists() for path in (fresh, *users)] == [True, True, True]
