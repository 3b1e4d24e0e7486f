"""The page: self-contained, quiet in a browser, readable, small, and every number with a command that prints it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import altair
import pytest

import job
from job.cli.main import main
from job.cli.parser import parser
from job.page import bins, build, charts, facts, render, svg
from job.page.facts import Facts
from job.page.section import Section
from job.store.opening import open_store
from tests.support import browser, fleets

PACKAGE = Path(job.__file__).parent / "page"


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fleet")
    fleets.publish(open_store(str(folder)), 142, runs=4, workers=3, failing=0.08, job="<b>demand</b> & more")
    return folder


@pytest.fixture(scope="module")
def made(output: Path) -> tuple[Facts, list[Section]]:
    found = facts.read(open_store(str(output)))
    return found, build.sections(found)


@pytest.fixture(scope="module")
def html(made: tuple[Facts, list[Section]]) -> str:
    return render.page(*made)


def test_every_question_of_a_fleet_with_a_past_has_its_section(made: tuple[Facts, list[Section]]) -> None:
    assert [each.name for each in made[1]] == ["night", "models", "changes", "failures", "time", "age"]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_browser_opens_it_without_a_word_and_asks_for_nothing_else(html: str, tmp_path: Path, dark: bool) -> None:
    page = tmp_path / "report.html"
    page.write_text(html, encoding="utf-8")
    looked = browser.look(page, dark=dark)
    assert looked.console == []
    assert looked.requests == ["/report.html"]


def test_what_a_page_asked_for_would_be_seen(html: str, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(html.replace("<main>", "<main><img src='http://example.invalid/a.png' alt=''>"), encoding="utf-8")
    assert "Content Security Policy" in browser.look(page).console[0]


def test_names_from_the_users_data_are_text_and_no_markup(html: str) -> None:
    assert "&lt;b&gt;demand&lt;/b&gt; &amp; more" in html
    assert "<b>demand" not in html
    assert "<script" not in html


def test_names_that_no_picture_can_hold_are_written_as_escapes(tmp_path: Path) -> None:
    # vl-convert ended the process at the first of them
    named = [f"shop {at}\x07\x1b[31m\u202e\n" for at in range(30)] + ["\x00", "\uffff", "É 日本"]
    store = open_store(str(tmp_path))
    fleets.publish(store, len(named), runs=2, failing=0.3, allowed=1, model_names=named)
    found = facts.read(store)
    text = render.page(found, build.sections(found))
    assert re.search(r"<title>shop \d+\\x07\\x1b\[31m\\u202e\\n: ", text), "on hover"
    assert re.search(r"<td>shop \d+\\x07\\x1b\[31m\\u202e\\n</td>", text), "in a table"
    assert "É 日本" in text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\uffff]", text)
    spec = charts.bars([{"name": "a\x07", "number": 1, "said": "b\x00"}], label="name", number="number", title="t\x1b")
    assert "a\\x07" in svg.draw(spec, "said")


@pytest.mark.parametrize("log", [False, True], ids=["linear", "log"])
def test_the_bars_of_a_histogram_stand_on_the_axis(log: bool) -> None:
    values = [
        {"begin": low, "end": 2 * low, "keys": keys, "said": f"bin {keys}"}
        for low, keys in ((1, 10), (2, 40), (4, 20), (8, 5))
    ]
    drawn = svg.draw(charts.histogram(values, title="seconds", log=log), "said")
    shapes = re.findall(r'<path d="M[-\d.]+,([-\d.]+)h[-\d.]+v([-\d.]+)h[^>]*>(?=<title>bin)', drawn)
    assert len(shapes) == len(values), drawn
    ground = {round(float(top) + float(height)) for top, height in shapes}
    assert len(ground) == 1, "all end at the axis"
    heights = [abs(float(height)) for _, height in shapes]
    assert heights == pytest.approx(
        [10 * heights[3] / 5, 40 * heights[3] / 5, 20 * heights[3] / 5, heights[3]], rel=0.05
    )


def test_it_is_printed_on_a_few_pages(html: str, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(html, encoding="utf-8")
    assert 3 <= browser.printed(page) <= 10


def test_each_picture_has_its_numbers_in_a_table_and_a_text_for_who_cannot_see_it(
    made: tuple[Facts, list[Section]], html: str
) -> None:
    pictures = sum(len(each.pictures) for each in made[1])
    assert pictures > 10
    assert html.count("<figure") == html.count("<svg ") == html.count('role="img" aria-label="') == pictures
    assert html.count("<details>") == pictures


def test_marks_say_their_names_on_hover(made: tuple[Facts, list[Section]], html: str) -> None:
    worst = next(grid for grid in build.grids(made[1]) if grid.name == "worst.r2").rows[0][0]
    assert re.search(rf"<circle [^>]*><title>{re.escape(worst)}: r2 [^<]*rows</title>", html)


def test_every_picture_is_valid_vega_lite(made: tuple[Facts, list[Section]]) -> None:
    for section in made[1]:
        for picture in section.pictures:
            kind = altair.LayerChart if "layer" in picture.spec else altair.Chart
            kind.from_dict(dict(picture.spec))  # raises where the schema does not allow it


def test_the_command_beside_each_table_is_one_that_manyfit_takes(made: tuple[Facts, list[Section]], html: str) -> None:
    import html as escapes
    import shlex

    commands = {escapes.unescape(each) for each in re.findall(r'class="command"><code>(.*?)</code>', html)}
    assert len(commands) > 15
    for each in commands:
        words = shlex.split(each)
        assert words[0] == "manyfit"
        parser().parse_args(words[1:])


def test_the_command_prints_the_numbers_of_the_page(
    made: tuple[Facts, list[Section]], output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for grid in build.grids(made[1]):
        if grid.command:
            continue
        assert main(["report", str(output), "--run", made[0].run, "--against", "3", "--table", grid.name]) == 0
        printed = capsys.readouterr().out.splitlines()
        assert len(printed) == len(grid.rows) + 1
        assert printed[0].split(",")[0] == grid.columns[0].name


def test_the_worst_models_are_those_that_the_command_beside_them_lists(
    made: tuple[Facts, list[Section]], capsys: pytest.CaptureFixture[str]
) -> None:
    import shlex

    grid = next(each for each in build.grids(made[1]) if each.name == "worst.r2")
    assert main([*shlex.split(grid.command)[1:], "--json"]) == 0
    listed = [json.loads(line)["key"] for line in capsys.readouterr().out.splitlines()]
    assert listed == [row[0] for row in grid.rows]


def _luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = "".join(each * 2 for each in digits) if len(digits) == 3 else digits
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's contrast ratio."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_texts_and_marks_stand_out_from_what_is_behind_them(scheme: int) -> None:
    css = (PACKAGE / "page.css").read_text(encoding="utf-8")
    colours: dict[str, str] = dict(re.findall(r"--(\w+):(#[0-9a-f]+)", css.split(":root{")[1 + scheme].split("}")[0]))
    for behind in ("card", "page"):
        for text in ("ink", "soft", "good", "bad"):
            assert contrast(colours[text], colours[behind]) >= 4.5, (text, behind)
    assert contrast(colours["soft"], colours["code"]) >= 4.5
    marks = [
        name for name in colours if name.startswith("series") or name in ("trained", "unchanged", "skipped", "failed")
    ]
    assert len(marks) == 11
    weak = {name: round(contrast(colours[name], colours["card"]), 2) for name in marks}
    assert [name for name, ratio in weak.items() if ratio < (2.0 if name == "series2" else 3.0)] == [], weak


def test_as_many_dots_as_are_drawn_one_by_one_twice_are_below_two_megabytes(tmp_path: Path) -> None:
    fleets.publish(open_store(str(tmp_path)), bins.BINNED_ABOVE, runs=2, workers=20)
    found = facts.read(open_store(str(tmp_path)))
    text = render.page(found, build.sections(found))
    assert text.count("<circle") > 1.8 * bins.BINNED_ABOVE
    assert len(text.encode()) < 2_000_000


def test_without_the_extra_the_tables_are_there_and_the_page_says_what_to_install(
    output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "vl_convert", None)
    document: dict[str, Any]
    assert main(["report", str(output), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["tables"]["accounting"][0]["status"] == "trained"
    assert main(["report", str(output), "--out", str(tmp_path / "page.html")]) == 3
    assert "manyfit[report]" in capsys.readouterr().err
