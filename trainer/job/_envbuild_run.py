"""`Run` as training scripts know it from azureml.core, writing to this run's record.

Where azureml raises because it is asked for something it does not do (a list given to `log`, say), this says so once
on standard error, keeps what it can, and goes on: nothing that is logged is worth a training that stops.
"""

import functools
import hashlib
import json
import os
import re
import shutil
import stat
import time
import uuid

import _envbuild_record as record


def _never_raises(method):
    """An error of `method` becomes one line on standard error."""

    @functools.wraps(method)
    def call(self, *args, **kwargs):
        try:
            return method(self, *args, **kwargs)
        except Exception as error:
            record.complain("run.%s is not recorded: %s" % (method.__name__, record.said(error)))

    return call


def _json_metric(kind, name):
    """A method for a kind whose value is a dictionary, or its JSON text, of the shape that azureml documents."""

    def log(self, name, value, description=""):
        value = json.loads(value) if isinstance(value, str) else value
        record.write_record(self._run_id, kind, name, value)

    log.__name__ = name
    return _never_raises(log)


class RunMethods(object):
    """What `azureml.core.Run` offers to a training script; also put into the real SDK's offline run."""

    @property
    def id(self):
        return self._run_id

    @property
    def input_datasets(self):
        """Name -> path of every mount of this run."""
        folder = os.path.join(os.path.dirname(record.run_folder()), "data")
        names = os.listdir(folder) if os.path.isdir(folder) else []
        return {name: os.path.join(folder, name) for name in names}

    @_never_raises
    def log(self, name, value, description="", step=None):
        if value.__class__ is not float and _is_many(value):
            record.complain("run.log takes one value; %.60r is kept as run.log_list does" % (name,))
            record.write_record(self._run_id, "row" if isinstance(value, dict) else "list", name, value)
            return
        record.write_scalar(self._run_id, name, value, step)

    @_never_raises
    def log_list(self, name, value, description=""):
        value = value if hasattr(value, "tolist") else list(value)
        record.write_record(self._run_id, "list", name, value)

    @_never_raises
    def log_row(self, name, description=None, **kwargs):
        record.write_record(self._run_id, "row", name, kwargs)

    @_never_raises
    def log_table(self, name, value, description=""):
        record.write_record(self._run_id, "table", name, value)

    log_confusion_matrix = _json_metric("confusion_matrix", "log_confusion_matrix")
    log_accuracy_table = _json_metric("accuracy_table", "log_accuracy_table")
    log_residuals = _json_metric("residuals", "log_residuals")
    log_predictions = _json_metric("predictions", "log_predictions")

    @_never_raises
    def log_image(self, name, path=None, plot=None, description=""):
        ending = ".png" if plot is not None else os.path.splitext(str(path))[1]
        # the name is for people; the rest keeps the images of all processes apart
        stem = re.sub(r"[^\w.-]", "_", str(name))[:80].lstrip(".") or "image"
        file = "%s_%d_%s%s" % (stem, int(time.time() * 1000), uuid.uuid4().hex[:8], re.sub(r"[^\w.]", "", ending)[:10])
        target = os.path.join(_folder(os.path.join(record.run_folder(), "images")), file)
        if plot is not None:
            plot.savefig(target)
        else:
            shutil.copyfile(path, target)
        record.write_record(self._run_id, "image", name, "images/" + file)

    @_never_raises
    def tag(self, key, value=None):
        record.write_record(self._run_id, "tags", "tags", {key: value})

    @_never_raises
    def set_tags(self, tags):
        record.write_record(self._run_id, "tags", "tags", dict(tags) if not isinstance(tags, str) else {tags: None})

    @_never_raises
    def add_properties(self, properties):
        record.write_record(self._run_id, "properties", "properties", dict(properties))

    @_never_raises
    def upload_file(self, name, path_or_stream, datastore_name=None):
        """Copy a file to the run's outputs; `outputs/` in front means the same folder, and `..` leads nowhere.

        A child run has a folder of its own: two of them may give their files the same name.
        """
        inside = os.path.normpath("/" + str(name)).lstrip("/")
        if inside.startswith("outputs/"):
            inside = inside[len("outputs/") :]
        target = os.path.join(record.run_folder(), _files_of(self._run_id), inside)
        _folder(os.path.dirname(target))
        if hasattr(path_or_stream, "read"):
            with open(target, "wb") as copy:
                shutil.copyfileobj(path_or_stream, copy)
        elif not (os.path.exists(target) and os.path.samefile(path_or_stream, target)):
            shutil.copyfile(path_or_stream, target)

    @_never_raises
    def upload_files(self, names, paths, return_artifacts=False, timeout_seconds=None, datastore_name=None):
        for name, path in zip(names, paths):
            self.upload_file(name, path)

    @_never_raises
    def upload_folder(self, name, path, datastore_name=None):
        files = [os.path.join(parent, file) for parent, _, files in os.walk(path) for file in files]
        for file in files:
            self.upload_file(os.path.join(str(name), os.path.relpath(file, path)), file)

    def child_run(self, name=None, run_id=None, outputs=None):
        child = run_id or "%s.%s" % (self._run_id, uuid.uuid4().hex[:8])
        self._note_child(child, name)
        return self._make(child)

    def create_children(self, count=None, tag_key=None, tag_values=None):
        values = [None] * (count or 0) if tag_values is None else list(tag_values)
        children = [self.child_run() for _ in values]
        for child, value in zip(children, values):
            if tag_key is not None:
                child.tag(tag_key, value)
        return children

    @_never_raises
    def _note_child(self, child, name):
        parent = "" if self._run_id == record.run_id() else self._run_id
        about = {"parent": parent, "name": name, "files": _files_of(child)}
        record.write_record(child, "child", "child", about, **_log_place())

    def __enter__(self):
        return self

    def __exit__(self, exit_type, value, traceback):
        if exit_type is None:
            self.complete()
        else:
            self.fail(record.said(value))

    def start(self):
        pass

    def flush(self, timeout_seconds=300):
        pass

    @_never_raises
    def complete(self, _set_status=True):
        record.write_record(self._run_id, "status", "status", "Completed", **_log_place())

    @_never_raises
    def cancel(self):
        record.write_record(self._run_id, "status", "status", "Canceled", **_log_place())

    @_never_raises
    def fail(self, error_details=None, error_code=None, _set_status=True):
        words = [str(word) for word in (error_code, error_details) if word is not None]
        record.write_record(self._run_id, "status", "status", "Failed", error=": ".join(words), **_log_place())


class Run(RunMethods):
    """The run that this process belongs to: `Run.get_context()`."""

    def __init__(self, run_id=None, **_):
        self._run_id = run_id or record.run_id()

    def _make(self, run_id):
        return Run(run_id=run_id)

    @classmethod
    def get_context(cls, allow_offline=True, used_for_context_manager=False, **_):
        return cls()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError("envbuild: Run.%s needs an Azure ML workspace; this run is local" % name)


def _is_many(value):
    if isinstance(value, (list, tuple, range, dict, set, frozenset)):
        return True
    if not getattr(value, "ndim", 0):
        return False
    try:
        value.item()
    except Exception:
        return True
    return False


def _files_of(run):
    """Where the files of the run or child run `run` lie, below the run's folder."""
    if run == record.run_id():
        return "outputs"
    name = re.sub(r"[^a-zA-Z0-9_.-]", "_", str(run))[:80].lstrip(".-")
    if name != run:  # another one may look the same without its signs
        name = "%s_%s" % (name, hashlib.sha256(str(run).encode("utf-8", "replace")).hexdigest()[:8])
    return "children/" + name


def _log_place():
    """How long the log is now, where our output goes into a file: the log itself, unless the script changed that."""
    try:
        found = os.fstat(1)
    except OSError:
        return {}
    return {"log": found.st_size} if stat.S_ISREG(found.st_mode) else {}


def _folder(path):
    os.makedirs(path, exist_ok=True)
    return path
