"""The engine that starts before it is known what there is to train, and the archive of classes that it starts with."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from job import engine as engines
from job.config.settings import JobSettings
from job.engine import Borrowed
from job.engine.inline import InlineEngine
from job.engine.spark.archive import ClassArchive
from job.errors import SetupError
from job.run import ahead


class Noted(InlineEngine):
    """An engine that tells when it was stopped."""

    def __init__(self) -> None:
        self.stopped = threading.Event()

    def stop(self) -> None:
        self.stopped.set()


def settings(folder: Path, **spark: Any) -> JobSettings:
    return JobSettings.model_validate(
        {
            "input": {"uri": str(folder / "in")},
            "recipe": {"function": "m:f"},
            "output": {"uri": str(folder / "out"), "report": "short"},
            "spark": spark,
        }
    )


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[JobSettings]:
    """Jobs whose engine was started, with an engine that needs no Java."""
    found: list[JobSettings] = []
    monkeypatch.setattr(engines, "make", lambda job, environ: found.append(job) or Noted())
    return found


def test_the_engine_of_a_first_run_starts_before_it_is_asked_for(tmp_path: Path, started: list[JobSettings]) -> None:
    (tmp_path / "in").mkdir()
    engine = ahead.begin(settings(tmp_path), {})
    assert isinstance(engine.take(), Noted)
    assert len(started) == 1


@pytest.mark.parametrize("why", ["something is published", "inline", "under spark-submit"])
def test_no_engine_starts_ahead_where_nothing_may_be_new(tmp_path: Path, started: list[JobSettings], why: str) -> None:
    if why == "something is published":
        (tmp_path / "out" / "index" / "_delta_log").mkdir(parents=True)
        (tmp_path / "out" / "index" / "_delta_log" / "0.json").write_text("{}")
    job = settings(tmp_path, master="inline") if why == "inline" else settings(tmp_path)
    engine = ahead.begin(job, {"PYSPARK_GATEWAY_PORT": "1"} if why == "under spark-submit" else {})
    engine.stop()
    assert started == []


def test_an_engine_that_was_begun_and_never_needed_stops_and_nobody_waits_for_it() -> None:
    engine, go = Noted(), threading.Event()

    def start() -> Noted:
        go.wait(60)
        return engine

    borrowed = Borrowed(start)
    borrowed.begin()
    borrowed.stop()
    assert not engine.stopped.is_set()
    go.set()
    assert engine.stopped.wait(60)


def test_what_a_start_in_the_background_raises_reaches_who_asks_for_the_engine() -> None:
    def start() -> Noted:
        raise SetupError("no Java")

    borrowed = Borrowed(start)
    borrowed.begin()
    with pytest.raises(SetupError, match="no Java"):
        borrowed.get()


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], ClassArchive]:
    """An archive for a Java and jars that are only files, on a disk with room for it."""
    monkeypatch.setattr("job.engine.spark.archive._ROOM", 0)
    java, jars = tmp_path / "jdk" / "bin" / "java", tmp_path / "jars"
    java.parent.mkdir(parents=True)
    jars.mkdir()
    java.touch()
    (jars / "spark.jar").write_bytes(b"1")

    def second() -> ClassArchive:
        made = ClassArchive(tmp_path / "cache", java=java, jars=jars, options="-Xa")
        made.options()
        return ClassArchive(tmp_path / "cache", java=java, jars=jars, options="-Xa")

    return second


def kept(folder: Path) -> int:
    return sum(not path.name.endswith(".seen") for path in folder.iterdir())


def written(options: str) -> Path:
    return Path(options.partition('-XX:ArchiveClassesAtExit="')[2].partition('"')[0])


def finish(made: ClassArchive, command: list[str]) -> None:
    made.keep(subprocess.Popen(command))
    for thread in threading.enumerate():
        if thread.name == "class archive":
            thread.join()


def test_the_second_session_makes_the_archive_and_the_next_one_uses_it(
    tmp_path: Path, archive: Callable[[], ClassArchive]
) -> None:
    first = archive()
    target = written(first.options())
    finish(first, ["cp", "/proc/self/cmdline", str(target)])
    second = archive()
    assert "-XX:SharedArchiveFile=" in second.options()
    assert not second.making
    assert kept(tmp_path / "cache") == 1


def test_a_python_that_ends_waits_for_the_archive_whichever_thread_asked_for_it(tmp_path: Path) -> None:
    """The engine is stopped by a thread that Python does not wait for; without its name no session finds an archive."""
    program = f"""
import subprocess, threading
from pathlib import Path
from job.engine.spark import archive

archive._ROOM = 0
folder = Path({str(tmp_path)!r})
for _ in range(2):
    made = archive.ClassArchive(folder / "cache", java=folder / "java", jars=folder, options="")
    options = made.options()
target = options.partition('AtExit="')[2].partition('"')[0]
java = subprocess.Popen(["sh", "-c", 'sleep 1; echo classes > "$0"', target])
threads = [threading.Thread(target=made.keep, args=(java,), daemon=True)]
threads[0].start()
threads[0].join()
"""
    subprocess.run([sys.executable, "-c", program], check=True)

    (made,) = (tmp_path / "cache").glob("*.jsa")
    assert made.read_text() == "classes\n"


def test_an_archive_that_was_cut_short_is_never_handed_to_java(
    tmp_path: Path, archive: Callable[[], ClassArchive]
) -> None:
    first = archive()
    written(first.options()).write_bytes(b"classes")
    finish(first, ["true"])
    (made,) = (tmp_path / "cache").glob("*.jsa")
    made.write_bytes(b"class")
    assert "ArchiveClassesAtExit" in archive().options()
    assert not made.exists()


def test_a_session_that_stays_the_only_one_makes_no_archive(tmp_path: Path) -> None:
    java, jars = tmp_path / "jdk" / "bin" / "java", tmp_path / "jars"
    made = ClassArchive(tmp_path / "cache", java=java, jars=jars, options="")
    assert made.options() == ""
    assert not made.making


def test_other_jars_get_an_archive_of_their_own_and_only_the_last_three_stay(
    tmp_path: Path, archive: Callable[[], ClassArchive]
) -> None:
    for number in range(5):
        (tmp_path / "jars" / f"{number}.jar").touch()
        made = archive()
        target = written(made.options())
        finish(made, ["touch", "-d", f"2026-01-0{number + 1}", str(target)])
    assert kept(tmp_path / "cache") == 3
    assert not archive().making


def test_a_session_whose_archive_was_not_written_leaves_nothing(
    tmp_path: Path, archive: Callable[[], ClassArchive]
) -> None:
    first = archive()
    first.options()
    finish(first, ["true"])
    assert kept(tmp_path / "cache") == 0


def test_what_a_killed_process_left_unfinished_is_removed_in_time(
    tmp_path: Path, archive: Callable[[], ClassArchive]
) -> None:
    left = written(archive().options())
    left.touch()
    os.utime(left, (time.time() - 3600,) * 2)
    archive().options()
    assert not left.exists()


def test_a_cache_folder_that_cannot_be_made_means_no_archive(
    tmp_path: Path, archive: Callable[[], ClassArchive]
) -> None:
    (tmp_path / "cache").write_text("a file")
    assert archive().options() == ""


def test_workers_begin_their_imports_before_the_driver_has_imported_what_takes_as_long() -> None:
    program = (
        "import sys, job.cli.main, job.cli.commands, job.run.ahead, job.engine.local\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'pandas', 'scipy', 'sklearn', 'joblib', 'deltalake'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
