"""Writes metrics.jsonl from inside a job: one JSON object a line, one write(2) each.

An O_APPEND descriptor without a buffer: nothing is lost or doubled by a fork, lines of several processes do not mix,
and a reader sees each line at once. Nothing that goes wrong here may stop the training.
"""

import json
import math
import os
import sys
import time

_state = {"descriptor": None, "process": None, "off": False, "steps": {}}


def run_folder():
    return os.environ["ENVBUILD_RUN_DIR"]


def run_id():
    return os.environ.get("ENVBUILD_RUN_ID") or "run"


def write_scalar(run, name, value, step=None):
    """One value; without a step, the values of a name are counted."""
    key = (run, str(name))
    count = _state["steps"].get(key, 0)
    _state["steps"][key] = count + 1
    _write(run, {"k": str(name), "v": plain(value), "s": count if step is None else int(step)})


def write_record(run, kind, name, value):
    """Anything that is no scalar: a list, row, table, image, tags."""
    _write(run, {"k": str(name), "kind": kind, "v": _plain_deep(value)})


def plain(value):
    """A JSON scalar for numbers, texts, zero-dimensional tensors and NumPy scalars; `repr` for anything else."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if not isinstance(value, float):
        try:
            value = value.item()  # torch, numpy, jax, tensorflow
        except Exception:
            try:
                value = float(value)
            except Exception:
                return repr(value)
        if isinstance(value, (bool, int, str)):
            return value
    if value != value:
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def _plain_deep(value):
    if isinstance(value, dict):
        return {str(key): _plain_deep(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, range)):
        return [_plain_deep(each) for each in value]
    if hasattr(value, "tolist") and getattr(value, "ndim", 0):
        return _plain_deep(value.tolist())
    return plain(value)


def _write(run, record):
    if _state["off"]:
        return
    try:
        if _state["descriptor"] is None:
            path = os.path.join(run_folder(), "metrics.jsonl")
            _state["descriptor"] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        record["t"] = round(time.time(), 6)
        if run != run_id():
            record["run"] = run
        rank = os.environ.get("RANK", "")
        if rank.isdigit():
            record["rank"] = int(rank)
        line = json.dumps(record, separators=(",", ":"), allow_nan=False) + "\n"
        os.write(_state["descriptor"], line.encode("utf-8"))
    except Exception as error:
        _state["off"] = True
        sys.stderr.write("envbuild: metrics are no longer captured: %s: %s\n" % (type(error).__name__, error))
