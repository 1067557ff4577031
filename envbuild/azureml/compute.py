"""Compute targets: a name that was created is remembered, and runs on it run on this machine."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envbuild.builder import atomic

from .exceptions import ComputeTargetException
from .unknown import Named
from .workspace import Workspace


@dataclass(frozen=True)
class ProvisioningConfiguration:
    """What a cluster would be made of; remembered, not used."""

    vm_size: str
    min_nodes: int = 0
    max_nodes: int | None = None


class ComputeTarget(Named):
    """A compute target that was created before.

    Raises:
        ComputeTargetException: none of that name was.
    """

    def __init__(self, workspace: Workspace, name: str) -> None:
        known = read_targets(workspace)
        if name not in known:
            raise ComputeTargetException(
                f"no compute target is called {name!r}; known: {', '.join(known)} (ComputeTarget.create makes one)"
            )
        self.workspace = workspace
        self.name = name
        self.vm_size = known[name].get("vm_size", "")
        self.type = "AmlCompute"
        self.provisioning_state = "Succeeded"

    @classmethod
    def create(
        cls, workspace: Workspace, name: str, provisioning_configuration: ProvisioningConfiguration
    ) -> "ComputeTarget":
        """Remember the name; nothing is rented."""
        with atomic.key_lock(workspace.home, "azureml-compute"):
            kept = {**_kept(workspace), name: vars(provisioning_configuration)}
            atomic.write_file(_file(workspace), json.dumps(kept, indent=1, sort_keys=True).encode())
        return cls(workspace, name)

    def wait_for_completion(self, show_output: bool = False, **_: object) -> None:
        """Return at once: this machine is there."""
        if show_output:
            print(f"{self.name} is ready: runs on it run on this machine")

    def get_status(self) -> "ComputeTarget":
        """The target itself, which is always ready."""
        return self

    def delete(self) -> None:
        """Forget the name."""
        with atomic.key_lock(self.workspace.home, "azureml-compute"):
            kept = _kept(self.workspace)
            kept.pop(self.name, None)
            atomic.write_file(_file(self.workspace), json.dumps(kept, indent=1, sort_keys=True).encode())

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r})"


class AmlCompute(ComputeTarget):
    """A cluster, as far as a script is concerned."""

    @staticmethod
    def provisioning_configuration(
        vm_size: str = "", min_nodes: int = 0, max_nodes: int | None = None, **_: object
    ) -> ProvisioningConfiguration:
        """What a cluster would be made of; the SDK's other options are taken and not used."""
        return ProvisioningConfiguration(vm_size, min_nodes, max_nodes)


def read_targets(workspace: Workspace) -> dict[str, dict[str, Any]]:
    """Every name that a run may use, and what is remembered of it."""
    own = {name: {"vm_size": kind} for name, kind in workspace.own_targets.items()}
    return {**own, **_kept(workspace)}


def _kept(workspace: Workspace) -> dict[str, dict[str, Any]]:
    try:
        kept: dict[str, dict[str, Any]] = json.loads(_file(workspace).read_bytes())
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _file(workspace: Workspace) -> Path:
    return workspace.home / "azureml" / "compute.json"
