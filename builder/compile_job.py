"""Runs inside the sandbox, under the environment's own Python: compiles the pieces listed on standard input.

Standard library only, and syntax of Python 3.7: this file meets whatever Python a user asks for.
"""

import json
import os
import py_compile
import sys

WORKERS = 2


def compile_piece(number, sources):
    """Compile `sources` (paths below /pieces/<number>, named in tracebacks by their path in the image)."""
    for source in sources:
        try:
            py_compile.compile(
                "/pieces/%d/%s" % (number, source),
                dfile="/" + source,
                doraise=True,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )
        except (py_compile.PyCompileError, UnicodeDecodeError, ValueError, RecursionError) as error:
            os.write(1, ("not compiled: /%s (%s)\n" % (source, type(error).__name__)).encode())


def main():
    pieces = json.load(sys.stdin)
    sys.stdout.flush()
    failed = False
    running = 0
    for number in sorted(range(len(pieces)), key=lambda each: -len(pieces[each])):
        if running == WORKERS:
            failed |= os.wait()[1] != 0
            running -= 1
        if os.fork() == 0:
            compile_piece(number, pieces[number])
            os._exit(0)
        running += 1
    for _ in range(running):
        failed |= os.wait()[1] != 0
    sys.exit("a process that compiles ended early" if failed else 0)


if __name__ == "__main__":
    main()
