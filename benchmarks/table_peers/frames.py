"""What the contenders share: the table's files, its key and features, and a model that is fitted and written down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import fitting
from benchmarks.workload import Workload

KEY = ["store", "item"]


def files(work: Workload) -> list[str]:
    """The table's files, in the order of names."""
    assert work.folder is not None
    return [f"{work.folder}/{name}" for name in work.names]


def train(work: Workload, key: tuple[Any, ...], rows: Any, output: str) -> None:
    """Fit one key's rows (a pandas frame), and write the model."""
    model = fitting.fit(rows, work.columns, work.estimator)
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{key[0]}-{key[1]}.joblib").write_bytes(fitting.dump(model))
