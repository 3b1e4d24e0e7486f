"""Skips this folder where there is no helm; in continuous integration that is an error (tests/support/skips.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.built import find_helm

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = find_helm() is None
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.chart)
            if missing:
                reason = "helm is not there: `make tools` builds it, or name yours by HELM=PATH"
                item.add_marker(pytest.mark.skip(reason=reason))
