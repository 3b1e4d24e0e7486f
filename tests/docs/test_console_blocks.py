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
DEFAULT_ENGINE = {"docs/tutorials/first-models.md"}
"""Pages whose runs start worker processes, as a reader's do; the others train in the command's own process."""


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
