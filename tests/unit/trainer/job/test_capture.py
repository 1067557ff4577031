"""What a training script logs, as it arrives: the capture is the real one, in a process of its own, read by our reader.

Each script runs under this Python and, where it is installed, under the oldest that the capture promises (3.6).
"""

import ast
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from envbuild.trainer.metrics import RunMetrics, SeriesKey, read_run

JOB = Path(__file__).resolve().parents[4] / "trainer/job"


def interpreters() -> list[str]:
    """This Python, and Python 3.6 where pyenv has it."""
    versions = Path(os.environ.get("PYENV_ROOT", "/nowhere")) / "versions"
    oldest = versions.glob("3.6.*/bin/python3") if os.access(versions, os.R_OK) else ()  # it may be another user's
    return [sys.executable, *map(str, oldest)]


@pytest.fixture(params=interpreters(), ids=lambda path: Path(path).parts[-3])
def python(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def run_script(
    folder: Path, script: str, python: str = sys.executable, **env: str
) -> "subprocess.CompletedProcess[str]":
    # -S -s -E would drop PYTHONPATH: a folder of its own and no site-packages is what an image has
    return subprocess.run(
        [python, "-c", script],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(JOB), "ENVBUILD_RUN_DIR": str(folder),
             "ENVBUILD_RUN_ID": "run1", "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8", **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )  # fmt: skip


def logged(folder: Path, script: str, python: str = sys.executable, **env: str) -> RunMetrics:
    """What `script` logs by `run`; it must end well and say nothing."""
    done = run_script(folder, f"from azureml.core import Run\nrun = Run.get_context()\n{script}", python, **env)
    assert (done.returncode, done.stderr) == (0, "")
    return read_run(folder)


def curves(found: RunMetrics) -> dict[str, tuple[list[int], list[float]]]:
    return {key.name: (series.steps, series.values) for key, series in found.series.items()}


@pytest.mark.parametrize("file", sorted(JOB.glob("*.py")), ids=lambda path: path.name)
def test_the_job_s_files_are_python_3_6(file: Path) -> None:
    ast.parse(file.read_text(), feature_version=(3, 6))


def test_numbers_have_their_step_or_are_counted(tmp_path: Path, python: str) -> None:
    script = "run.log('loss', 2.0)\nrun.log('loss', 1)\nrun.log('loss', 0.5, step=9)\nrun.log('other', True)\n"
    assert curves(logged(tmp_path, script, python)) == {"loss": ([0, 1, 9], [2.0, 1, 0.5]), "other": ([0], [1.0])}


def test_the_native_spelling_is_the_same_run(tmp_path: Path, python: str) -> None:
    found = logged(tmp_path, "import envbuild\nenvbuild.Run.get_context().log('loss', 1.5)\n", python)
    assert curves(found) == {"loss": ([0], [1.5])}


KINDS = """
run.log_list('sizes', [1, 2.5, 'three', None])
run.log_row('point', x=1, y=2)
run.log_table('table', {'x': [1, 2], 'y': [3, 4]})
matrix = {'schema_type': 'confusion_matrix', 'data': {'class_labels': ['a', 'b'], 'matrix': [[3, 1], [0, 4]]}}
run.log_confusion_matrix('confusion', matrix)
run.log_accuracy_table('accuracy', '{"schema_type": "accuracy_table", "data": {}}')
run.log_residuals('residuals', {'schema_type': 'residuals', 'data': {'bin_counts': [1]}})
run.log_predictions('predictions', {'schema_type': 'predictions', 'data': {}})
run.log('phase', 'warm-up')
"""


def test_every_kind_arrives_as_it_was_given(tmp_path: Path, python: str) -> None:
    found = logged(tmp_path, KINDS, python)
    matrix = {"class_labels": ["a", "b"], "matrix": [[3, 1], [0, 4]]}
    assert [(entry.kind, entry.name, entry.value) for entry in found.entries] == [
        ("list", "sizes", [1, 2.5, "three", None]),
        ("row", "point", {"x": 1, "y": 2}),
        ("table", "table", {"x": [1, 2], "y": [3, 4]}),
        ("confusion_matrix", "confusion", {"schema_type": "confusion_matrix", "data": matrix}),
        ("accuracy_table", "accuracy", {"schema_type": "accuracy_table", "data": {}}),
        ("residuals", "residuals", {"schema_type": "residuals", "data": {"bin_counts": [1]}}),
        ("predictions", "predictions", {"schema_type": "predictions", "data": {}}),
        ("text", "phase", "warm-up"),
    ]


def test_images_are_copied_or_drawn_into_the_run(tmp_path: Path, python: str) -> None:
    script = """
class Plot:
    def savefig(self, path):
        open(path, 'w').write('drawn')
open('a.svg', 'w').write('copied')
run.log_image('../../curve <b>', plot=Plot())
run.log_image('a', path='a.svg')
run.log_image('a', path='a.svg')
"""
    found = logged(tmp_path, script, python)
    drawn, first, second = (entry.value for entry in found.entries)
    assert drawn.startswith("images/_.._curve__b__") and drawn.endswith(".png")
    assert (tmp_path / drawn).read_text() == "drawn"
    assert first != second
    assert (tmp_path / first).read_text() == (tmp_path / second).read_text() == "copied"


def test_tags_properties_and_children_are_notes(tmp_path: Path, python: str) -> None:
    script = """
run.tag('kind', 'test')
run.set_tags({'seed': 3})
run.set_tags('bare')
run.add_properties({'data': 'v1'})
with run.child_run(name='fold') as child:
    child.log('loss', 1.0)
    child.tag('fold', '1')
    grandchild = child.child_run(run_id='deep')
    grandchild.log('loss', 2.0)
    grandchild.fail('no data', error_code='E1')
try:
    with run.child_run(run_id='broken'):
        raise ValueError('broken')
except ValueError:
    pass
run.create_children(tag_key='lr', tag_values=[0.1, 0.2])
run.complete()
"""
    found = logged(tmp_path, script, python)
    own = found.notes[""]
    assert (own.tags, own.properties, own.status) == (
        {"kind": "test", "seed": "3", "bare": ""}, {"data": "v1"}, "Completed",
    )  # fmt: skip
    (fold,) = (run for run, notes in found.notes.items() if notes.name == "fold")
    assert (found.notes[fold].parent, found.notes[fold].tags, found.notes[fold].status) == (
        "", {"fold": "1"}, "Completed",
    )  # fmt: skip
    assert (found.notes["deep"].parent, found.notes["deep"].status, found.notes["deep"].error) == (
        fold, "Failed", "E1: no data",
    )  # fmt: skip
    assert (found.notes["broken"].status, found.notes["broken"].error) == ("Failed", "ValueError: broken")
    assert sorted(notes.tags["lr"] for notes in found.notes.values() if "lr" in notes.tags) == ["0.1", "0.2"]
    assert found.series.keys() == {SeriesKey("loss", run=fold), SeriesKey("loss", run="deep")}


def test_files_and_folders_are_uploaded_into_the_outputs(tmp_path: Path, python: str) -> None:
    script = """
import io, os
os.makedirs('outputs')
for name in ('model.bin', 'outputs/there.bin'):
    open(name, 'w').write('weights')
os.makedirs('logs/deep')
open('logs/deep/a.txt', 'w').write('a')
run.upload_file('../../m/model.bin', 'model.bin')
run.upload_file('outputs/model.bin', 'model.bin')
run.upload_file('outputs/there.bin', 'outputs/there.bin')
run.upload_file('stream.bin', io.BytesIO(b'streamed'))
run.upload_files(['one', 'two'], ['model.bin', 'model.bin'])
run.upload_folder('logs', 'logs')
"""
    logged(tmp_path, script, python)
    outputs = tmp_path / "outputs"
    files = {str(path.relative_to(outputs)): path.read_text() for path in outputs.rglob("*") if path.is_file()}
    assert files == {
        "m/model.bin": "weights", "model.bin": "weights", "there.bin": "weights", "stream.bin": "streamed",
        "one": "weights", "two": "weights", "logs/deep/a.txt": "a",
    }  # fmt: skip


def test_each_child_run_has_files_of_its_own(tmp_path: Path, python: str) -> None:
    script = """
for name in ('a/b', 'a_b', '../a'):
    open('model.bin', 'w').write(name)
    run.child_run(run_id=name).upload_file('outputs/model.bin', 'model.bin')
"""
    found = logged(tmp_path, script, python)
    files = {child: tmp_path / notes.files / "model.bin" for child, notes in found.notes.items()}
    assert {child: file.read_text() for child, file in files.items()} == {name: name for name in ("a/b", "a_b", "../a")}
    assert {file.parent.parent for file in files.values()} == {tmp_path / "children"}


def test_a_child_run_knows_its_part_of_the_log(tmp_path: Path, python: str) -> None:
    script = """
from azureml.core import Run
print('before')
with Run.get_context().child_run(run_id='fold'):
    print('inside')
print('after')
"""
    with (tmp_path / "log").open("wb") as log:
        subprocess.run(
            [python, "-u", "-c", script],
            env={"PYTHONPATH": str(JOB), "ENVBUILD_RUN_DIR": str(tmp_path), "ENVBUILD_RUN_ID": "run1"},
            stdout=log, check=True, timeout=60,
        )  # fmt: skip
    notes = read_run(tmp_path).notes["fold"]
    assert (tmp_path / "log").read_bytes()[notes.log_begin : notes.log_end] == b"inside\n"
    assert logged(tmp_path, "run.child_run(run_id='piped')").notes["piped"].log_begin is None


VALUES = """
import decimal, enum, fractions
class Tensor:
    ndim = 0
    def item(self): return 1.25
class One(Tensor):
    ndim = 2
class Level(enum.IntEnum):
    HIGH = 3
for value in (float('nan'), float('inf'), -float('inf'), Tensor(), One(), decimal.Decimal('0.5'),
              fractions.Fraction(1, 4), Level.HIGH, True, 2**63, -10**400, 10**400, -0.0, 5e-324):
    run.log('value', value)
"""


def test_whatever_is_a_number_becomes_one(tmp_path: Path, python: str) -> None:
    _, values = curves(logged(tmp_path, VALUES, python))["value"]
    assert math.isnan(values[0])
    assert values[1:] == [
        math.inf, -math.inf, 1.25, 1.25, 0.5, 0.25, 3, 1.0, 2.0**63, -math.inf, math.inf, -0.0, 5e-324
    ]  # fmt: skip


def test_whatever_is_none_becomes_text(tmp_path: Path, python: str) -> None:
    script = "import datetime\nfor value in (None, 1j, b'x', datetime.date(2026, 11, 24)):\n    run.log('v', value)\n"
    found = logged(tmp_path, script, python)
    assert [(entry.kind, entry.value) for entry in found.entries] == [
        ("text", "None"), ("text", "1j"), ("text", "b'x'"), ("text", "2026-11-24"),
    ]  # fmt: skip


def test_any_name_comes_back_as_it_was(tmp_path: Path, python: str) -> None:
    names = [
        "perda de validação",
        "损失",
        "a\nb",
        'quo"te\\',
        "../../etc/passwd",
        "<script>",
        "",
        "😀",
        "a" * 10_000,
        "\x00",
    ]
    found = logged(tmp_path, f"for name in {names!r}:\n    run.log(name, 1.0)\n", python)
    assert found.names() == names


def test_half_a_surrogate_pair_spoils_nothing(tmp_path: Path, python: str) -> None:
    found = logged(tmp_path, "run.log('a\\ud800', 1.0)\nrun.log('b', 'x\\udfff')\nrun.log('c', 2.0)\n", python)
    assert (found.names(), found.entries[0].value) == (["a?", "c"], "x?")


MISTAKES = """
class Hostile:
    ndim = 1
    def __getattr__(self, name): raise OSError(name)
    def __str__(self): raise OSError('str')
    def __repr__(self): raise OSError('repr')
class Silent(Exception):
    def __str__(self): raise OSError('str')
class Unsaid:
    def __str__(self): raise Silent()
    __repr__ = __str__
class Tensor:
    ndim = 1
    def item(self): raise ValueError('more than one')
    def tolist(self): return [1.0, float('nan')]
run.log()
run.log('hostile', Hostile())
run.log('unsaid', Unsaid())
run.log('unsaid', 1.0, step=Unsaid())
run.child_run(run_id=Unsaid())
try:
    with run.child_run(run_id='c'):
        raise Silent()
except Silent:
    pass
run.log('list', [1, 2])
run.log('range', range(3))
run.log('tensor', Tensor())
run.log('dict', {'a': 1})
run.log('step', 1.0, step='three')
run.log_list('one', 7)
run.log_image('image', path='absent.png')
run.log_image('image')
run.log_confusion_matrix('m', '{')
run.set_tags(3)
run.upload_file('x', 'absent')
run.upload_folder('x', None)
endless = []
endless.append(endless)
run.log_list('endless', endless)
run.log('fine', 1.0)
print('trained')
"""


def test_no_mistake_in_logging_stops_the_training(tmp_path: Path, python: str) -> None:
    done = run_script(tmp_path, f"from envbuild import Run\nrun = Run.get_context()\n{MISTAKES}", python)
    assert (done.returncode, done.stdout) == (0, "trained\n")
    assert "Traceback" not in done.stderr
    assert "envbuild: run.log takes one value; 'list' is kept as run.log_list does\n" in done.stderr
    assert "envbuild: run.log: step 'three' is not a whole number; its values are counted\n" in done.stderr
    assert "envbuild: run.log_list is not recorded: TypeError: " in done.stderr
    assert "envbuild: run.log is not recorded: Silent\n" in done.stderr
    found = read_run(tmp_path)
    assert curves(found) == {"step": ([0], [1.0]), "fine": ([0], [1.0])}
    assert [(entry.name, entry.kind, entry.value) for entry in found.entries] == [
        ("list", "list", [1, 2]), ("range", "list", [0, 1, 2]), ("tensor", "list", [1.0, "NaN"]),
        ("dict", "row", {"a": 1}),
    ]  # fmt: skip
    assert (found.notes["c"].status, found.notes["c"].error) == ("Failed", "Silent")


def test_complaints_do_not_flood_the_log(tmp_path: Path) -> None:
    done = run_script(
        tmp_path,
        "from envbuild import Run\nrun = Run.get_context()\n"
        "for i in range(1000):\n    run.log('a', 1.0, step='x')\n    run.log_image('image', path='absent%d.png' % i)\n",
    )
    assert done.returncode == 0
    assert len(done.stderr.splitlines()) == 20


def test_a_value_too_big_for_a_line_is_said_and_left_out(tmp_path: Path) -> None:
    done = run_script(
        tmp_path,
        "from envbuild import Run\nrun = Run.get_context()\n"
        "run.log('huge', 'x' * (1 << 25))\nrun.log('big', 'x' * (1 << 23))\n",
    )
    assert done.returncode == 0
    assert "a record of 33554" in done.stderr and "is not written (at most 16777216)" in done.stderr
    assert [(entry.name, len(entry.value)) for entry in read_run(tmp_path).entries] == [("big", 1 << 23)]


def test_threads_share_one_count(tmp_path: Path, python: str) -> None:
    script = """
import sys, threading
sys.setswitchinterval(1e-6)
def work():
    for _ in range(1000):
        run.log('loss', 1.0)
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
    steps, values = curves(logged(tmp_path, script, python))["loss"]
    assert sorted(steps) == list(range(8000))
    assert values == [1.0] * 8000


def test_forked_processes_have_curves_of_their_own(tmp_path: Path, python: str) -> None:
    script = """
import os
run.log('loss', 0.0)
children = []
for number in range(4):
    child = os.fork()
    if child == 0:
        for step in range(500):
            run.log('loss', float(number))
        os._exit(0)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
run.log('loss', 0.0)
"""
    found = logged(tmp_path, script, python)
    own = found.series.pop(SeriesKey("loss"))
    assert (own.steps, own.values) == ([0, 1], [0.0, 0.0])
    assert all(key.process for key in found.series)
    assert [series.steps for series in found.series.values()] == [list(range(500))] * 4
    assert sorted(series.values[-1] for series in found.series.values()) == [0.0, 1.0, 2.0, 3.0]


def test_spawned_processes_too(tmp_path: Path, python: str) -> None:
    (tmp_path / "main.py").write_text(
        "import multiprocessing\nfrom azureml.core import Run\n\n"
        "def work(number):\n    Run.get_context().log('score', number)\n\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context('spawn')\n"
        "    workers = [context.Process(target=work, args=(number,)) for number in range(2)]\n"
        "    for worker in workers: worker.start()\n"
        "    for worker in workers: worker.join()\n"
        "    Run.get_context().log('score', 9)\n"
    )
    done = subprocess.run(
        [python, "main.py"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(JOB), "ENVBUILD_RUN_DIR": str(tmp_path)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    found = read_run(tmp_path)
    assert found.series.pop(SeriesKey("score")).values == [9]
    assert sorted(series.values for series in found.series.values()) == [[0], [1]]
    assert all(key.process for key in found.series)


@pytest.mark.parametrize("variable", ["RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK"])
def test_the_rank_of_a_distributed_job_is_recorded(tmp_path: Path, variable: str) -> None:
    for rank in ("1", "0"):
        found = logged(tmp_path, "run.log('loss', 1.0)\n", **{variable: rank, "ENVBUILD_PROCESS": "1"})
    assert list(found.series) == [SeriesKey("loss", rank=1), SeriesKey("loss", rank=0)]


def test_a_script_that_closes_every_descriptor_keeps_its_own_files(tmp_path: Path, python: str) -> None:
    script = """
import os
run.log('loss', 1.0)
os.closerange(3, 256)
files = [open('own%d' % number, 'w') for number in range(5)]
run.log('loss', 2.0)
os.closerange(3, 256)
run.log('loss', 3.0)
os._exit(0)
"""
    assert curves(logged(tmp_path, script, python)) == {"loss": ([0, 1, 2], [1.0, 2.0, 3.0])}
    assert [path.stat().st_size for path in sorted(tmp_path.glob("own*"))] == [0] * 5


def test_a_full_disk_stops_nothing_and_costs_only_what_did_not_fit(tmp_path: Path, python: str) -> None:
    done = run_script(
        tmp_path,
        "import resource\nfrom envbuild import Run\nrun = Run.get_context()\n"
        # to write(2) a limit on the size is much the same as a full disk
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))\n"
        "for step in range(100):\n    run.log('loss', 1.0)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))\n"
        "run.log('loss', 2.0)\nrun.log('loss', 3.0)\nprint('trained')\n",
        python,
    )
    assert (done.returncode, done.stdout) == (0, "trained\n")
    assert done.stderr == "envbuild: metrics are not written: OSError: [Errno 27] File too large\n"
    steps, values = curves(read_run(tmp_path))["loss"]
    assert 10 < len(steps) < 25
    assert (steps[-3:], values[-2:]) == ([len(steps) - 3, 100, 101], [2.0, 3.0])


def test_a_record_that_cannot_be_written_stops_no_training(tmp_path: Path, python: str) -> None:
    done = run_script(
        tmp_path,
        "import sys\nfrom azureml.core import Run\nRun.get_context().log('loss', 1.0)\nprint('trained')\n"
        "sys.stderr.close()\nRun.get_context().log_image('loss')\nprint('and on')\n",
        python,
        ENVBUILD_RUN_DIR=str(tmp_path / "absent"),
    )
    assert (done.returncode, done.stdout) == (0, "trained\nand on\n")
    assert "metrics are not written: FileNotFoundError" in done.stderr


def test_what_azure_has_and_we_have_not_says_so(tmp_path: Path, python: str) -> None:
    done = run_script(tmp_path, "from azureml.core import Run\nRun.get_context().register_model('m')\n", python)
    assert "Run.register_model needs an Azure ML workspace; this run is local" in done.stderr


def test_a_package_of_the_environment_wins_over_ours(tmp_path: Path) -> None:
    (tmp_path / "azureml/core").mkdir(parents=True)
    (tmp_path / "azureml/__init__.py").touch()
    (tmp_path / "azureml/core/__init__.py").write_text("Run = 'theirs'\n")
    done = run_script(tmp_path, "from azureml.core import Run\nprint(Run)\n")
    assert done.stdout == "theirs\n", done.stderr


def test_an_installed_envbuild_hands_out_the_job_s_run(tmp_path: Path, python: str) -> None:
    (tmp_path / "envbuild").mkdir()
    (tmp_path / "envbuild/__init__.py").write_text("VERSION = 7\n")
    script = "import envbuild\nenvbuild.Run.get_context().log('version', envbuild.VERSION)\n"
    assert curves(logged(tmp_path, script, python)) == {"version": ([0], [7])}


def test_the_hidden_sitecustomize_still_runs(tmp_path: Path, python: str) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/sitecustomize.py").write_text("print('theirs')\n")
    done = run_script(tmp_path, "print('job')", python, PYTHONPATH=f"{JOB}:{tmp_path / 'hidden'}")
    assert done.stdout == "theirs\njob\n", done.stderr
