"""Which process of ``make test`` plays a test."""

from __future__ import annotations

import pytest

from tests.support.shares import SPARK, assert_shared, share


def test_all_tests_of_the_session_of_spark_are_one_share_and_each_other_file_is_one() -> None:
    contract = "tests/unit/engine/test_contract.py"

    assert share("tests/spark/test_tables.py::test_a") == share(f"{contract}::test_a[spark-SIGTERM]") == SPARK
    assert share(f"{contract}::test_a[local]") == share(f"{contract}::test_b") == contract
    assert share("tests/unit/engine/spark/test_jars.py::test_a[sparks]") == "tests/unit/engine/spark/test_jars.py"


def test_a_test_outside_of_the_share_that_starts_a_session_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_CURRENT_TEST", "tests/unit/plan/test_plan.py::test_a (setup)")

    with pytest.raises(AssertionError, match="move it to tests/spark"):
        assert_shared()
