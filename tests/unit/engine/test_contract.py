"""What a user knows of a run holds with every engine: models, reasons, accounting, signals, what is left of a killed run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from job.cli.main import main
from job.registry.model_set import ModelSet
from job.registry.verify import verify
from job.run.assembly import assemble
from job.run.report import RunReport
from tests.support.engines import (
    EVERY,
    INLINE,
    LOCAL,
    LONG,
    POISON,
    PROCESSES,
    begun,
    below,
    body,
    gone,
    kill,
    manyfit,
    settings,
    trained,
    until,
    write_slow_job,
)


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The sections that name an engine; Spark's session is that of the test process."""
    found: dict[str, Any] = request.param
    if "spark" in found and "driver" not in request.node.name:
        request.getfixturevalue("spark")
    return found


def filled(folder: Path, *names: str) -> None:
    (folder / "in").mkdir()
    for number, name in enumerate(names):
        (folder / "in" / f"{name}.csv.gz").write_bytes(body(number + 1.0))


@pytest.mark.parametrize("engine", EVERY, indirect=True)
def test_every_key_has_its_model_and_the_next_run_trains_nothing(engine: dict[str, Any], tmp_path: Path) -> None:
    filled(tmp_path, *(f"k{number:02d}" for number in range(30)))
    job = settings(tmp_path, engine)

    report = trained(job)

    assert (report.exit_code, report.totals.planned, report.totals.trained) == (0, 30, 30)
    assert (report.fit_seconds > 0, report.peak > 0) == (True, True)
    assert report.workers == (1 if engine is INLINE else 2)
    assert bool(report.spark) == ("spark" in engine)
    models = ModelSet.open(str(tmp_path / "out"))
    assert [models[key].coef_[0] for key in sorted(models)] == pytest.approx([n + 1.0 for n in range(30)], rel=1e-4)
    assert verify(assemble(job).output).damaged == ()
    assert trained(job).totals.unchanged == 30


@pytest.mark.parametrize("engine", EVERY[1:], indirect=True)
def test_models_are_those_of_the_inline_engine_to_the_last_byte(engine: dict[str, Any], tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        filled(tmp_path / name, *(f"k{number:02d}" for number in range(10)))
    trained(settings(tmp_path / "one", INLINE))
    trained(settings(tmp_path / "other", engine))

    one, other = (
        {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).glob("out/models/**/*.joblib")
        }
        for name in ("one", "other")
    )
    assert len(one) == 10
    assert one == other


@pytest.mark.parametrize("engine", EVERY, indirect=True)
def test_a_fit_that_raises_and_data_that_are_damaged_are_named_rows(engine: dict[str, Any], tmp_path: Path) -> None:
    filled(tmp_path, "raises", "good")
    (tmp_path / "recipe.py").write_text(POISON)
    (tmp_path / "in" / "torn.csv.gz").write_bytes(body(1.0)[:-9])
    job = settings(tmp_path, engine, {"recipe": {"function": "recipe.py:fit"}})

    report = trained(job, tmp_path)

    assert (report.exit_code, report.totals.trained, report.totals.failed) == (6, 1, 2)
    assert {each["key"]: each["reason"] for each in report.examples} == {
        "raises": "fit_error",
        "torn": "corrupt_compression",
    }
    assert "RuntimeError" in (tmp_path / f"out/runs/{report.run}/failures/raises.txt").read_text()


@pytest.mark.parametrize("engine", PROCESSES, indirect=True)
def test_a_partition_that_kills_hangs_or_eats_its_worker_is_a_named_row_and_all_others_are_trained(
    engine: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "recipe.py").write_text(POISON)
    poisons = ("exits", "crashes", "hangs", "eats", "raises")
    filled(tmp_path, *poisons, *(f"k{number:02d}" for number in range(20)))
    # Long enough for some hundred MB to be eaten, and for a healthy fit, on a machine that stands still for seconds.
    limits = {"run": {"timeout": "10s", "memory": "700MB", "max_failed": 5}}
    job = settings(tmp_path, engine, limits, {"recipe": {"function": "recipe.py:fit"}})

    report = trained(job, tmp_path)

    assert report.totals.trained == 20
    assert report.exit_code == 0
    assert {each["key"]: each["reason"] for each in report.examples} == {
        "exits": "worker_died",
        "crashes": "worker_died",
        "hangs": "timeout",
        "eats": "memory_limit",
        "raises": "fit_error",
    }
    messages = {each["key"]: each["message"] for each in report.examples}
    assert "exit code 3" in messages["exits"]
    assert "SIGSEGV" in messages["crashes"]
    assert (tmp_path / f"out/runs/{report.run}/failures/raises.txt").read_text().count("RuntimeError") >= 1


@pytest.mark.parametrize("engine", PROCESSES, indirect=True)
def test_a_key_of_a_scattered_table_that_kills_its_worker_is_a_named_row(
    engine: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "recipe.py").write_text(POISON)
    (tmp_path / "in").mkdir()
    keys = ["exits", *(f"k{number:02d}" for number in range(12))]
    for part in range(4):
        rows = [{"key": key, "x": float(x), "y": 2.0 * x} for x in range(part * 5, part * 5 + 5) for key in keys]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in" / f"part-{part}.parquet")
    table = {"input": {"layout": "columns", "key": ["key"]}, "recipe": {"function": "recipe.py:fit"}}
    job = settings(tmp_path, engine, table, {"run": {"max_failed": 1}})

    report = trained(job, tmp_path)

    assert (report.exit_code, report.totals.trained) == (0, 12)
    assert [(each["key"], each["reason"]) for each in report.examples] == [("key=exits", "worker_died")]
    models = ModelSet.open(str(tmp_path / "out"))
    assert [round(float(models[f"key={key}"].coef_[0]), 6) for key in keys[1:]] == [2.0] * 12
    assert {row["rows"] for _, row in models.metrics().iterrows()} == {20}


SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]
TODAY = SIGNALS[int(os.environ.get("CHAOS_SEED", time.strftime("%Y%j"))) % len(SIGNALS)]
"""The signal that a driver with a JVM of its own gets in ``make test``; ``make chaos`` sends the others, too."""


@pytest.mark.parametrize(
    ("engine", "number"),
    [
        pytest.param(
            each.values[0],
            number,
            id=f"{each.id}-{number.name}",
            marks=[*each.marks, *([pytest.mark.chaos] if each.id == "spark" and number is not TODAY else [])],
        )
        for each in PROCESSES
        for number in SIGNALS
    ],
    indirect=["engine"],
)
def test_a_driver_that_is_stopped_or_killed_loses_nothing_that_was_finished_and_leaves_no_process(
    engine: dict[str, Any], tmp_path: Path, number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    job = str(write_slow_job(tmp_path, engine))
    process = begun(tmp_path, 2)
    children = below(process.pid)
    os.kill(process.pid, number)
    _, said = process.communicate(timeout=LONG)

    if number is signal.SIGKILL:
        assert process.returncode == -9
    else:
        assert process.returncode == 128 + number
        assert "finished and kept" in said
        assert "same command again" in said
        assert "Traceback" not in said
    gone(children)
    assert not (tmp_path / "out" / "index" / "_delta_log" / "00000000000000000001.json").exists()

    (tmp_path / "go").touch()
    # Any engine goes on with what another left, and this one starts at once.
    assert main(["run", "-c", job, "--json", "--run.engine", "inline"]) == 0
    report = RunReport.from_json(capsys.readouterr().out)
    assert report.totals.trained == 40
    assert 0 < report.totals.adopted < 40
    assert ModelSet.open(str(tmp_path / "out"))["k07"].coef_[0] == pytest.approx(8.0, abs=1e-4)


def test_workers_of_a_local_driver_that_are_killed_again_and_again_cost_no_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = str(write_slow_job(tmp_path, LOCAL))
    process = begun(tmp_path, 1, "--json")
    for _ in range(2):
        before = fitting(tmp_path)
        kill(min(before))
        until(lambda before=before: fitting(tmp_path) - before or process.poll() is not None)  # type: ignore[misc]
    (tmp_path / "go").touch()
    out, said = process.communicate(timeout=LONG)

    assert process.returncode == 0, said
    report = RunReport.from_json(out)
    assert (report.totals.trained, report.totals.failed) == (40, 0)
    assert main(["run", "-c", job, "--json", "--run.engine", "inline"]) == 0
    assert RunReport.from_json(capsys.readouterr().out).totals.unchanged == 40


def test_a_machine_without_java_runs_everything_and_is_told_in_one_line_what_needs_it(tmp_path: Path) -> None:
    filled(tmp_path, "one", "two")
    (tmp_path / "job.yaml").write_text(
        f"input: {{uri: {tmp_path}/in}}\noutput: {{uri: {tmp_path}/out}}\n"
        "recipe: {features: [x], target: y, estimator: {_target_: sklearn.linear_model.LinearRegression}}\n"
    )
    job, out = str(tmp_path / "job.yaml"), str(tmp_path / "out")
    commands = [
        ["run", "-c", job, "--run.engine", "spark", "--log-format", "text"],
        ["plan", "-c", job],
        ["run", "-c", job],
        ["verify", out],
    ]
    # One process, so that all is imported once.
    program = f"from job.cli.main import main\nprint('codes', [main(each) for each in {commands!r}])"
    environ = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=False)

    assert done.stdout.splitlines()[-1] == "codes [3, 0, 0, 0]", done.stderr
    assert "Traceback" not in done.stderr
    assert "Java was not found" in done.stderr
    assert "run.engine: local needs none" in done.stderr


def fitting(folder: Path) -> set[int]:
    """Processes that have fitted, and live."""
    found = {int(path.name.split("-")[1]) for path in folder.glob("fitted-*")}
    return {pid for pid in found if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE}


def test_a_driver_that_is_killed_in_a_guarded_fit_that_hangs_leaves_no_process(tmp_path: Path) -> None:
    """The child of a worker sees no closed pipe while it fits."""
    filled(tmp_path, "dies")
    (tmp_path / "recipe.py").write_text(
        "import os, time\n"
        "def fit(frame, key):\n"
        f"    first = not os.path.exists('{tmp_path}/begun')\n"
        f"    open('{tmp_path}/' + ('begun' if first else 'hangs-%d' % os.getpid()), 'w').close()\n"
        "    os._exit(1) if first else time.sleep(600)\n"
    )
    (tmp_path / "job.yaml").write_text(
        f"input: {{uri: {tmp_path}/in}}\nrecipe: {{function: 'recipe.py:fit'}}\noutput: {{uri: {tmp_path}/out}}\n"
        "run: {engine: local}\n"
    )
    process = manyfit("run", "-c", str(tmp_path / "job.yaml"))
    until(lambda: bool(list(tmp_path.glob("hangs-*"))))
    (hanging,) = (int(path.name.split("-")[1]) for path in tmp_path.glob("hangs-*"))
    children = below(process.pid)
    assert hanging in children

    kill(process.pid)
    process.communicate(timeout=LONG)

    gone(children)
