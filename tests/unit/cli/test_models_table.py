"""The published table on the command line: what is asked as README says is answered, and what cannot be is said."""

from __future__ import annotations

import json
import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from job.cli import main
from job.registry.index import Index, changes
from job.store import open_store
from tests.support.published import at, line, publish


@pytest.fixture(autouse=True)
def _what_the_command_line_sets_ends_with_the_test() -> Iterator[None]:
    root, before = logging.getLogger(), signal.getsignal(signal.SIGTERM)
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def output(tmp_path: Path) -> str:
    """Two models and a key that was skipped."""
    store = open_store(str(tmp_path / "out"), what="output")
    publish(store, {"few": line(1.0)}, rows=5)
    publish(store, {"many": line(2.0)}, rows=30, minute=2)
    row = {"key": "none", "state": "skipped", "reason": "empty", "data": "x", "listed_at": at(3)}
    Index(store).release(changes([row]), run="run-3")
    return store.uri


def test_a_dash_before_the_column_sorts_downwards_as_the_readme_has_it(
    output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["models", output, "--csv", "--sort", "-rows"]) == 0
    assert [each.split(",")[0] for each in capsys.readouterr().out.splitlines()] == ["key", "many", "few", "none"]


def test_counts_are_whole_numbers_though_one_is_missing(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["models", output, "--json"]) == 0
    found = {each["key"]: each["rows"] for each in map(json.loads, capsys.readouterr().out.splitlines())}
    assert json.dumps(found) == '{"few": 5, "many": 30, "none": null}'
    assert main.main(["models", output, "--json", "--where", "rows<10"]) == 0
    assert [json.loads(each)["key"] for each in capsys.readouterr().out.splitlines()] == ["few"]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["models", "OUTPUT", "--where", "trained_at>yesterday"], "trained_at is a time"),
        (["show", "OUTPUT", "mani"], "Is 'many' meant?"),
        (["history", "OUTPUT/elsewhere"], "nothing is published"),
    ],
)
def test_what_cannot_be_answered_is_said_and_ends_with_2(
    output: str, capsys: pytest.CaptureFixture[str], command: list[str], said: str
) -> None:
    assert main.main([each.replace("OUTPUT", output) for each in command]) == 2
    assert said in capsys.readouterr().err


def test_history_says_to_which_version_a_rollback_went(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["rollback", output, "1"]) == 0
    capsys.readouterr()

    assert main.main(["history", output]) == 0
    assert "rollback to 1" in capsys.readouterr().out
