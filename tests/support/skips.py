"""A skip because something is missing is an error in continuous integration: a green run would have checked nothing.

`tests/conftest.py` takes the two hooks over. They do nothing unless ``CI`` is set, as ``.ci/run`` does. A skip that is right on
every machine, because the test has no meaning for this case, begins its reason with `DOES_NOT_APPLY`.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

import pytest

DOES_NOT_APPLY = "does not apply: "


def _refuse(report: Any) -> None:
    """Turn the report of a skip into a failure, unless the skip says that the test does not apply."""
    if not report.skipped or hasattr(report, "wasxfail") or os.environ.get("CI", "") in ("", "0", "false"):
        return
    where = report.longrepr
    reason = (where[2] if isinstance(where, tuple) else str(where)).removeprefix("Skipped: ")
    if not reason.startswith(DOES_NOT_APPLY):
        report.outcome = "failed"
        report.longrepr = (
            f"skipped, and CI is set: {reason}\nInstall or build what is missing; "
            f'if this test has no meaning here, begin the reason with "{DOES_NOT_APPLY}"'
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Look at the report of each phase of a test."""
    report = yield
    _refuse(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Look at the report of a collected file, which a module-level skip or ``importorskip`` ends."""
    report = yield
    _refuse(report)
    return report
