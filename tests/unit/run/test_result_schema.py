"""``result.json`` is what its published schema says, in whole and as a termination message of at most 4,000 bytes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from job.cli import termination
from job.cli.main import main
from job.run.report import RunReport, Totals
from tests.support.folder_job import Job, line
from tests.support.score_job import ScoreJob

SCHEMA: dict[str, Any] = json.loads(
    (Path(__file__).parents[3] / "docs/reference/schemas/result.v1.json").read_text(encoding="utf-8")
)
LONGEST = RunReport(
    run="r" * 128, job="j" * 200, output="s3://models/" + "o" * 500, exit_code=6,
    totals=Totals(planned=2_000_000, trained=1, unchanged=0, skipped=0, failed=1_999_999), version=7, published=True,
    started_at="2026-11-01T00:00:00.123456+00:00", finished_at="2026-11-01T00:00:00.123456+00:00", seconds=1.0,
    phases={"train": 1.0}, failures={f"reason_{at}": 10**6 for at in range(40)}, skips={"empty": 3},
    examples=tuple({"key": "ключ" * 60, "reason": "fit_error", "message": "m" * 300} for _ in range(20)),
    superseded=tuple("k" * 200 for _ in range(1000)), spark={"tasks": 5}, coverage={"80": (4, 5)}, gate={"kept": 1},
)  # fmt: skip


def check(text: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(text)
    jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker()).validate(document)
    return document


def test_the_schema_is_one_and_has_the_fields_that_a_result_has() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    properties = SCHEMA["properties"]
    assert properties.keys() == {each.name for each in dataclasses.fields(RunReport)}
    assert properties["totals"]["properties"].keys() == {each.name for each in dataclasses.fields(Totals)}
    needed = {each.name for each in dataclasses.fields(RunReport) if each.default is each.default_factory}
    assert needed <= set(SCHEMA["required"])


def test_what_a_run_leaves_is_what_the_schema_says(tmp_path: Path) -> None:
    job = Job(tmp_path)
    job.put("a.csv.gz", line(1.0))
    job.put("b.csv.gz", b"no gzip")
    report = job.run()
    document = check((job.out / "runs" / report.run / "result.json").read_text(encoding="utf-8"))
    assert (document["exit_code"], document["failures"]) == (6, {"corrupt_compression": 1})
    check(LONGEST.to_json())
    with pytest.raises(jsonschema.ValidationError):
        check(LONGEST.to_json().replace('"format": 1', '"format": 2'))


def test_the_short_result_fits_says_the_version_and_the_counts_and_is_of_the_same_schema() -> None:
    for most in (termination.MOST, 2500):
        text = LONGEST.short(most)
        assert len(text.encode()) <= most
        document = check(text)
        assert (document["version"], document["totals"]["failed"]) == (7, 1_999_999)
    assert "examples" in json.loads(
        dataclasses.replace(LONGEST, superseded=(), examples=LONGEST.examples[:2]).short(4000)
    )
    with pytest.raises(ValueError, match="100 bytes"):
        LONGEST.short(100)


def test_a_result_of_a_newer_version_and_one_of_the_first_are_read() -> None:
    state = json.loads(LONGEST.to_json())
    state["later"], state["totals"]["later"] = 1, 2
    assert RunReport.from_json(json.dumps(state)) == dataclasses.replace(LONGEST, coverage={"80": [4, 5]})  # type: ignore[dict-item]
    for name in ("format", "coverage", "skilled", "unskilled"):
        del state[name]
    assert RunReport.from_json(json.dumps(state)).format == 1


def test_a_container_that_ends_says_the_result_or_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "termination-log"
    log.write_bytes(b"")
    monkeypatch.setattr(termination, "_LOG", str(log))
    job = Job(tmp_path)
    job.put("a.csv.gz", line(1.0))
    document = job.settings().model_dump(mode="json", exclude_defaults=True, by_alias=True)
    assert main(["run", "--document", json.dumps(document)]) == 0
    assert check(log.read_text(encoding="utf-8"))["version"] == 1
    assert main(["run", "--document", json.dumps({**document, "input": {"uri": str(tmp_path / "none")}})]) == 2
    assert "belongs to another job" in log.read_text(encoding="utf-8")


def test_the_container_of_a_scoring_says_its_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "termination-log"
    log.write_bytes(b"")
    monkeypatch.setattr(termination, "_LOG", str(log))
    job = ScoreJob(tmp_path)
    job.trained.run()
    document = job.assembly().settings.model_dump(mode="json", exclude_defaults=True, by_alias=True)
    assert main(["score", "--document", json.dumps(document)]) == 0
    assert check(log.read_text(encoding="utf-8"))["totals"]["scored"] == 4
