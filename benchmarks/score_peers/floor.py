"""The floor: bytes in memory, parse, ``joblib.load``, predict on a frame, write parquet to memory; one process."""

from __future__ import annotations

import io
from pathlib import Path

import joblib
import pyarrow as pa

from benchmarks.score_peers import fleet
from benchmarks.workload import Workload

AT_ONCE = 1000
"""keys of a file"""


class Peer:
    """The least that has to be done."""

    def __init__(self, work: Workload) -> None:
        import sklearn.linear_model  # noqa: F401

        self._work = work
        self._data = [
            (name, Path(path).read_bytes()) for name, path in zip(work.names, fleet.data_files(work), strict=True)
        ]
        root = Path(f"{work.folder}/{fleet.MODELS}")
        self._models = {
            each.name.removeprefix("key="): next(each.iterdir()).read_bytes() for each in sorted(root.iterdir())
        }

    def round(self, output: str) -> int:
        """One pass."""
        total, parts = 0, []
        for key, rows in self._rows():
            parts.append(fleet.predicted(key, rows, joblib.load(io.BytesIO(self._models[key]))))
            if len(parts) == AT_ONCE:
                total += fleet.encoded(parts)[0]
                parts = []
        return total + (fleet.encoded(parts)[0] if parts else 0)

    def _rows(self):  # type: ignore[no-untyped-def]
        form = self._work.format
        if not fleet.columns(self._work):
            for name, data in self._data:
                yield name.removesuffix(f".{form}"), fleet.parse(form, data)
            return
        yield from fleet.by_key(pa.concat_tables(fleet.parse(form, data) for _, data in self._data))

    def close(self) -> None:
        """Nothing to end."""
