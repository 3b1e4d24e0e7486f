"""Other tools read the table of predictions: each row once, after two releases, new columns and a rollback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.score_job import ScoreJob, of_many_releases

READ = {
    "polars": "pl.read_delta(uri)",
    "pandas": "DeltaTable(uri).to_pandas()",
    "duckdb": "duckdb.sql('SELECT * FROM t').df()",
    "duckdb, parquet": "duckdb.sql(f'SELECT * FROM read_parquet({DeltaTable(uri).file_uris()!r}, union_by_name=true)').df()",
}
"""How each of them reads it."""

# In a process of its own, as a user's: Polars changes the environment when it is imported.
PROGRAM = """
import json, os, sys
import duckdb, polars as pl
from deltalake import DeltaTable

uri = sys.argv[1]
t = DeltaTable(uri).to_pyarrow_dataset()
found = {expression}
frame = found.to_pandas() if hasattr(found, "to_pandas") else found
names = ["_key", "id", "prediction", "late", "_models_version"]
frame = frame[names].astype(object)
print(json.dumps(frame.where(frame.notna(), None).to_dict("records")))
sys.stdout.flush()
os._exit(0)  # deltalake's readers have threads that may abort an interpreter that ends
"""


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> ScoreJob:
    return of_many_releases(tmp_path_factory.mktemp("scored"))


def expected(job: ScoreJob) -> list[dict[str, Any]]:
    names = ["_key", "id", "prediction", "late", "_models_version"]
    table = job.table().select(names)
    assert table.num_rows == 6 + 6 + 3
    assert table["late"].null_count == 12
    return [dict(row) for row in table.to_pylist()]


@pytest.mark.parametrize("tool", sorted(READ))
def test_the_predictions_are_read_row_by_row_as_they_were_written(scored: ScoreJob, tool: str) -> None:
    code = PROGRAM.format(expression=READ[tool])
    uri = str(scored.out / "predictions")

    done = subprocess.run([sys.executable, "-c", code, uri], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert ordered(json.loads(done.stdout)) == ordered(expected(scored))


def ordered(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(found, key=lambda row: str([row[name] for name in ("_key", "id", "late")]))


def test_what_duckdb_says_of_errors_by_key_is_what_the_run_says(tmp_path: Path) -> None:
    job = ScoreJob(tmp_path, keys=3)
    job.trained.run()
    job.score(score={"actual": "y"})
    code = (
        "import duckdb, sys; from deltalake import DeltaTable\n"
        "p, e = (DeltaTable(f'{sys.argv[1]}/{each}').file_uris() for each in ('predictions', 'errors'))\n"
        "print(duckdb.sql(f'SELECT key, n, mae, avg(abs(prediction - y)) AS again FROM read_parquet({p}) AS p '\n"
        "                 f'JOIN read_parquet({e}) AS e ON p._key = e.key AND p._run = e.run GROUP BY ALL').fetchall())"
    )

    done = subprocess.run([sys.executable, "-c", code, str(job.out)], capture_output=True, text=True, check=True)

    found = eval(done.stdout)
    assert sorted(key for key, *_ in found) == ["k0", "k1", "k2"]
    assert all(n == 6 and mae == pytest.approx(again, abs=1e-12) for _, n, mae, again in found)
