"""Runs inside the sandbox, under the environment's own Python: compiles the sources listed on standard input.

Standard library only, and syntax of Python 3.7: this file meets whatever Python a user asks for. What it imports and
does before a fork is part of the result, because marshalled bytes tell which strings the interpreter had seen before:
a change here needs a new PACKER_VERSION.
"""

import gc
import importlib.util
import json
import marshal
import os
import sys

_UNCHECKED_HASH = (1).to_bytes(4, "little")
"""The flags of a file whose source is never looked at again (PEP 552)."""


def compile_chunk(number, sources):
    """Compile `sources` (paths below /pieces/<number>, named in tracebacks by their path in the image)."""
    for source in sources:
        try:
            compile_file("/pieces/%d/%s" % (number, source), "/" + source)
        except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
            os.write(1, ("not compiled: /%s (%s)\n" % (source, type(error).__name__)).encode())


def compile_file(path, name):
    """Write the `.pyc` of `path` where Python looks for it, with the time of its source."""
    with open(path, "rb", buffering=0) as file:
        data = file.read()
        time = int(os.fstat(file.fileno()).st_mtime)
    code = compile(data, name, "exec", dont_inherit=True)
    folder, _, base = path.rpartition("/")
    target = "%s/__pycache__/%s.%s.pyc" % (folder, base[: -len(".py")], sys.implementation.cache_tag)
    header = importlib.util.MAGIC_NUMBER + _UNCHECKED_HASH + importlib.util.source_hash(data)
    descriptor = create(target)
    with open(descriptor, "wb") as file:
        file.write(header + marshal.dumps(code))
        file.flush()
        os.utime(descriptor, (time, time))


def create(target):
    """Open a new file, and make its folder when it is the first one there."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        return os.open(target, flags, 0o644)
    except FileNotFoundError:
        try:
            os.mkdir(os.path.dirname(target), 0o755)
        except FileExistsError:  # by the process of another chunk that has files in the same folder
            pass
    except FileExistsError:  # of another compiler
        os.unlink(target)
    return os.open(target, flags, 0o644)


def main():
    os.umask(0o022)
    gc.disable()  # syntax trees have no cycles, and each process ends soon
    request = json.load(sys.stdin)
    failed = False
    running = 0
    for number, sources in request["chunks"]:
        if running == request["workers"]:
            failed |= os.wait()[1] != 0
            running -= 1
        if os.fork() == 0:
            compile_chunk(number, sources)
            os._exit(0)
        running += 1
    for _ in range(running):
        failed |= os.wait()[1] != 0
    sys.exit("a process that compiles ended early" if failed else 0)


if __name__ == "__main__":
    main()
