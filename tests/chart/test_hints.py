"""A wrong name is refused with the name that was meant; nothing that was right before is refused for it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.chart.rendering import CHART, ROOT, Object, Refused, minimal, render
from tests.support.script import script

hints = script(ROOT / "deploy/helm/hints.py")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"exectuor": {}}, "at '/exectuor': value must be 'did you mean executor?'"),
        ({"executor": {"instance": 3}}, "at '/executor/instance': value must be 'did you mean instances?'"),
        ({"executor": {"workermemory": "1g"}}, "did you mean workerMemory?"),
        ({"networkPolicy": {"apiSever": {}}}, "did you mean apiServer?"),
        ({"job": {"input": {"layuot": "hive"}}}, "at '/job/input/layuot': value must be 'did you mean layout?'"),
        ({"job": {"recipie": {}}}, "did you mean recipe?"),
        ({"imagePullSecrets": ["a"]}, "in this chart: image.pullSecrets"),
        ({"tolerations": []}, "in this chart: pods.tolerations (or driver.tolerations, executor.tolerations)"),
        ({"driver": {"resources": {}}}, "in this chart: driver.cores"),
        ({"image": {"name": "a"}}, "in this chart: image.repository"),
    ],
    ids=str,
)
def test_a_wrong_name_is_refused_with_the_one_that_was_meant(values: Object, expected: str) -> None:
    with pytest.raises(Refused) as refused:
        render(minimal(values))
    assert expected in str(refused.value)


@pytest.mark.parametrize("name", ["executor", "cores", "uri", "topologySpreadConstraints", "aab"])
def test_every_single_slip_is_seen_and_the_name_itself_is_not(name: str) -> None:
    pattern = re.compile(hints.slips(name))
    letters = "abxyz_E"
    slips = {name[:at] + name[at + 1 :] for at in range(len(name))}
    slips |= {
        name[:at] + letter + name[at + more :] for at in range(len(name) + 1) for letter in letters for more in (0, 1)
    }
    slips |= {name[:at] + name[at + 1] + name[at] + name[at + 2 :] for at in range(len(name) - 1)}
    assert [each for each in sorted(slips - {name}) if not pattern.search(each)] == []
    assert not pattern.search(name)
    assert not pattern.search(f"{name}ab")


def test_no_hint_refuses_a_name_that_there_is() -> None:
    tried = 0

    def walk(schema: object) -> None:
        nonlocal tried
        if isinstance(schema, dict):
            properties = schema.get("properties")
            for pattern, told in schema.get("patternProperties", {}).items():
                if str(told.get("const", "")).startswith("did you mean"):
                    tried += 1
                    assert [name for name in properties if re.search(pattern, name)] == []
            for each in schema.values():
                walk(each)
        elif isinstance(schema, list):
            for each in schema:
                walk(each)

    walk(json.loads((CHART / "values.schema.json").read_text()))
    assert tried > 100


def test_other_charts_names_are_in_the_readme_and_lead_to_values_that_there_are() -> None:
    readme = (CHART / "README.md").read_text()
    values = (CHART / "values.yaml").read_text()
    for place, names in hints.HABITS.items():
        for name, ours in names.items():
            assert f"| `{f'{place}.{name}' if place else name}` | {ours} |" in readme
            first = re.match(r"([a-z]\w*)(?:\.(\w+))?", ours)
            if first and first[1] not in ("there", "ui"):
                assert re.search(rf"(?m)^{first[1]}:", values), ours
                assert not first[2] or re.search(rf"(?m)^  {first[2]}:", values), ours


def test_the_chart_stays_small_enough_for_a_release(tmp_path: Path) -> None:
    # Helm keeps the chart, compressed and then as base64, in a Secret for each revision: 1 MiB at most
    import gzip

    assert len(gzip.compress((CHART / "values.schema.json").read_bytes())) < 60_000
