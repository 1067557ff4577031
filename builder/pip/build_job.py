"""Runs inside the sandbox, under the environment's own Python, in a virtual environment with the build's requirements.

Standard input: {"action": "requires" | "wheel", "source": ..., "output": ..., "backend": ..., "backend_path": [...]}.
Standard output's last line: the JSON of what the backend's hook returned (PEP 517).
"""

import importlib
import json
import os
import sys


def main():
    job = json.load(sys.stdin)
    os.chdir(job["source"])
    sys.argv[:] = [os.path.join(job["source"], "setup.py")]
    for path in reversed(job["backend_path"]):
        sys.path.insert(0, os.path.join(job["source"], path))
    if not job["backend_path"] and job["backend"].endswith(":__legacy__"):
        sys.path.insert(0, job["source"])
    module, _, attribute = job["backend"].partition(":")
    backend = importlib.import_module(module)
    for part in filter(None, attribute.split(".")):
        backend = getattr(backend, part)
    printed = os.dup(1)
    os.dup2(2, 1)
    if job["action"] == "requires":
        hook = getattr(backend, "get_requires_for_build_wheel", None)
        result = list(hook()) if hook else []
    else:
        result = backend.build_wheel(job["output"])
    sys.stdout.flush()
    os.write(printed, ("\n%s\n" % json.dumps(result)).encode())


if __name__ == "__main__":
    main()
