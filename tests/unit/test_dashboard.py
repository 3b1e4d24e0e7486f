"""The Grafana dashboard asks for series that a run has, and nothing on it overlaps."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.series import asked, series

DASHBOARD: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "deploy/grafana/manyfit.json").read_text(encoding="utf-8")
)
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
QUERIES += [each["definition"] for each in DASHBOARD["templating"]["list"] if "definition" in each]


@pytest.mark.parametrize("query", QUERIES)
def test_each_query_names_series_and_labels_that_there_are(query: str) -> None:
    there = series()
    named = asked(query)
    assert named
    assert named <= there.keys()
    ours = {label for name in named for label in there[name]}
    from_the_pod = {"namespace", "pod", "app_kubernetes_io_instance"}
    matched = {label for inside in re.findall(r"\{(.*?)\}", query) for label in re.findall(r"(\w+)=", inside)}
    grouped = {label.strip() for inside in re.findall(r"by \((.*?)\)", query) for label in inside.split(",")}
    assert matched | grouped <= ours | from_the_pod


def test_a_series_that_is_not_there_would_be_noticed() -> None:
    assert asked('max by (pod) (manyfit_gone{namespace="a"}) > manyfit_partitions_planned') == {
        "manyfit_gone",
        "manyfit_partitions_planned",
    }
    assert asked('manyfit_phase{manyfit_phase="train"} == 1') == {"manyfit_phase"}


def test_no_two_panels_lie_over_each_other_and_each_has_its_own_number() -> None:
    def cells(panel: dict[str, Any]) -> set[tuple[int, int]]:
        at = panel["gridPos"]
        return set(itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])))

    panels = DASHBOARD["panels"]
    assert len({each["id"] for each in panels}) == len(panels)
    for one, other in itertools.combinations(panels, 2):
        assert not cells(one) & cells(other), (one["title"], other["title"])
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)
