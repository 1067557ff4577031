"""Serves the modules of `azureml` to the process that runs a control script, out of the files beside this one.

Names only: what each is called is known from the SDK's public documentation; what each does is ours. A name that is not
served is an error that says so, at the import or the use of it, before anything has been submitted.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from .unknown import UnknownImport, no_counterpart

_WORKSPACE = {"Workspace": "workspace"}
_EXPERIMENT = {"Experiment": "experiment"}
_ENVIRONMENT = {"Environment": "environment"}
_RUN = {"Run": "run"}
_CONFIG = {"ScriptRunConfig": "script_run_config"}
_RUN_CONFIG = {"RunConfiguration": "script_run_config"}
_DATA = {"Dataset": "data", "Datastore": "data"}
_COMPUTE = {"AmlCompute": "compute", "ComputeTarget": "compute"}
_EXCEPTIONS = {
    "AzureMLException": "exceptions",
    "ComputeTargetException": "exceptions",
    "UserErrorException": "exceptions",
    "WorkspaceException": "exceptions",
}
_AUTHENTICATION = {
    "AzureCliAuthentication": "authentication",
    "InteractiveLoginAuthentication": "authentication",
    "MsiAuthentication": "authentication",
    "ServicePrincipalAuthentication": "authentication",
}

SERVED: dict[str, dict[str, str]] = {
    "azureml": {},
    "azureml.core": {
        **_WORKSPACE,
        **_EXPERIMENT,
        **_ENVIRONMENT,
        **_RUN,
        **_CONFIG,
        **_RUN_CONFIG,
        **_DATA,
        "ComputeTarget": "compute",
    },
    "azureml.core.authentication": _AUTHENTICATION,
    "azureml.core.compute": _COMPUTE | {"ComputeTargetException": "exceptions"},
    "azureml.core.compute_target": {"ComputeTarget": "compute", "ComputeTargetException": "exceptions"},
    "azureml.core.conda_dependencies": {"CondaDependencies": "conda_dependencies"},
    "azureml.core.dataset": {"Dataset": "data"},
    "azureml.core.datastore": {"Datastore": "data"},
    "azureml.core.environment": {**_ENVIRONMENT, "CondaDependencies": "conda_dependencies"},
    "azureml.core.experiment": _EXPERIMENT,
    "azureml.core.run": _RUN,
    "azureml.core.runconfig": _RUN_CONFIG,
    "azureml.core.script_run_config": _CONFIG,
    "azureml.core.workspace": _WORKSPACE,
    "azureml.exceptions": _EXCEPTIONS,
}
"""Module -> name -> the file of this folder that has it."""

_PACKAGES = ("azureml", "azureml.core")


def serve() -> None:
    """From now on `import azureml.core` in this process means what is here, whatever is installed."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "azureml"]:
        del sys.modules[name]
    sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] != "azureml":
            return None
        if name not in SERVED:
            raise UnknownImport(no_counterpart(f"the module {name}", name, sorted(SERVED)))
        return ModuleSpec(name, _Loader(), is_package=name in _PACKAGES)


class _Loader(Loader):
    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        served = SERVED[module.__name__]

        def get(name: str) -> Any:
            if f"{module.__name__}.{name}" in SERVED:
                return import_module(f"{module.__name__}.{name}")
            if name not in served:
                if name.startswith("__"):
                    raise AttributeError(name)
                raise UnknownImport(no_counterpart(f"{module.__name__}.{name}", name, sorted(served)))
            return getattr(import_module(f"envbuild.azureml.{served[name]}"), name)

        module.__dict__["__all__"] = sorted(served)
        module.__dict__["__getattr__"] = get
