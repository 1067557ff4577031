"""From a conda environment file to a reproducible OCI image and a recorded training run.

The names of the Python API are loaded when they are asked for: importing this module costs nothing.
"""

TYPE_CHECKING = False  # as type checkers know it; typing itself is half of what this module would cost
if TYPE_CHECKING:
    from .api.dataset import Dataset
    from .api.datastore import Datastore
    from .api.environment import Environment
    from .api.experiment import Experiment
    from .api.run import Run
    from .api.script_run_config import ScriptRunConfig
    from .api.workspace import Workspace
    from .errors import EnvbuildError

__version__ = "0.1.0"

__all__ = [
    "Dataset",
    "Datastore",
    "EnvbuildError",
    "Environment",
    "Experiment",
    "Run",
    "ScriptRunConfig",
    "Workspace",
]

_MODULES = {
    "Dataset": "api.dataset",
    "Datastore": "api.datastore",
    "Environment": "api.environment",
    "EnvbuildError": "errors",
    "Experiment": "api.experiment",
    "Run": "api.run",
    "ScriptRunConfig": "api.script_run_config",
    "Workspace": "api.workspace",
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name not in _MODULES:
        raise AttributeError(f"module 'envbuild' has no attribute {name!r}")
    return getattr(import_module(f"envbuild.{_MODULES[name]}"), name)
