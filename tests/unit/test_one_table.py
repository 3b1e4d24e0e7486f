"""The benchmark of tables starts, and its contenders make the same models."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_benchmark_of_tables_runs_small_and_everybody_makes_the_same_models(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.one_table", "--keys", "12", "--rows", "30", "--files", "2"]
    command += ["--rounds", "1", "--cores", "1", "--only", "floor,manyfit,pandas,polars,duckdb", "--timeout", "200"]
    command += ["--scratch", str(tmp_path / "scratch"), "--json", str(tmp_path / "result.json")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads((tmp_path / "result.json").read_text())
    assert {name: line["models"] for name, line in result["lines"].items()} == dict.fromkeys(
        ("floor", "manyfit", "pandas", "polars", "duckdb"), 12
    )
    assert set(result["differences"]) == {"manyfit", "pandas", "polars", "duckdb"}
    assert max(result["differences"].values()) < 1e-9
    assert "× manyfit, cold" in done.stdout
