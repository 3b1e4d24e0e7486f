"""Skips what needs helm or promtool where there is none; in continuous integration that is an error (tests/support/skips.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.built import find_helm, find_promtool

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = {"helm": find_helm() is None, "promtool": find_promtool() is None}
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.chart)
            for name in ("helm", "promtool") if item.path.stem == "test_prometheus" else ("helm",):
                if missing[name]:
                    reason = f"{name} is not there: `make tools` builds it, or name yours by {name.upper()}=PATH"
                    item.add_marker(pytest.mark.skip(reason=reason))
