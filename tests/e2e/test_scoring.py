"""The cluster scores what it trained: each row once, by its key's model, though an executor is lost on the way."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import Future
from typing import Any

import pandas as pd
import pytest
from deltalake import DeltaTable

from tests.e2e.harness import Space
from tests.e2e.scenario_scored import ROWS, SLOPES, UNKNOWN


@pytest.fixture(scope="module")
def scored(begun: dict[str, Future[Any]]) -> Any:
    return begun["scored"].result()


@pytest.fixture(scope="module")
def rows(space: Space, scored: Any) -> pd.DataFrame:
    """The predictions, as another program reads them."""
    known = space.cluster.s3
    options = {
        **{name: known[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")},
        "AWS_ENDPOINT_URL": known["endpoint"],
        "AWS_REGION": known["region"],
        "AWS_ALLOW_HTTP": "true",
    }
    return DeltaTable(f"s3://{space.bucket}/scored-out/predictions", storage_options=options).to_pandas()


def test_an_executor_was_lost_while_predictions_were_made_and_another_took_over(scored: Any) -> None:
    assert scored["state when one was deleted"] == "RUNNING"
    assert len(scored["executors"] - {scored["deleted"]}) >= 2


def test_every_row_is_there_once_and_predicted_by_the_line_of_its_own_key(rows: pd.DataFrame) -> None:
    found = Counter(zip(rows["_key"], rows["x"], strict=True))
    assert found == Counter((key, x) for key in SLOPES for x in range(ROWS))
    expected = rows["_key"].map(SLOPES) * rows["x"]
    assert rows["prediction"].to_numpy() == pytest.approx(expected.to_numpy())


def test_beside_every_row_stands_the_digest_of_the_model_that_is_published(space: Space, rows: pd.DataFrame) -> None:
    uri = f"s3://{space.bucket}/scored-models"
    models = [json.loads(line) for line in space.cluster.manyfit("models", uri, "--json").splitlines()]
    published = {each["key"]: each["digest"] for each in models}
    assert dict(zip(rows["_key"], rows["_model"], strict=True)) == published
    assert set(rows["_models_version"]) == {1}


def test_the_report_and_the_drivers_pod_account_for_every_key_and_row(space: Space, scored: Any) -> None:
    totals = scored["report"]["totals"]
    assert (totals["planned"], totals["scored"], totals["skipped"], totals["failed"]) == (len(SLOPES) + 1, len(SLOPES), 1, 0)  # fmt: skip
    assert totals["rows_read"] == totals["rows_written"] == len(SLOPES) * ROWS
    assert scored["report"]["skips"] == {"no_model": 1}
    assert scored["message"]["totals"] == totals
    assert "0 damaged" in space.cluster.manyfit("verify", f"s3://{space.bucket}/scored-out")


def test_the_driver_told_the_next_system_of_the_version_with_its_own_rights_to_the_store(scored: Any) -> None:
    called = scored["report"]["after_release"]
    assert (called["version"], called["exit_code"]) == (1, 0)
    assert json.loads(called["output"])[0]["version"] == 1


def test_nothing_is_written_to_the_output_of_the_training(space: Space, scored: Any) -> None:
    names = space.objects("scored-models/")
    assert names
    assert not [name for name in names if "/runs/scores-" in name or UNKNOWN in name]


def test_helm_test_of_the_scoring_reads_its_models(space: Space, scored: Any) -> None:
    said = space.cluster.helm("test", "scores", "-n", space.name, "--timeout", "540s")

    assert "Succeeded" in said
    assert "Failed" not in said
