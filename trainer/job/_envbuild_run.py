"""`Run` as training scripts know it from azureml.core, writing to this run's record."""

import json
import os
import shutil
import time

import _envbuild_record as record


class RunMethods(object):
    """What `azureml.core.Run` offers to a training script; also put into the real SDK's offline run."""

    @property
    def id(self):
        return self._run_id

    def log(self, name, value, description="", step=None):
        if isinstance(value, (list, tuple, range)):
            raise ValueError("run.log takes one value; use run.log_list for a list")
        record.write_scalar(self._run_id, name, value, step)

    def log_list(self, name, value, description=""):
        record.write_record(self._run_id, "list", name, list(value))

    def log_row(self, name, description=None, **kwargs):
        record.write_record(self._run_id, "row", name, kwargs)

    def log_table(self, name, value, description=""):
        record.write_record(self._run_id, "table", name, value)

    def log_image(self, name, path=None, plot=None, description=""):
        folder = os.path.join(record.run_folder(), "images")
        if not os.path.isdir(folder):
            os.makedirs(folder)
        stem = "%s_%d" % (os.path.basename(str(name)), int(time.time() * 1000))
        if plot is not None:
            target = os.path.join(folder, stem + ".png")
            plot.savefig(target)
        else:
            target = os.path.join(folder, stem + os.path.splitext(str(path))[1])
            shutil.copyfile(path, target)
        record.write_record(self._run_id, "image", name, "images/" + os.path.basename(target))

    def log_confusion_matrix(self, name, value, description=""):
        value = json.loads(value) if isinstance(value, str) else value
        record.write_record(self._run_id, "confusion_matrix", name, value)

    def tag(self, key, value=None):
        self.set_tags({key: value})

    def set_tags(self, tags):
        record.write_record(self._run_id, "tags", "tags", tags if isinstance(tags, dict) else {tags: None})

    def add_properties(self, properties):
        record.write_record(self._run_id, "properties", "properties", properties)

    def upload_file(self, name, path_or_stream, datastore_name=None):
        """Copy a file to the run's outputs; `..` in `name` does not lead out of them."""
        target = os.path.join(record.run_folder(), "outputs", os.path.normpath("/" + name).lstrip("/"))
        if not os.path.isdir(os.path.dirname(target)):
            os.makedirs(os.path.dirname(target))
        if hasattr(path_or_stream, "read"):
            with open(target, "wb") as copy:
                shutil.copyfileobj(path_or_stream, copy)
        else:
            shutil.copyfile(path_or_stream, target)

    def child_run(self, name=None, run_id=None, outputs=None):
        child = run_id or "%s.%s" % (self._run_id, name or "%x" % int(time.time() * 1000))
        record.write_record(child, "child", "child", {"parent": self._run_id, "name": name})
        return self._make(child)

    def __enter__(self):
        return self

    def __exit__(self, exit_type, value, traceback):
        return None

    def flush(self, timeout_seconds=300):
        pass

    def complete(self, _set_status=True):
        pass

    def fail(self, error_details=None, error_code=None, _set_status=True):
        record.write_record(self._run_id, "fail", "fail", {"code": str(error_code), "details": str(error_details)})


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
