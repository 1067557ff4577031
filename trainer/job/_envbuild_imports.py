"""Makes `from azureml.core import Run` and `from envbuild import Run` work in an unedited script.

Two finders on sys.meta_path. The last one is asked only for names that nothing installed provides, and serves our own
`Run`. The first one looks at two names, and changes a little in what is installed once it is loaded. azureml.core.run:
the run that the real SDK uses outside of Azure is changed *in place*. (A subclass in its place would recurse for ever:
the SDK's __init__ looks its own class up by name when it calls super.) envbuild: gets the `Run` of a job.
"""

import sys

_SDK = "azureml.core.run"
_SERVED = {"azureml": True, "azureml.core": True, _SDK: False, "envbuild": False}
"""Name -> whether it is a package."""


def install():
    if not any(isinstance(finder, _LastFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _FirstFinder())
        sys.meta_path.append(_LastFinder())


class _LastFinder(object):
    def find_spec(self, name, path=None, target=None):
        if name not in _SERVED:
            return None
        from importlib.machinery import ModuleSpec

        return ModuleSpec(name, _OwnLoader(), is_package=_SERVED[name])


class _OwnLoader(object):
    def create_module(self, spec):
        return None

    def exec_module(self, module):
        if module.__name__ == "azureml":
            return
        from _envbuild_run import Run

        module.Run = Run
        module.__all__ = ["Run"]

        def missing(name):  # PEP 562; ignored by Python 3.6
            raise AttributeError(
                "%s is not installed in this environment; envbuild supplies only its Run here (wanted %r). "
                "Add the package to the environment file." % (module.__name__, name)
            )

        module.__getattr__ = missing


class _FirstFinder(object):
    _busy = False

    def find_spec(self, name, path=None, target=None):
        if name not in _CHANGES or self._busy:
            return None
        self._busy = True
        try:
            for finder in sys.meta_path:
                if finder is self or isinstance(finder, _LastFinder) or not hasattr(finder, "find_spec"):
                    continue
                spec = finder.find_spec(name, path, target)
                if spec is not None:
                    if spec.loader is not None:
                        spec.loader = _ChangingLoader(spec.loader)
                    return spec
        finally:
            self._busy = False
        return None


class _ChangingLoader(object):
    """Loads what is installed, then changes it."""

    def __init__(self, real):
        self._real = real

    def create_module(self, spec):
        return self._real.create_module(spec) if hasattr(self._real, "create_module") else None

    def exec_module(self, module):
        self._real.exec_module(module)
        try:
            _CHANGES[module.__name__](module)
        except Exception as error:
            sys.stderr.write("envbuild: metrics are not captured: %s: %s\n" % (type(error).__name__, error))

    def __getattr__(self, name):
        return getattr(self._real, name)


def _change_sdk(module):
    import _envbuild_record
    from _envbuild_run import RunMethods

    offline = getattr(module, "_OfflineRun", None)
    if offline is None:
        sys.stderr.write("envbuild: this azureml-core has no _OfflineRun; Run.log is not captured\n")
        return
    real_init = offline.__init__

    def init(self, *args, **kwargs):
        real_init(self, *args, **kwargs)
        if kwargs.get("run_id") is None and len(args) < 2:
            self._run_id = _envbuild_record.run_id()

    offline.__init__ = init
    for name, method in vars(RunMethods).items():
        if name not in ("__module__", "__dict__", "__weakref__", "__doc__"):
            setattr(offline, name, method)
    offline._make = lambda self, run_id: offline(run_id=run_id)


def _change_envbuild(module):
    from _envbuild_run import Run

    module.Run = Run


_CHANGES = {_SDK: _change_sdk, "envbuild": _change_envbuild}
