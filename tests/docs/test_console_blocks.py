"""Tutorials and how-to guides show what the commands really print: each console block is run."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.console_pages import agrees, blocks, normal, play, steps
from tests.support.warm_commands import WarmCommands

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page.relative_to(ROOT).as_posix()
    for kind in ("tutorials", "how-to")
    for page in (ROOT / "docs" / kind).rglob("*.md")
)
REASONS = {
    "installs": "what it installs is what the tests run on",
    "needs a cluster": "`make e2e` has one",
    "needs a bucket": "tests of the stores have S3 servers of their own",
    "starts a server": "what it serves has tests of its own: tests/unit/registry/test_service_example.py",
}
"""Why a console block may be left out."""
DEFAULT_ENGINE = {"docs/tutorials/first-models.md"}
"""Pages whose runs start worker processes, as a reader's do; the others train in the command's own process."""
NOT_RUN: dict[str, int] = {
    "docs/how-to/kubernetes.md": 3,
    "docs/how-to/kubernetes/air-gapped.md": 1,
    "docs/how-to/kubernetes/deployer.md": 1,
    "docs/how-to/orchestrators.md": 1,
    "docs/how-to/service.md": 2,
    "docs/tutorials/first-models.md": 1,
    "docs/tutorials/kind.md": 8,
}
"""How many console blocks of a page are not run: one more is a choice, not an accident."""


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def commands() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder, WarmCommands(Path(folder)) as warm:
        yield warm.folder


@pytest.mark.parametrize("page", [page for page in PAGES if any(each.kind == "console" for each in blocks(text(page)))])
def test_a_page_shows_what_its_commands_print(page: str, tmp_path: Path, commands: Path) -> None:
    for each in play(text(page), tmp_path, commands, inline=page not in DEFAULT_ENGINE):
        shown = "\n".join(each.step.shown)
        printed = "\n".join(each.printed)
        assert agrees(each.step.shown, each.printed), f"$ {each.step.command}\n{shown}\n-- prints --\n{printed}"
        assert each.code == 0 or each.told, f"$ {each.step.command}\nends with {each.code}, unsaid\n{printed}"


def test_console_blocks_that_are_not_run_are_counted_and_have_a_reason() -> None:
    left_out = {page: [each.not_run for each in blocks(text(page)) if each.not_run is not None] for page in PAGES}
    assert {page: len(reasons) for page, reasons in left_out.items() if reasons} == NOT_RUN
    assert {reason for reasons in left_out.values() for reason in reasons} <= REASONS.keys()


def test_commands_stand_in_console_blocks() -> None:
    """A block of another kind would not be run, and nobody would notice."""
    assert {each.kind for page in PAGES for each in blocks(text(page))} & {"sh", "bash", "shell"} == set()
    others = {
        each.kind for page in PAGES for each in blocks(text(page)) if each.text.lstrip().startswith(("$ ", "manyfit "))
    }
    assert others <= {"console"}


def test_a_marker_that_is_not_run_stands_before_a_console_block() -> None:
    for page in PAGES:
        marked = [each for each in blocks(text(page)) if each.not_run is not None]
        assert text(page).count("<!-- not run:") == len(marked), page
        assert {each.kind for each in marked} <= {"console"}, page


# -- the comparison itself


def test_times_names_of_runs_and_rates_are_not_compared() -> None:
    assert agrees(
        ["11:00:30 run 20261129T110030-5a130f: 2 planned", "2 trained   (0.6 s, 38 models/s)"],
        ["09:15:01 run 20270101T091501-ffffff: 2 planned", "2 trained   (12.6 s, 0.4 models/s)"],
    )
    assert normal("seconds         0.00049") == "seconds SECONDS"


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        (["2 trained"], ["3 trained"]),
        (["2 trained"], ["2 trained", "1 failed"]),
        (["2 trained", "1 failed"], ["2 trained"]),
        (["a", "...", "c"], ["a", "b"]),
        (["r2 0.8713"], ["r2 0.8714"]),
    ],
)
def test_other_figures_and_other_lines_are_seen(shown: list[str], printed: list[str]) -> None:
    assert not agrees(shown, printed)


def test_three_dots_stand_for_any_number_of_lines() -> None:
    assert agrees(["a", "...", "c"], ["a", "b", "b", "c"])
    assert agrees(["a", "...", "c"], ["a", "c"])


def test_a_command_goes_on_after_a_backslash() -> None:
    [first, second] = steps("$ manyfit run \\\n    -c job.yaml\ndone\n$ echo $?\n0\n")
    assert (first.command, first.shown) == ("manyfit run \\\n    -c job.yaml", ["done"])
    assert (second.command, second.shown) == ("echo $?", ["0"])


def test_what_a_page_does_not_say_is_found(tmp_path: Path, commands: Path) -> None:
    [each] = play("```console\n$ false\n```\n", tmp_path, commands)
    assert (each.code, each.told) == (1, False)
    [first, _] = play("```console\n$ false\n$ echo $?\n1\n```\n", tmp_path, commands)
    assert (first.code, first.told, agrees(first.step.shown, first.printed)) == (1, True, True)
