"""Writes metrics.jsonl from inside a job: one JSON object a line, one write(2) each (docs/metrics.md has the format).

An O_APPEND descriptor without a buffer: nothing is lost or doubled by a fork, lines of several processes and threads do
not mix, and a reader sees each line at once. There is no lock, so that a fork in the middle of a call leaves none held;
counting is done by itertools.count, which is one step for the interpreter. Nothing here may stop the training: a line
that cannot be written is said once, and the next one is tried again.
"""

import itertools
import json
import math
import os
import sys
import time

LONGEST = 1 << 24
"""Bytes of one line; a longer one is not written."""

_DEEPEST = 64
"""Levels of lists in lists; JSON readers give up somewhere."""

_RANKS = ("RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
"""Where torchrun, Open MPI and MPICH say which process of a distributed job this is."""

_COMPLAINTS = 20

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class _Process(object):
    """What one process knows of its own writing; a forked one begins anew."""

    def __init__(self):
        self.pid = os.getpid()
        self.descriptor = None
        self.file = None
        """Device and inode: a script that closes all descriptors may get our number for a file of its own."""
        self.torn = False
        """The last line was not written whole: the next one begins with a line break."""
        self.names = {}
        """(run, name) -> the beginning of its lines, its counter, their end."""


_state = {"process": _Process()}
_complaints = set()


def run_folder():
    return os.environ["ENVBUILD_RUN_DIR"]


def run_id():
    return os.environ.get("ENVBUILD_RUN_ID") or "run"


def write_scalar(run, name, value, step=None):
    """One value; without a step, the values of a name are counted in each process."""
    process = _this_process()
    try:
        begin, counter, end = process.names[run, name]
    except KeyError:
        fresh = '{"k":%s,"v":' % _encode(str(name)), itertools.count(), _end(process, run)
        begin, counter, end = process.names.setdefault((run, name), fresh)  # another thread may have been quicker
    count = next(counter)
    if step is not None:
        count = _whole(step, count)
    if value.__class__ is float and value - value == 0.0:  # neither NaN nor infinite
        text = repr(value)
    else:
        text = _encode(plain(value))
    _append(process, '%s%s,"s":%d,"t":%.6f%s' % (begin, text, count, time.time(), end))


def write_record(run, kind, name, value, **more):
    """Anything that is no scalar: a list, row, table, image, tags."""
    process = _this_process()
    fields = {"k": str(name), "kind": kind, "v": _plain_deep(value, 0)}
    fields.update(more)
    _append(process, '%s,"t":%.6f%s' % (_encode(fields)[:-1], time.time(), _end(process, run)))


def complain(text):
    """Say once, on standard error, what could not be recorded."""
    if text in _complaints or len(_complaints) >= _COMPLAINTS:
        return
    _complaints.add(text)
    try:
        sys.stderr.write("envbuild: %s\n" % text)
    except Exception:  # a script may have closed or replaced it
        pass


def said(error):
    """`TypeError: what it says`; a script's own error may fail to say anything."""
    try:
        return "%s: %s" % (type(error).__name__, error)
    except Exception:
        return type(error).__name__


def plain(value):
    """What JSON has for numbers, texts, tensors and NumPy scalars of one element; the text of anything else."""
    if not isinstance(value, (bool, int, float, str)):
        value = _unwrapped(value)
    if isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        value = int(value)  # an enumeration's member is its number
        return value if -(1 << 63) <= value < 1 << 63 else _float_of(value)
    if isinstance(value, float):
        return _float_of(value)
    return str(value)


def _unwrapped(value):
    try:
        return value.item()  # torch, numpy, jax, tensorflow
    except Exception:
        pass
    try:
        return float(value)
    except Exception:
        return value


def _float_of(value):
    try:
        value = float(value)
    except OverflowError:
        value = math.inf if value > 0 else -math.inf
    if value != value:
        return "NaN"
    if value in (math.inf, -math.inf):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def _plain_deep(value, depth):
    if depth > _DEEPEST:
        raise ValueError("lists are nested more than %d deep" % _DEEPEST)
    if getattr(value, "ndim", 0):
        if hasattr(value, "tolist"):  # arrays, tensors
            value = value.tolist()
        elif hasattr(value, "numpy"):  # tensorflow's
            value = value.numpy().tolist()
        elif hasattr(value, "to_dict"):  # a pandas table, as columns
            value = value.to_dict("list")
    if isinstance(value, dict):
        return {str(key): _plain_deep(each, depth + 1) for key, each in value.items()}
    if isinstance(value, (list, tuple, range, set, frozenset)):
        return [_plain_deep(each, depth + 1) for each in value]
    return None if value is None else plain(value)


def _whole(step, count):
    """`step` as a whole number; the counter's where it is none."""
    try:
        step = int(step)
    except Exception:
        complain("run.log: step %.40r is not a whole number; its values are counted" % (step,))
        return count
    return step if -(1 << 63) <= step < 1 << 63 else count


def _this_process():
    process = _state["process"]
    if process.pid != os.getpid():
        process = _state["process"] = _Process()
    return process


def _end(process, run):
    """The end of a line: who wrote it, as far as that is not the training command itself."""
    rank = next((os.environ[name] for name in _RANKS if os.environ.get(name)), "")
    fields = {}
    if run != run_id():
        fields["run"] = str(run)
    if rank.isdecimal():
        fields["rank"] = int(rank)
    elif os.environ.get("ENVBUILD_PROCESS", str(process.pid)) != str(process.pid):
        fields["process"] = process.pid
    return (",%s\n" % _encode(fields)[1:]) if fields else "}\n"


def _append(process, line):
    try:
        data = line.encode("utf-8", "replace")  # half a surrogate pair has no place in UTF-8
        if len(data) > LONGEST:
            complain("a record of %d bytes is not written (at most %d): %.60s..." % (len(data), LONGEST, line))
            return
        if not _is_ours(process):
            _open(process)
        if process.torn:
            data = b"\n" + data
        process.torn = os.write(process.descriptor, data) != len(data)
    except Exception as error:
        complain("metrics are not written: %s" % said(error))


def _is_ours(process):
    if process.descriptor is None:
        return False
    try:
        found = os.fstat(process.descriptor)
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == process.file


def _open(process):
    path = os.path.join(run_folder(), "metrics.jsonl")
    process.descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    found = os.fstat(process.descriptor)
    process.file = (found.st_dev, found.st_ino)
