# Switches on the capture of `Run` in a training job. This folder is mounted read-only and stands on PYTHONPATH for the
# training command only; the image itself is not changed. Standard library only, Python 3.6 syntax.


def _boot():
    import os
    import sys

    here = os.path.dirname(os.path.abspath(__file__))
    if os.environ.get("ENVBUILD_RUN_DIR"):
        # the first interpreter of a job is the training command; what it starts is told apart in the record
        os.environ.setdefault("ENVBUILD_PROCESS", str(os.getpid()))
        try:
            import _envbuild_imports

            _envbuild_imports.install()
        except Exception as error:  # capture must never break the training command
            sys.stderr.write("envbuild: metrics are not captured: %s: %s\n" % (type(error).__name__, error))
    root = os.environ.pop("ENVBUILD_SOURCE", None)
    if root:
        _put_first(root)
    _run_hidden(here)


def _put_first(root):
    """Have the source folder as sys.path[0] of a script in a sub-folder, whose own folder then comes second.

    Python puts a script's folder in front after this module has run; the event that it is about to run the script
    (Python 3.8) is the only moment between that and the script.
    """
    import sys

    waiting = [root]

    def hook(event, arguments):
        if waiting and event == "cpython.run_file":
            sys.path.insert(0, waiting.pop())

    add = getattr(sys, "addaudithook", None)
    if add is not None:
        add(hook)


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
