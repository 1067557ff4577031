# Switches on the capture of `Run` in a training job. This folder is mounted read-only and stands on PYTHONPATH for the
# training command only; the image itself is not changed. Standard library only, Python 3.6 syntax.


def _boot():
    import os
    import sys

    here = os.path.dirname(os.path.abspath(__file__))
    if os.environ.get("ENVBUILD_RUN_DIR"):
        try:
            import _envbuild_imports

            _envbuild_imports.install()
        except Exception as error:  # capture must never break the training command
            sys.stderr.write("envbuild: metrics are not captured: %s: %s\n" % (type(error).__name__, error))
    _run_hidden(here)


def _run_hidden(here):
    """Run the sitecustomize that this one hides: Debian's, coverage's, the user's."""
    import os
    import sys
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    try:
        others = [path for path in sys.path if os.path.abspath(path or ".") != here]
        spec = PathFinder.find_spec("sitecustomize", others)
        if spec is not None and spec.loader is not None:
            module = module_from_spec(spec)
            sys.modules["sitecustomize"] = module
            spec.loader.exec_module(module)
    except Exception as error:
        sys.stderr.write(
            "envbuild: the environment's own sitecustomize failed: %s: %s\n" % (type(error).__name__, error)
        )


_boot()
