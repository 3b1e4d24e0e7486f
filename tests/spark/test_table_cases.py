"""Tables as people have them, on Spark: the outcome of one process, and with Spark's own reader that or a documented other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.engines import SPARK
from tests.support.spark_jobs import SharedEngine
from tests.support.table_cases import CASES, agree, outcome

pytestmark = pytest.mark.spark


@pytest.mark.parametrize("name", CASES)
def test_tasks_that_read_a_table_by_themselves_give_the_outcome_of_one_process(
    name: str, spark: Any, tmp_path: Path
) -> None:
    case = CASES[name]
    found = outcome(case, tmp_path, lambda made: SharedEngine(made.settings), SPARK)
    assert agree(found, case.models), found


@pytest.mark.parametrize("name", CASES)
def test_a_table_that_spark_reads_has_the_same_outcome_or_one_that_is_documented(
    name: str, spark: Any, tmp_path: Path
) -> None:
    case = CASES[name]
    found = outcome(case, tmp_path, lambda made: SharedEngine(made.settings), SPARK, {"input": {"reader": "spark"}})
    assert bool(case.why) == (case.by_spark is not None)
    assert agree(found, case.models if case.by_spark is None else case.by_spark), found
