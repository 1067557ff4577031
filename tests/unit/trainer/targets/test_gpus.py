"""Specifications of the Container Device Interface, in the form in which `nvidia-ctk cdi generate` writes them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from envbuild.errors import InputError, SettingsError
from envbuild.settings import Settings
from envbuild.trainer.targets import find_target, gpu_specifications
from envbuild.trainer.targets.gpus import LIBRARIES, PROGRAMS, Gpus, find_gpus, gpu_names


def gpu(name: str, *nodes: tuple[str, str]) -> dict[str, Any]:
    return {
        "name": name,
        "containerEdits": {"deviceNodes": [{"path": path, "hostPath": source} for path, source in nodes]},
    }


@pytest.fixture
def driver(tmp_path: Path) -> Path:
    """A driver as it is installed: libraries with their links, a program, firmware, and no running service."""
    folder = tmp_path / "driver"
    folder.mkdir()
    for name in ("libcuda.so.570.1", "libnvidia-ml.so.570.1", "gsp.bin"):
        (folder / name).write_text(name)
    (folder / "libcuda.so.1").symlink_to("libcuda.so.570.1")
    (folder / "nvidia-smi").write_text("#!/bin/sh\n")
    (folder / "nvidia-smi").chmod(0o755)
    return folder


@pytest.fixture
def specified(tmp_path: Path, driver: Path) -> Callable[..., Path]:
    """Writes the specification of two GPUs, with changes; returns the folder."""

    def write(**changes: Any) -> Path:
        lib, kept = "/usr/lib/x86_64-linux-gnu", {
            "libcuda.so.570.1": "/usr/lib/x86_64-linux-gnu/", "libnvidia-ml.so.570.1": "/usr/lib/x86_64-linux-gnu/",
            "nvidia-smi": "/usr/bin/", "gsp.bin": "/lib/firmware/nvidia/", "socket": "/run/nvidia-persistenced/",
        }  # fmt: skip
        shared = {
            "env": ["NVIDIA_VISIBLE_DEVICES=void"],
            "deviceNodes": [{"path": "/dev/nvidiactl", "hostPath": "/dev/null"}],
            "mounts": [
                {"hostPath": str(driver / name), "containerPath": place + name, "options": ["ro", "bind"]}
                for name, place in kept.items()
            ],
            "hooks": [
                {"args": ["nvidia-cdi-hook", "create-symlinks", "--link", f"libcuda.so.1::{lib}/libcuda.so"]},
                {"args": ["nvidia-cdi-hook", "update-ldcache", "--folder", lib]},
            ],
        }
        devices = [
            gpu("0", ("/dev/nvidia0", "/dev/zero")),
            gpu("1", ("/dev/nvidia1", "/dev/full")),
            gpu("GPU-8a", ("/dev/nvidia0", "/dev/zero")),
            gpu("all", ("/dev/nvidia0", "/dev/zero"), ("/dev/nvidia1", "/dev/full")),
        ]
        document = {"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu", "containerEdits": shared, "devices": devices}
        folder = tmp_path / "cdi"
        folder.mkdir(exist_ok=True)
        (folder / "nvidia.yaml").write_text(yaml.safe_dump({**document, **changes}))
        return folder

    return write


def nodes(gpus: Gpus) -> dict[str, str]:
    return {node.target: str(node.source) for node in gpus.devices}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("all", ["0", "1"]), ("1", ["0"]), ("2", ["0", "1"]), ("0,1", ["0", "1"]), ("device=1", ["1"]),
        ("GPU-8a", ["0"]), ("nvidia.com/gpu=1", ["1"]),
    ],
)  # fmt: skip
def test_gpus_are_chosen_as_docker_does(specified: Callable[..., Path], wanted: str, found: list[str]) -> None:
    sources = {"0": "/dev/zero", "1": "/dev/full"}
    expected = {f"/dev/nvidia{each}": sources[each] for each in found}
    assert nodes(find_gpus(wanted, [specified()])) == {"/dev/nvidiactl": "/dev/null", **expected}


@pytest.mark.parametrize("wanted", ["", "0"])
def test_a_job_that_wants_none_gets_none(tmp_path: Path, wanted: str) -> None:
    assert find_gpus(wanted, [tmp_path]) == Gpus()
    assert Gpus().env({"PATH": "/bin"}) == {"PATH": "/bin"}


def test_the_driver_has_folders_of_its_own_and_every_name_that_is_asked_for(
    specified: Callable[..., Path], driver: Path
) -> None:
    found = find_gpus("all", [specified()])
    assert {mount.target: mount.source.name for mount in found.mounts} == {
        f"{LIBRARIES}/libcuda.so": "libcuda.so.570.1",  # a hook would make this link
        f"{LIBRARIES}/libcuda.so.1": "libcuda.so.570.1",  # and the machine has this one
        f"{LIBRARIES}/libcuda.so.570.1": "libcuda.so.570.1",
        f"{LIBRARIES}/libnvidia-ml.so.570.1": "libnvidia-ml.so.570.1",
        f"{PROGRAMS}/nvidia-smi": "nvidia-smi",
    }
    assert not any(mount.writable for mount in found.mounts)
    assert found.env({"PATH": "/opt/env/bin", "LD_LIBRARY_PATH": "/mine"}) == {
        "PATH": f"/opt/env/bin:{PROGRAMS}",
        "LD_LIBRARY_PATH": f"{LIBRARIES}:/mine",
        "NVIDIA_VISIBLE_DEVICES": "void",
    }


def test_a_later_folder_wins_and_other_devices_are_not_ours(specified: Callable[..., Path], tmp_path: Path) -> None:
    later = tmp_path / "later"
    later.mkdir()
    amd = {"cdiVersion": "0.6.0", "kind": "amd.com/gpu", "devices": [gpu("7", ("/dev/kfd", "/dev/null"))]}
    again = {"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu", "devices": [gpu("0", ("/dev/nvidia0", "/dev/urandom"))]}
    nic = {"cdiVersion": "0.6.0", "kind": "vendor.com/nic", "devices": [gpu("nic0", ("/dev/nic0", "/dev/null"))]}
    for name, document in (("amd", amd), ("again", again), ("nic", nic)):
        (later / f"{name}.json").write_text(json.dumps(document))
    folders = [specified(), later, tmp_path / "absent"]
    assert gpu_names(folders) == ["0", "1", "7", "GPU-8a", "all"]
    assert nodes(find_gpus("0,7", folders)) == {"/dev/nvidia0": "/dev/urandom", "/dev/kfd": "/dev/null"}


@pytest.mark.parametrize(
    ("wanted", "said"), [("3", "3 GPUs were asked for; this machine has 2"), ("0,9", "no GPU is called '9'; known: 0")]
)
def test_gpus_that_are_not_there(specified: Callable[..., Path], wanted: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        find_gpus(wanted, [specified()])


def test_no_specification_is_a_sentence_that_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no GPU is described on this machine: .*nvidia-ctk cdi generate"):
        find_gpus("all", [tmp_path])


@pytest.mark.parametrize(
    "text", ["- a list", "kind: [", "kind: nvidia.com/gpu\n", "kind: nvidia.com/gpu\ndevices: [1]"]
)
def test_a_damaged_specification_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(InputError, match=r"bad\.yaml is no CDI specification: ."):
        find_gpus("all", [tmp_path])


def test_what_a_specification_names_must_exist(specified: Callable[..., Path], driver: Path) -> None:
    (driver / "libnvidia-ml.so.570.1").unlink()
    with pytest.raises(
        InputError, match=r"libnvidia-ml\.so\.570\.1, which .*nvidia\.yaml names .*does not exist; after"
    ):
        find_gpus("all", [specified()])
    folder = specified(containerEdits={}, devices=[gpu("0", ("/dev/nvidia0", "/dev/nothing"))])
    with pytest.raises(InputError, match="/dev/nothing, which .* names for the GPU 0, does not exist"):
        find_gpus("1", [folder])


def test_the_folders_are_a_setting_of_the_target(tmp_path: Path) -> None:
    assert gpu_specifications("local", Settings(home=tmp_path)) == (Path("/etc/cdi"), Path("/var/run/cdi"))
    targets: dict[str, Any] = {"local": {"cdi-spec-dirs": ["/a"]}, "other": {"type": "local", "cdi-spec-dirs": "/a"}}
    settings = Settings(home=tmp_path, targets=targets)
    assert gpu_specifications("local", settings) == [Path("/a")]
    with pytest.raises(SettingsError, match=r"targets\.other\.cdi-spec-dirs must be a list of absolute paths"):
        gpu_specifications("other", settings)


def test_a_setting_that_the_sandbox_does_not_have_is_refused_and_not_passed_over(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"\[targets\.local\] has no setting 'gpus'; known: shm-size, cdi-spec-dirs"
    ):
        find_target("local", Settings(home=tmp_path, targets={"local": {"gpus": "all"}}))
