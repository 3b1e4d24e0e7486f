"""Metrics of a run: served while it runs, kept as OpenMetrics at the end, few and without keys."""

from __future__ import annotations

import re
import socket
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from job.config.settings import MetricsSettings
from job.engine.inline import InlineEngine
from job.errors import SetupError
from job.outcome import REASONS
from job.run.metrics import Metrics, families
from job.run.progress import State
from job.run.seen import Seen
from job.store.opening import open_store
from tests.support.folder_job import Job, line
from tests.support.score_job import ScoreJob
from tests.support.series import fullest


def scraped(port: int) -> dict[str, float]:
    """Every series that is served, by its name with its labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    return {_named(sample): sample.value for family in parse_plain(text) for sample in family.samples}


def _named(sample: Any) -> str:
    labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
    return f"{sample.name}{{{labels}}}" if labels else sample.name


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture
def job(tmp_path: Path) -> Job:
    made = Job(tmp_path)
    for number in range(5):
        made.put(f"secret-key-{number}.csv.gz", line(number + 1.0))
    made.put("secret-key-bad.csv.gz", b"no gzip")
    made.overrides = {"metrics": {"enabled": True, "port": free_port(), "linger": 20}, "run": {"max_failed": 1}}
    return made


NOBODY = "nobody scraped the metrics"


def test_a_run_is_scraped_while_it_trains_and_once_more_when_it_has_ended(
    job: Job, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="job")
    port = job.overrides["metrics"]["port"]
    during: list[dict[str, float]] = []

    class Watched(InlineEngine):
        def run(self, *given: Any) -> Any:
            during.append(scraped(port))
            return super().run(*given)

    def until_the_end() -> None:
        while not after.get("manyfit_exit_code{}", after.get("manyfit_run_seconds")):
            after.update(scraped(port))

    after: dict[str, float] = {}
    waiting = threading.Thread(target=until_the_end, daemon=True)

    class Started(Watched):
        def run(self, *given: Any) -> Any:
            found = super().run(*given)
            waiting.start()
            return found

    report = job.run(engine=lambda _: Started())
    waiting.join(30)
    assert report.exit_code == 0
    assert NOBODY not in caplog.text
    assert during[0]["manyfit_phase{manyfit_phase=train}"] == 1
    assert (during[0]["manyfit_partitions_planned"], during[0]["manyfit_partitions_to_train"]) == (6, 6)
    assert (after["manyfit_partitions{status=trained}"], after["manyfit_partitions{status=failed}"]) == (5, 1)
    assert after["manyfit_failures{reason=corrupt_compression}"] == 1
    assert (after["manyfit_fit_seconds_count"], after["manyfit_exit_code"], after["manyfit_published_version"]) == (
        5,
        0,
        1,
    )
    assert after["manyfit_phase{manyfit_phase=ended}"] == 1
    assert after["manyfit_last_success_timestamp_seconds"] > after["manyfit_run_started_timestamp_seconds"]
    with pytest.raises(OSError, match="refused"):
        scraped(port)


def test_the_text_that_a_run_leaves_is_openmetrics_without_a_key_in_it(job: Job) -> None:
    job.overrides["metrics"]["linger"] = None
    report = job.run()
    text = (job.out / "runs" / report.run / "metrics.prom").read_text()
    found = {
        _named(sample): sample.value for family in text_string_to_metric_families(text) for sample in family.samples
    }
    assert found["manyfit_partitions{status=trained}"] == 5
    assert found["manyfit_run_seconds"] == pytest.approx(report.seconds)
    assert text.endswith("# EOF\n")
    assert "secret" not in text


def test_a_scoring_tells_its_keys_as_scored(tmp_path: Path) -> None:
    job = ScoreJob(tmp_path)
    job.trained.run()
    report = job.score(metrics={"enabled": True, "port": free_port(), "linger": None})
    text = (job.out / "runs" / report.run / "metrics.prom").read_text()
    found = {
        _named(sample): sample.value for family in text_string_to_metric_families(text) for sample in family.samples
    }
    assert (found["manyfit_partitions{status=scored}"], found["manyfit_partitions{status=trained}"]) == (4, 0)
    assert found["manyfit_partitions_done"] == 4


def test_there_are_at_most_sixty_series_whatever_fails() -> None:
    samples = [sample for family in families(fullest()) for sample in family.samples]
    assert len(samples) <= 60
    assert {name for sample in samples for name in sample.labels} <= {
        "status",
        "reason",
        "le",
        "manyfit_phase",
        "job_name",
        "version",
    }
    assert sum(sample.value for sample in samples if sample.name == "manyfit_failures") == len(REASONS)


def test_a_run_whose_end_nobody_scrapes_waits_no_longer_than_metrics_linger(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="job")
    seen = Seen(open_store(str(tmp_path)), everything=True)
    with Metrics(MetricsSettings(port=0, linger=0.01), job="j", seen=seen, phase=lambda: "train") as metrics:
        metrics.update(
            State(run="r", phase="training", planned=5, to_train=3, done=1, slowest="k", slowest_seconds=7.0)
        )
        found = scraped(metrics.port)
        metrics.linger()
    assert NOBODY in caplog.text
    assert (found["manyfit_slowest_fit_seconds"], found["manyfit_partitions{status=unchanged}"]) == (7, 2)


def test_a_port_that_is_taken_and_an_extra_that_is_missing_are_told_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Seen(open_store(str(tmp_path)))
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SetupError, match=rf"metrics.port {port} cannot be opened"):
            Metrics(MetricsSettings(port=port), job="j", seen=seen, phase=str)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(SetupError, match="extra `metrics`") as caught:
        Metrics(MetricsSettings(port=0), job="j", seen=seen, phase=str)
    assert re.search(r"manyfit\[metrics\]", caught.value.hint or "")
