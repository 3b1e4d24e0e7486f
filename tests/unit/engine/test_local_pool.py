"""The worker processes of the local engine: each way in which one can end, and that none outlives the driver."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from job.engine import local_pool
from job.engine.admission import Admission
from job.engine.local_pool import MOST_STARTS, Nursery, Pool, Spawned
from job.errors import SetupError, UnreachableError

LIMIT = 120.0
"""Seconds that only a hang takes."""
TASKS = '''
import os, signal, time
from pathlib import Path
from job.errors import InputError, UnreachableError

def echo(task, attempt):
    return task, attempt, os.getpid()

class Ends:
    """Ends its process in the first attempts."""

    def __init__(self, attempts, how):
        self.attempts, self.how = attempts, how

    def __call__(self, task, attempt):
        if attempt < self.attempts and task == 1:
            if self.how == "exit":
                os._exit(3)
            if self.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.how == "system exit":
                raise SystemExit(0)
            if self.how == "unreachable":
                raise UnreachableError("the store is away", hint="wait")
            if self.how == "odd":
                class Odd(Exception):
                    pass
                raise Odd("no class of a module")
        return task, attempt, os.getpid()

class Hangs:
    def __init__(self, folder):
        self.folder = Path(folder)

    def __call__(self, task, attempt):
        (self.folder / f"{os.getpid()}").touch()
        time.sleep(600)

def environment(task, attempt):
    import tempfile, pyarrow
    return os.environ["OMP_NUM_THREADS"], tempfile.gettempdir(), pyarrow.default_memory_pool().backend_name

def says(task, attempt):
    print("a line of a recipe")
    return task, attempt, os.getpid()
'''


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("modules")
    (folder / "tasks_of_a_test.py").write_text(TASKS)
    return folder


@pytest.fixture(scope="module")
def tasks(modules: Path) -> Iterator[Any]:
    """A module that driver and workers find."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(modules))
        import tasks_of_a_test

        yield tasks_of_a_test
        del sys.modules["tasks_of_a_test"]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


WARM = local_pool._START
COLD = f"import sys, types; sys.modules['job.worker.warm'] = types.SimpleNamespace(warm=lambda: None); {WARM}"
"""Starts a process that imports no scikit-learn first: it ends as any other one, and starts in a moment."""


@pytest.fixture(scope="module")
def cold() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_pool, "_START", COLD)
        yield


@pytest.fixture(scope="module", params=[Nursery, Spawned])
def pool(request: pytest.FixtureRequest, tasks: Any, scratch: Path, cold: None) -> Iterator[Callable[[int], Pool]]:
    """A pool whose workers are forked, or are new processes each. One does for all tests, but for those that end it."""
    made: dict[int, Pool] = {}

    def make(workers: int = 1) -> Pool:
        if workers not in made or made[workers]._stopped:
            made[workers] = Pool(workers, lambda: request.param(str(scratch)))
        return made[workers]

    yield make
    for each in made.values():
        each.stop()


def run(pool: Pool, job: Any, tasks: int = 4) -> list[Any]:
    return sorted(pool.run(job, Admission(tasks), attempts=4))


def test_all_tasks_are_run_by_as_many_processes_as_there_are_slots(pool: Callable[..., Pool], tasks: Any) -> None:
    found = run(pool(2), tasks.echo, 20)

    assert [each[:2] for each in found] == [(task, 0) for task in range(20)]
    assert len({pid for *_, pid in found}) == 2


@pytest.mark.parametrize("how", ["exit", "kill", "system exit", "unreachable", "odd"])
def test_a_task_whose_attempts_end_badly_goes_on_in_the_next_one_and_all_others_are_not_touched(
    pool: Callable[..., Pool], tasks: Any, how: str
) -> None:
    found = run(pool(1), tasks.Ends(3, how))

    assert [each[:2] for each in found] == [(0, 0), (1, 3), (2, 0), (3, 0)]


def test_a_worker_that_died_while_it_was_idle_costs_no_attempt(pool: Callable[..., Pool], tasks: Any) -> None:
    made = pool(1)
    ((*_, pid),) = run(made, tasks.echo, 1)
    os.kill(pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=LIMIT)

    assert [each[:2] for each in run(made, tasks.echo, 2)] == [(0, 0), (1, 0)]


def test_workers_that_die_in_every_attempt_end_the_run_as_a_fault_of_the_environment(
    pool: Callable[..., Pool], tasks: Any
) -> None:
    with pytest.raises(SetupError, match="died in every attempt") as caught:
        run(pool(), tasks.Ends(100, "kill"))
    assert "run.workers" in caught.value.hint


def test_what_a_task_raises_in_every_attempt_reaches_the_driver_with_its_hint_and_where_it_was_raised(
    pool: Callable[..., Pool], tasks: Any
) -> None:
    with pytest.raises(UnreachableError, match="the store is away") as caught:
        run(pool(), tasks.Ends(100, "unreachable"))
    assert caught.value.hint == "wait"
    assert "tasks_of_a_test.py" in caught.value.__notes__[0]


def test_an_error_that_cannot_travel_arrives_as_its_text(pool: Callable[..., Pool], tasks: Any) -> None:
    with pytest.raises(RuntimeError, match="Odd: no class of a module"):
        run(pool(), tasks.Ends(100, "odd"))


def test_workers_that_are_killed_because_the_run_is_stopped_are_not_told_to_have_died(
    pool: Callable[..., Pool], tasks: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made, raised = pool(2), []

    def hang() -> None:
        with pytest.raises(SetupError, match="stopped already") as caught:
            run(made, tasks.Hangs(tmp_path))
        raised.append(caught)

    thread = threading.Thread(target=hang)
    with caplog.at_level("INFO", "job.engine.local_pool"):
        thread.start()
        until(lambda: len(list(tmp_path.iterdir())) == 2)
        made.stop()
        thread.join(LIMIT)

    assert raised
    assert not caplog.records


@pytest.mark.parametrize("make", [Nursery, Spawned])
def test_workers_have_one_thread_each_arrows_own_memory_and_their_temporary_files_in_the_scratch_folder(
    tasks: Any, scratch: Path, make: type[Nursery | Spawned], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_pool, "_START", WARM)
    pool = Pool(1, lambda: make(str(scratch)))
    ((threads, folder, memory),) = run(pool, tasks.environment, 1)
    pool.stop()

    assert (threads, folder) == ("1", str(scratch))
    assert memory != "system"


def test_what_a_recipe_prints_goes_to_standard_error(
    pool: Callable[..., Pool], tasks: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    run(pool(), tasks.says, 1)

    assert "a line of a recipe" not in capfd.readouterr().out


def test_processes_that_break_as_soon_as_they_are_made_end_the_run_and_are_not_made_for_ever(tasks: Any) -> None:
    made: list[Nursery] = []

    def make() -> Nursery:
        each = Nursery("/")
        each._process.kill()
        each._process.wait()
        made.append(each)
        return each

    pool = Pool(2, make)
    with pytest.raises(SetupError, match="no worker process can be started"):
        pool.run(tasks.echo, Admission(2), attempts=4)
    assert len(made) == MOST_STARTS
    pool.stop()


@pytest.mark.usefixtures("cold")
def test_a_nursery_that_is_killed_is_made_again_and_its_workers_end_with_it(tasks: Any, tmp_path: Path) -> None:
    made: list[Nursery] = []

    def make() -> Nursery:
        made.append(Nursery(str(tmp_path)))
        return made[-1]

    pool = Pool(2, make)
    before = {pid for *_, pid in run(pool, tasks.echo, 8)}
    made[0]._process.kill()
    gone(before)

    assert {pid for *_, pid in run(pool, tasks.echo, 8)}.isdisjoint(before)
    assert len(made) == 2
    pool.stop()


DRIVER = """
import sys
sys.path.insert(0, {modules!r})
import tasks_of_a_test
from job.engine import local_pool
from job.engine.admission import Admission
from job.engine.local_pool import {make}, Pool

local_pool._START = {cold!r}
pool = Pool(2, lambda: {make}({scratch!r}))
pool.run(tasks_of_a_test.Hangs({folder!r}), Admission(2), attempts=4)
"""


@pytest.mark.parametrize("make", ["Nursery", "Spawned"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_process_and_no_scratch_folder_outlives_a_driver_that_is_killed(
    modules: Path, tmp_path: Path, make: str, number: signal.Signals
) -> None:
    folder, scratch = tmp_path / "began", tmp_path / "scratch"
    folder.mkdir()
    scratch.mkdir()
    program = DRIVER.format(cold=COLD, modules=str(modules), make=make, folder=str(folder), scratch=str(scratch))
    driver = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)])
    until(lambda: len(list(folder.iterdir())) == 2)
    below = {each.pid for each in psutil.Process(driver.pid).children(recursive=True)}
    assert len(below) >= 2

    driver.send_signal(number)
    driver.wait(LIMIT)

    gone(below | {int(each.name) for each in folder.iterdir()})
    assert make == "Spawned" or not scratch.exists()


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def gone(pids: set[int]) -> None:
    """None of the processes is there any more; what waits to be buried is not one."""

    def alive(pid: int) -> bool:
        try:
            return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    until(lambda: not any(alive(pid) for pid in pids))
