"""`ModelSet.predict`, of a frame that is in memory."""

from __future__ import annotations

import pandas as pd

from benchmarks.score_peers import fleet
from benchmarks.workload import Workload


class Peer:
    """One set, opened anew in each round."""

    def __init__(self, work: Workload) -> None:
        from pathlib import Path

        frames = []
        for name, path in zip(work.names, fleet.data_files(work), strict=True):
            frame = fleet.parse(work.format, Path(path).read_bytes()).to_pandas()
            frames.append(frame if fleet.columns(work) else frame.assign(key=name.removesuffix(f".{work.format}")))
        self._frame = pd.concat(frames, ignore_index=True)
        self._uri = f"{work.folder}/models"

    def round(self, output: str) -> int:
        """One call."""
        from job import ModelSet

        return len(ModelSet.open(self._uri).predict(self._frame, key="key"))

    def close(self) -> None:
        """Nothing to end."""
