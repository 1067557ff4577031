"""A queued run in, the record of an ended run out: prepare the environment and the code, run the job, watch it.

    Queued -> Preparing (environment, code) -> Running (target) -> Completed | Failed | Canceled

One process supervises one run: the one of `envbuild run`, or one in the background in a session of its own
(`background.py`). The record names it. SIGINT, SIGTERM or SIGHUP to it cancels the run; a time limit is the
same signal, sent to itself. When it is killed the job ends with it, and the next look finds the run Lost.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from envbuild.builder import atomic
from envbuild.builder.log import BuildLog
from envbuild.builder.publish.layout import image_reference
from envbuild.builder.report import Reporter, Silent
from envbuild.builder.store import Store
from envbuild.errors import EnvbuildError, NotFound, StoreError
from envbuild.registry.environments import Environment, load
from envbuild.registry.rebuild import ready
from envbuild.registry.register import register
from envbuild.registry.request import ReadingOptions, read_request, request_from_conda
from envbuild.settings import Settings, load_settings

from .cancellation import Signals, TimeLimit
from .compose import compose_job
from .duration import show_duration
from .run import FINAL, RunRecord, change_run, load_folder, now, run_folders, update_run
from .snapshot import load_snapshot, materialise
from .supervision import adopt_lock, process_of, releasing_lock
from .targets import Outcome, find_target
from .watch import Watch


def supervise(
    run: RunRecord, settings: Settings, reporter: Reporter, follow: Callable[[bytes], None] | None = None
) -> RunRecord:
    """Run the queued `run` to its end; `follow` receives the log as it grows.

    Raises:
        EnvbuildError: the job could not be started; the record says Failed and why.
        KeyboardInterrupt: canceled before the job was started; the record says Canceled.
    """
    sweep(settings.home)
    work = settings.home / "scratch" / f"run-{run.run_id}"
    with Signals() as signals, releasing_lock(run.run_id):
        run = change_run(run, _claim)
        if run.is_final:  # canceled, or taken for lost, before we began
            return run
        try:
            ended = _run(run, settings, reporter, work, follow)
        except BaseException as error:
            signals.ignore()
            state = "Canceled" if isinstance(error, KeyboardInterrupt) else "Failed"
            _finish(run, work, {"state": state, "reason": _why(error, state)})
            raise
        signals.ignore()
        return _finish(run, work, ended)


def sweep(home: Path) -> None:
    """Remove what killed supervisors left in the scratch folder."""
    left = {entry.name.removeprefix("run-"): entry for entry in (home / "scratch").glob("run-*")}
    if not left:
        return
    for folder in run_folders(home):
        if folder.name in left:
            with suppress(NotFound):  # a damaged record: nobody runs it
                if not load_folder(folder).is_final:
                    del left[folder.name]
    for entry in left.values():
        atomic.remove_tree(entry)


def _run(
    run: RunRecord, settings: Settings, reporter: Reporter, work: Path, follow: Callable[[bytes], None] | None
) -> dict[str, Any]:
    """The changes that end the record."""
    begin = time.monotonic()
    environment = _environment(run, settings)
    with ready(environment, settings, reporter, run.folder):
        return _run_in(environment, run, settings, work, follow, begin, reporter)


def _run_in(
    environment: Environment, run: RunRecord, settings: Settings, work: Path,
    follow: Callable[[bytes], None] | None, begin: float, reporter: Reporter,
) -> dict[str, Any]:  # fmt: skip
    store = Store(settings.home)
    materialise(load_snapshot(run.document["snapshot"]["id"], settings.home), settings.home, work / "code")
    _link(environment.build_log, run.build_log)
    name = image_reference(environment.name, environment.version)
    job = compose_job(run, environment.root(store), environment.image(store), name, work)
    job = replace(job, reporter=reporter)
    prepared = time.monotonic()
    watch, limit = Watch(run), TimeLimit((run.document.get("limits") or {}).get("timeout"))

    def started(pid: int) -> None:
        update_run(run, state="Running", started=now(), sandbox_pid=pid)
        watch.begin(pid)
        limit.begin()

    with watch, limit:
        outcome = find_target(run.document["target"], settings).run(job, started, follow)
    state, reason = _ending(outcome, limit)
    return {
        "state": state,
        "exit_code": outcome.exit_code,
        "seconds": {
            **(run.document.get("seconds") or {}),
            "prepare": round(prepared - begin, 3),
            "run": round(time.monotonic() - prepared, 3),
        },
        "resources": watch.summary(),
        **({"reason": reason} if reason else {}),
    }


def _ending(outcome: Outcome, limit: TimeLimit) -> tuple[str, str | None]:
    if limit.reached:
        return "Failed", f"time limit ({show_duration(limit.seconds or 0)})"
    if outcome.canceled:
        return "Canceled", _reason("Canceled")
    return ("Failed", outcome.reason or _code(outcome.exit_code)) if outcome.exit_code else ("Completed", None)


def _code(code: int) -> str:
    """The exit code in words, with the signal that shells and engines mean by one above 128."""
    try:
        return f"exit code {code} ({signal.Signals(code - 128).name})"
    except ValueError:
        return f"exit code {code}"


def _why(error: BaseException, state: str) -> str:
    if isinstance(error, BrokenPipeError):
        return "nobody read the log any more (with --detach nobody needs to)"
    return str(error) or _reason(state)


def _reason(state: str) -> str:
    return "canceled" if state == "Canceled" else "the supervisor failed"


def _claim(document: dict[str, Any]) -> dict[str, Any]:
    """The record with us as its supervisor, if nobody ended it before."""
    if document["state"] != "Queued":
        return document
    return {**document, "state": "Preparing", "prepared_from": now(), "process": process_of(os.getpid())}


def _finish(run: RunRecord, work: Path, ended: dict[str, Any]) -> RunRecord:
    """Write how the run ended, once its scratch is gone: on a full disk that makes room for the record."""
    atomic.remove_tree(work)
    return update_run(run, **ended, ended=now())


def _environment(run: RunRecord, settings: Settings) -> Environment:
    """The run's environment, if it still is the same."""
    described = run.document["environment"]
    if "version" not in described:
        return _build_environment(run, settings)
    environment = load(settings.home, f"{described['name']}:{described['version']}")
    if environment.record["image"]["digest"] != described["image_digest"]:
        raise StoreError(
            f"{environment.reference} is {environment.record['image']['digest']} now, but the run is of "
            f"{described['image_digest']}"
        )
    return environment


def _build_environment(run: RunRecord, settings: Settings) -> Environment:
    """Register what the run's environment is described by; the build log grows in the run's folder."""
    described = run.document["environment"]
    options = ReadingOptions(name=described["name"])
    log = BuildLog(run.build_log, Silent())
    try:
        if described["kind"] == "conda":
            request = request_from_conda(described["source"], settings, options)
        else:
            request = read_request(Path(described["source"]), settings, log, options)
        environment = register(request, settings, log).environment
    except EnvbuildError as error:
        log.log("failed", str(error))
        raise
    finally:
        log.close()
    run.build_log.unlink()  # the environment's own log takes its place: of a known environment it tells more
    known = {"version": environment.version, "image_digest": environment.record["image"]["digest"]}
    update_run(run, environment={**described, **known})
    return environment


def _link(build_log: Path, target: Path) -> None:
    """Show the environment's build log in the run's folder; a log of building it for this run stays."""
    if not build_log.is_file() or target.exists():
        return
    try:
        target.hardlink_to(build_log)
    except OSError:  # another file system
        target.write_bytes(build_log.read_bytes())


def main() -> None:
    """Supervise the run of the folder that is named first, with the settings of the one that is named second; the third
    word is the descriptor of the run's lock, if there is one."""
    folder = Path(sys.argv[1])
    if sys.argv[3]:
        adopt_lock(folder, folder.name, int(sys.argv[3]))
    run = load_folder(folder)
    try:
        os.chdir(sys.argv[2])
        supervise(run, load_settings(), Silent())
    except (EnvbuildError, OSError) as error:
        reason = str(error)
        change_run(run, lambda document: _failed(document, reason))
        sys.exit(f"error: {reason}")
    except KeyboardInterrupt:
        sys.exit(130)


def _failed(document: dict[str, Any], reason: str) -> dict[str, Any]:
    """The record of a run that could not even be begun, unless it says already how the run ended."""
    return document if document["state"] in FINAL else {**document, "state": "Failed", "reason": reason, "ended": now()}


if __name__ == "__main__":
    main()
