"""Alerts and dashboard as Prometheus evaluates them: its own promtool, over series with a known course.

Times are minutes after the beginning, a sample is scraped each minute. Values are in promtool's notation: ``6x9`` is ten
samples of 6, ``0+1x60`` counts up to 60, ``_`` is a scrape without a sample, and ``stale`` is the end of a series.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from job.run.metrics import families
from tests.chart.rendering import ROOT, minimal, render
from tests.support.built import find_promtool
from tests.support.series import fullest

DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/manyfit.json").read_text(encoding="utf-8"))
PANELS = {
    f"{panel['title']}, {at}": target["expr"]
    for panel in DASHBOARD["panels"]
    for at, target in enumerate(panel["targets"])
}
DAY = 24 * 60
DRIVER, FIRED, OTHER = (
    f'namespace="jobs", pod="{name}-driver"' for name in ("nightly", "nightly-1763910000000000000", "weekly")
)
EXECUTOR = 'namespace="jobs", pod="nightly-615164a2266c136a-exec-1"'

Series = dict[str, str]
"""Name and labels to values."""
CASES: dict[str, tuple[str, Series, dict[int, bool]]] = {
    "a run that failed": (
        "ManyfitRunFailed",
        {f'kube_pod_status_phase{{{DRIVER}, phase="Failed"}}': "1x30"},
        {4: False, 6: True},
    ),
    "a firing of the schedule that failed": (
        "ManyfitRunFailed",
        {f'kube_pod_status_phase{{{FIRED}, phase="Failed"}}': "0x5 1x30"},
        {9: False, 12: True},
    ),
    "a driver that the operator starts again": (
        "ManyfitRunFailed",
        {f'kube_pod_status_phase{{{DRIVER}, phase="Failed"}}': "1x3 0x30"},
        {6: False, 20: False},
    ),
    "a run of another release that failed": (
        "ManyfitRunFailed",
        {f'kube_pod_status_phase{{{OTHER}, phase="Failed"}}': "1x30"},
        {20: False},
    ),
    "executors without room": (
        "ManyfitNoExecutor",
        {f'kube_pod_status_phase{{{EXECUTOR}, phase="Pending"}}': "1x30"},
        {14: False, 16: True},
    ),
    "executors that find room": (
        "ManyfitNoExecutor",
        {f'kube_pod_status_phase{{{EXECUTOR}, phase="Pending"}}': "1x10 0x30"},
        {16: False, 30: False},
    ),
    "six of a hundred keys fail": (
        "ManyfitManyFailed",
        {
            f'manyfit_partitions{{{DRIVER}, status="failed"}}': "0x9 6x20",
            f"manyfit_partitions_planned{{{DRIVER}}}": "100x29",
        },
        {9: False, 10: True},
    ),
    "five of a hundred keys fail": (
        "ManyfitManyFailed",
        {
            f'manyfit_partitions{{{DRIVER}, status="failed"}}': "5x29",
            f"manyfit_partitions_planned{{{DRIVER}}}": "100x29",
        },
        {10: False},
    ),
    "a run of a second, scraped once at its end": (
        "ManyfitManyFailed",
        {
            f'manyfit_partitions{{{DRIVER}, status="failed"}}': "_ 60 stale",
            f"manyfit_partitions_planned{{{DRIVER}}}": "_ 100 stale",
        },
        {0: False, 1: True, 30: True, 60: True, 62: False},
    ),
    "a run that stops finishing keys": (
        "ManyfitStuck",
        {
            f'manyfit_phase{{{DRIVER}, manyfit_phase="train"}}': "1x200",
            f"manyfit_partitions_done{{{DRIVER}}}": "0+1x60 60x140",
        },
        {60: False, 88: False, 91: True},
    ),
    "a run that never finishes a key": (
        "ManyfitStuck",
        {
            f'manyfit_phase{{{DRIVER}, manyfit_phase="train"}}': "1x200",
            f"manyfit_partitions_done{{{DRIVER}}}": "0x200",
        },
        {29: False, 31: True},
    ),
    "a run that finishes a key each 20 minutes": (
        "ManyfitStuck",
        {
            f'manyfit_phase{{{DRIVER}, manyfit_phase="train"}}': "1x200",
            f"manyfit_partitions_done{{{DRIVER}}}": "0x19 1x19 2x19 3x19 4x19 5x19",
        },
        {45: False, 70: False, 110: False},
    ),
    "a run that publishes for a long time": (
        "ManyfitStuck",
        {
            f'manyfit_phase{{{DRIVER}, manyfit_phase="train"}}': "1x20 0x200",
            f"manyfit_partitions_done{{{DRIVER}}}": "0+1x20 20x200",
        },
        {100: False},
    ),
    "no run ended well for a day": (
        "ManyfitNoRunEndedWell",
        {
            f"kube_pod_completion_time{{{FIRED}}}": f"60x{2 * DAY}",
            f'kube_pod_status_phase{{{FIRED}, phase="Succeeded"}}': f"1x{2 * DAY}",
        },
        {DAY: False, DAY + 2: True},
    ),
    "a run ended well, and the next one too": (
        "ManyfitNoRunEndedWell",
        {
            f"kube_pod_completion_time{{{FIRED}}}": f"60x{2 * DAY}",
            f'kube_pod_status_phase{{{FIRED}, phase="Succeeded"}}': f"1x{2 * DAY}",
            f"kube_pod_completion_time{{{DRIVER}}}": f"_x1200 72000x{DAY}",
            f'kube_pod_status_phase{{{DRIVER}, phase="Succeeded"}}': f"_x1200 1x{DAY}",
        },
        {DAY + 2: False, DAY + 1202: True},
    ),
    "the next one failed": (
        "ManyfitNoRunEndedWell",
        {
            f"kube_pod_completion_time{{{FIRED}}}": f"60x{2 * DAY}",
            f'kube_pod_status_phase{{{FIRED}, phase="Succeeded"}}': f"1x{2 * DAY}",
            f"kube_pod_completion_time{{{DRIVER}}}": f"_x1200 72000x{DAY}",
            f'kube_pod_status_phase{{{DRIVER}, phase="Succeeded"}}': f"_x1200 0x{DAY}",
        },
        {DAY + 2: True},
    ),
}
"""An alert, the series, and at which minutes it fires."""


def promtool(*arguments: object, text: str | None = None) -> str:
    """Its output; an error with it where it fails."""
    program = find_promtool()
    assert program
    done = subprocess.run([program, *map(str, arguments)], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rules of a release called nightly in the namespace jobs, as a file of Prometheus."""
    rule = {"enabled": True, "noSuccessForHours": 24, "alertLabels": {"severity": "page"}}
    rendered = render(minimal({"metrics": {"enabled": True, "prometheusRule": rule}}))
    file = tmp_path_factory.mktemp("rules") / "rules.yaml"
    file.write_text(yaml.safe_dump(rendered.one("PrometheusRule")["spec"]))
    return file


def evaluated(folder: Path, series: Series, asked: list[dict[str, Any]], *, rules: Path | None = None) -> None:
    """Have promtool evaluate expressions, or alerts, over series: an error says what it got instead."""
    kind = "alert_rule_test" if "alertname" in asked[0] else "promql_expr_test"
    given = [{"series": name, "values": values} for name, values in series.items()]
    test = {"interval": "1m", "input_series": given, kind: asked}
    files = [str(rules)] if rules else []
    (folder / "test.yaml").write_text(
        yaml.safe_dump({"rule_files": files, "evaluation_interval": "1m", "tests": [test]})
    )
    promtool("test", "rules", folder / "test.yaml")


def test_prometheus_takes_the_rules(rules: Path) -> None:
    assert "5 rules found" in promtool("check", "rules", rules)


def test_every_alert_has_a_course_in_which_it_fires_and_one_in_which_it_does_not(rules: Path) -> None:
    alerts = {each["alert"] for group in yaml.safe_load(rules.read_text())["groups"] for each in group["rules"]}
    for fires in (True, False):
        assert {alert for alert, _, at in CASES.values() if fires in at.values()} == alerts


@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires_when_it_should_and_not_before(rules: Path, tmp_path: Path, name: str) -> None:
    alert, series, minutes = CASES[name]
    expr = f'count(ALERTS{{alertname="{alert}", alertstate="firing", severity="page"}}) or vector(0)'
    asked = [
        {"expr": expr, "eval_time": f"{at}m", "exp_samples": [{"labels": "{}", "value": int(fires)}]}
        for at, fires in minutes.items()
    ]
    evaluated(tmp_path, series, asked, rules=rules)


def test_an_alert_names_the_pod_and_what_to_type(rules: Path, tmp_path: Path) -> None:
    said = {
        "summary": "A run of nightly failed",
        "description": "kubectl -n jobs describe pod nightly-driver says why in one line; "
        "its exit code says which kind of failure.",
    }
    labels = {"severity": "page", "namespace": "jobs", "pod": "nightly-driver"}
    asked = {"alertname": "ManyfitRunFailed", "eval_time": "10m"}
    asked |= {"exp_alerts": [{"exp_labels": labels, "exp_annotations": said}]}
    evaluated(tmp_path, CASES["a run that failed"][1], [asked], rules=rules)


def test_the_last_success_of_a_run_of_a_second_is_known_for_two_days(tmp_path: Path) -> None:
    text = (ROOT / "docs/reference/metrics.md").read_text(encoding="utf-8")
    [expr] = re.findall(r"`(max_over_time\(manyfit_last_success_timestamp_seconds\[2d\]\))`", text)
    asked = [
        {"expr": expr, "eval_time": "47h", "exp_samples": [{"labels": "{}", "value": 120}]},
        {"expr": expr, "eval_time": "49h", "exp_samples": []},
    ]
    evaluated(tmp_path, {"manyfit_last_success_timestamp_seconds": "_ 120 stale"}, asked)


def on_dashboard(expr: str) -> str:
    """A panel's query with its variables set."""
    return expr.replace("$namespace", "jobs").replace("$release", "nightly")


@pytest.mark.parametrize("name", PANELS)
def test_every_panel_shows_something_of_a_run_that_is_scraped(name: str, tmp_path: Path) -> None:
    series = {}
    for family in families(fullest()):
        for sample in family.samples:
            labels = {"namespace": "jobs", "pod": "nightly-driver", "app_kubernetes_io_instance": "nightly"}
            listed = ", ".join(f'{key}="{value}"' for key, value in {**sample.labels, **labels}.items())
            series[f"{sample.name}{{{listed}}}"] = f"{sample.value}x10"
    asked = {"expr": f"count({on_dashboard(PANELS[name])}) > bool 0", "eval_time": "10m"}
    evaluated(tmp_path, series, [{**asked, "exp_samples": [{"labels": "{}", "value": 1}]}])
    # and of one that ended long ago nothing, rather than an error
    evaluated(tmp_path, {"up": "1"}, [{**asked, "exp_samples": []}])


def test_the_failed_share_is_that_of_the_last_run_and_not_of_the_worst(tmp_path: Path) -> None:
    [expr] = [each for name, each in PANELS.items() if name.startswith("Failed share of the last run")]
    series = {}
    for pod, begun, failed, values in (("a", 0, 50, "{}x5 stale"), ("b", 600, 3, "_x10 {}x5 stale")):
        labels = f'namespace="jobs", pod="nightly-{pod}-driver", app_kubernetes_io_instance="nightly"'
        series |= {
            f"manyfit_run_started_timestamp_seconds{{{labels}}}": values.format(begun),
            f'manyfit_partitions{{{labels}, status="failed"}}': values.format(failed),
            f"manyfit_partitions_planned{{{labels}}}": values.format(100),
        }
    labels = '{namespace="jobs", app_kubernetes_io_instance="nightly"}'
    asked = [
        {"expr": on_dashboard(expr), "eval_time": f"{at}m", "exp_samples": [{"labels": labels, "value": share}]}
        for at, share in ((8, 0.5), (13, 0.03), (60, 0.03))
    ]
    evaluated(tmp_path, series, asked)


def test_prometheus_takes_the_text_that_the_driver_serves() -> None:
    class Run(Collector):
        def collect(self) -> Any:
            yield from families(fullest())

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Run())
    promtool("check", "metrics", text=generate_latest(registry).decode())
