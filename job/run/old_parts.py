"""Finds parts of predictions that ``gc`` may remove: those that only expired versions or abandoned runs have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from job.registry.history import VersionInfo
from job.registry.predictions import Predictions
from job.score import part
from job.store import LISTING, Store
from job.store.listed import listed


class OldParts:
    """The parts of an output's predictions. The history of versions is read once, when it is made.

    Parameters
    ----------
    store
        The output.
    pins
        Versions whose parts stay at any age.
    """

    def __init__(self, store: Store, pins: Sequence[int] = ()) -> None:
        self._store, self._pins = store, set(pins)
        self._predictions = Predictions(store)
        self._history = self._predictions.history()

    def index_of(self, versions: Iterable[int]) -> dict[int, int]:
        """The versions of the index that belong to versions of the output, each with the latter.

        Raises
        ------
        ConfigurationError
            The output holds predictions, and has no such version.
        """
        return {self._predictions.index_of(each): each for each in versions}

    def unreferenced(
        self,
        kept: Callable[[list[VersionInfo]], set[int]],
        before: datetime,
        runs: Iterable[str],
        references: Iterable[pa.Table],
    ) -> pa.Table:
        """The parts that may be removed.

        Parameters
        ----------
        kept
            Takes the history and returns the numbers of the versions whose parts stay.
        before
            Parts that are younger than this time stay.
        runs
            Ids of the runs of kept versions of the index: the parts of their releases stay, too.
        references
            Tables with a column ``digest``: the parts that unfinished runs have put.

        Returns
        -------
        pyarrow.Table
            With `LISTING`: one row for each part.
        """
        if not self._history:
            return LISTING.empty_table()
        made = set(runs)
        versions = kept(self._history) | self._pins | {each.version for each in self._history if each.run in made}
        needed = {name for version in versions for name in self._predictions.files(version)}
        needed |= {part.path(digest) for table in references for digest in set(table["digest"].to_pylist()) if digest}
        listing = listed(self._store, f"{part.FOLDER}/parts")
        listing = listing.filter(pc.less_equal(listing["modified"], before))
        names = pa.array([f"{part.FOLDER}/{name}" for name in needed], pa.string())
        return listing.filter(pc.invert(pc.is_in(listing["name"], value_set=names)))

    def moved(self) -> bool:
        """Whether a version of the predictions has been committed since this object was made."""
        return (self._predictions.version() or 0) != max((each.version for each in self._history), default=0)

    def lost(self, removed: pa.Table) -> set[str]:
        """Names of removed parts that a version needs which was committed meanwhile, such as a rollback."""
        if not self.moved():
            return set()
        gone = {name.removeprefix(f"{part.FOLDER}/") for name in removed["name"].to_pylist()}
        return {name for name in gone.intersection(self._predictions.files()) if not self._back(name)}

    def _back(self, name: str) -> bool:
        return self._store.head(f"{part.FOLDER}/{name}") is not None
