"""Two versions of a set on the command line, and a challenger published by hand."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from job.cli import main
from job.outcome import champion_token
from job.registry.index import Index, changes
from job.store import open_store
from tests.support.published import at, dumped, line, put


def told(r2: float) -> str:
    return json.dumps({"r2": r2})


@pytest.fixture
def output(tmp_path: Path) -> str:
    """Version 1 has a to d; in version 2 b is another model, c was kept, d failed, e is new; a is as it was."""
    store = open_store(str(tmp_path / "out"), what="output")
    index = Index(store)
    rows = [
        put(store, key, dumped(line(n)), listed_at=at(1), metrics=told(0.5), skill=0.1) for n, key in enumerate("abcd")
    ]
    index.release(changes(rows), run="run-1")
    live = {each["key"]: each for each in rows}
    new = put(store, "c", dumped(line(9.0)))
    kept: dict[str, Any] = {"key": "c", "action": "keep", "listed_at": at(2), "data": "x", "gate": "kept"}
    kept |= {"against": champion_token(live["c"]["digest"], None), "challenger": new["digest"]}
    row = {name: new[name] for name in ("digest", "size", "versions")} | {"finished_at": 1.0, "metrics": told(0.4)}
    kept |= {"challenger_row": json.dumps(row)}
    better = put(store, "b", dumped(line(8.0)), listed_at=at(2), metrics=told(0.75), skill=0.2)
    failed = {"key": "d", "state": "failed", "reason": "fit_error", "message": "m", "listed_at": at(2)}
    fresh = put(store, "e", dumped(line(7.0)), listed_at=at(2), metrics=told(0.9))
    index.release(changes([better, kept, failed, fresh]), run="run-2")
    return store.uri


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main.main(list(arguments)) == 0
    return capsys.readouterr().out


def test_what_changed_and_each_metric_then_and_now(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        json.loads(each) for each in said(capsys, "compare", output, "--at", "2", "--with", "1", "--json").splitlines()
    ]
    assert {each["key"]: each["change"] for each in rows} == {"b": "model", "c": "kept", "d": "state", "e": "new"}
    b = rows[0]
    assert (b["r2_then"], b["r2_now"], b["r2_change"]) == (0.5, 0.75, 0.25)
    assert (b["skill_then"], b["skill_now"]) == (0.1, 0.2)
    assert (rows[3]["r2_then"], rows[3]["r2_now"], rows[3]["state_then"]) == (None, 0.9, None)


def test_the_other_way_round_what_is_new_is_gone(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        json.loads(each) for each in said(capsys, "compare", output, "--at", "1", "--with", "2", "--json").splitlines()
    ]
    assert {each["key"]: each["change"] for each in rows} == {"b": "model", "d": "state", "e": "gone"}
    assert rows[0]["r2_change"] == -0.25


def test_the_version_before_is_what_the_current_one_is_compared_with(
    output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = said(capsys, "compare", output)
    first = text.splitlines()[0]
    assert first == (
        "1 only now; 1 another model; 1 the gate kept the model, and has judged since; "
        "1 the same model in another state; 1 the same model"
    )
    assert "r2: median 0.5 to 0.5; greater for 1 keys, smaller for 0" in text
    assert [each.split()[0] for each in text.splitlines()[-4:]] == ["b", "c", "d", "e"]


def test_as_csv_filtered_and_sorted_with_all_keys(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "compare", output, "--all", "--csv", "--sort", "-r2_change")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [each["key"] for each in rows][:1] == ["b"]
    assert len(rows) == 5
    text = said(capsys, "compare", output, "--all", "--csv", "--where", "r2_change>0")
    assert [each["key"] for each in csv.DictReader(io.StringIO(text))] == ["b"]


@pytest.mark.parametrize("arguments", [["--at", "1"], ["--at", "2", "--with", "0"], ["--with", "9"]])
def test_a_version_that_is_not_there_is_told(
    output: str, arguments: list[str], capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert main.main(["compare", output, *arguments]) == 2


def test_a_challenger_is_promoted_on_the_command_line(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "promote", output, "c") == "1 challenger promoted; version 3\n"
    rows = [
        json.loads(each) for each in said(capsys, "models", output, "--where", "gate=promoted", "--json").splitlines()
    ]
    assert [(each["key"], each["gate_note"], each["r2"]) for each in rows] == [("c", "by hand", 0.4)]
    assert main.main(["promote", output, "a"]) == 2
