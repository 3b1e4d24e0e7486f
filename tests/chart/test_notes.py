"""What Helm says after an installation: commands that work as they stand."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.chart.rendering import CHART, SCORING, Object, case, cases, minimal, render

LOOKUP = re.compile(r'lookup "sparkoperator\.k8s\.io/v1beta2" "ScheduledSparkApplication" \$n \$name')


def notes(values: Object | Path, folder: Path, live: str = "dict") -> str:
    """The notes; `live` is the schedule that the API server has, as a template's expression.

    ``helm template`` leaves the notes out, and a dry run of an installation asks a cluster: so, in a ConfigMap.
    """
    shutil.copytree(CHART, chart := folder / "manyfit")
    text = (chart / "templates/NOTES.txt").read_text()
    text, found = LOOKUP.subn(live.replace("\\", r"\\"), text)
    assert found == 1
    wrapped = 'kind: ConfigMap\nmetadata: {name: notes}\ndata: {notes: {{ include "notes" . | toJson }}}\n'
    (chart / "templates/notes.yaml").write_text(wrapped + '{{ define "notes" }}' + text + "{{ end }}")
    said: Any = render(values, chart=chart).one("ConfigMap", "notes")["data"]["notes"]
    return str(said)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("minimal", "get sparkapplication nightly"), ("scheduled", "get scheduledsparkapplication nightly")],
)
def test_notes_say_what_to_type_next(name: str, expected: str, tmp_path: Path) -> None:
    text = notes(
        {"job": case(name).document, **({"schedule": {"cron": "0 3 * * *"}} if name == "scheduled" else {})}, tmp_path
    )
    assert expected in text
    assert "helm -n jobs test nightly" in text
    assert "manyfit status s3://models/" in text


@pytest.mark.parametrize("name", sorted(set(cases()) - {"long-name"}))
def test_notes_of_every_case_are_whole(name: str, tmp_path: Path) -> None:
    text = notes(Path(__file__).parent / f"values/{name}.yaml", tmp_path)
    assert "<no value>" not in text
    assert "%!" not in text


def test_commands_name_the_store_that_the_job_writes_to(tmp_path: Path) -> None:
    storage = {"endpoint": "http://in:1", "region": "eu-west-1", "output": {"endpoint": "https://minio.example:9000"}}
    text = notes(minimal({"job": {"storage": storage}}), tmp_path)
    for command in ("status", "models"):
        assert (
            f"manyfit {command} s3://models/gapminder/ --storage.endpoint https://minio.example:9000 --storage.region eu-west-1\n"
            in text
        )


def test_notes_of_a_scoring_name_the_predictions_and_no_models(tmp_path: Path) -> None:
    text = notes(SCORING, tmp_path)
    assert "manyfit status s3://predictions/gapminder/\n" in text
    assert "manyfit history s3://predictions/gapminder/\n" in text
    assert "Delta table s3://predictions/gapminder/predictions." in text
    assert "manyfit models" not in text


def test_a_rerun_is_advised_with_new_defaults_of_the_chart_and_the_users_values(tmp_path: Path) -> None:
    # --reuse-values leaves out what a newer chart has added, and its templates fail
    text = notes(minimal({}), tmp_path)
    assert "--reset-then-reuse-values --set job.run.id=again-1" in text


BEFORE = '(dict "spec" (dict "schedule" "0 1 * * *" "timeZone" "UTC") "status" (dict "nextRun" "2026-11-30T01:00:00Z"))'


@pytest.mark.parametrize(
    ("schedule", "live", "warned"),
    [
        ({"cron": "0 3 * * *", "timeZone": "UTC"}, BEFORE, True),
        ({"cron": "0 1 * * *"}, BEFORE, True),
        ({"cron": "0 1 * * *", "timeZone": "UTC"}, BEFORE, False),
        ({"cron": "0 3 * * *"}, "dict", False),
        ({"cron": "0 3 * * *"}, '(dict "spec" (dict "schedule" "0 1 * * *"))', True),
    ],
)
def test_a_changed_schedule_is_said_to_wait_and_how_it_need_not(
    schedule: Object, live: str, warned: bool, tmp_path: Path
) -> None:
    text = notes(minimal({"schedule": schedule}), tmp_path, live)
    assert ("WARNING: it was" in text) is warned
    assert ("patch scheduledsparkapplication nightly --subresource=status" in text) is warned
    if warned and "nextRun" in live:
        assert (
            '"0 1 * * *" (UTC), and the operator keeps the next time that it has computed from that (2026-11-30T01:00:00Z);'
            in text
        )


@pytest.mark.parametrize(
    ("policy", "words"), [("Forbid", ", one run at a time."), ("Replace", "ending"), ("Allow", '*".')]
)
def test_notes_say_what_happens_to_a_run_that_is_still_going(policy: str, words: str, tmp_path: Path) -> None:
    values = minimal({"schedule": {"cron": "0 3 * * *", "concurrencyPolicy": policy}})
    assert words in notes(values, tmp_path).strip().splitlines()[0]


def test_a_sidecar_is_said_to_hold_the_application_and_what_does_not(tmp_path: Path) -> None:
    text = notes(minimal({"driver": {"sidecars": [{"name": "logs", "image": "logs:1"}]}}), tmp_path)
    assert "counts as running until logs (driver.sidecars) ends" in text
    assert "restartPolicy: Always" in text
