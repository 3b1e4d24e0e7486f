"""Notices: a run and a ``gc`` announce themselves to each other, so that ``gc`` removes nothing that the run needs.

There is no lock. Each process first puts its own notice and then looks for the other's, so that the later one always
sees the earlier one:

- A run creates ``runs/<id>/begun-<plan>.json``, then looks below ``gc/``. If a `Removal` is at work, the run asks it to
  stop and waits until it has stopped. Only then does the run read the output.
- A `Removal` puts ``gc/<its id>/removing.json``, then ``gc`` looks at the runs again. Before each slice of objects that
  it removes it looks for ``stop.json``; at its end it creates ``ended.json``.

Both may die at any moment. A run that died leaves its notice: within the margin, `past_runs` counts that run as alive.
A `Removal` that died leaves a notice that runs respect for `LEASE` seconds. A live `Removal` renews its notice well
within that time, and removes nothing once half of that time has passed by the store's clock.
"""

from __future__ import annotations

import json
import logging
import math
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from time import monotonic
from typing import Self

from job import run_paths
from job.errors import NotFoundError, OutputError
from job.store import Store

log = logging.getLogger(__name__)

LEASE = 600.0
"""Seconds for which runs respect the notice of a `Removal` that is not renewed."""
FOLDER = "gc"
HEARD = 120.0
"""Seconds: a run without a result that has written its progress within this time counts as at work."""
_LOOK = 30.0
_SLICE = 1000
_PAUSE = 1.0


def begin(store: Store, run: str, plan: str) -> None:
    """Announce that a run begins; wait until no ``gc`` is removing anything.

    Parameters
    ----------
    store
        The output.
    run, plan
        Ids of the run and of its plan. A driver that is started again makes a new plan, and so a notice of its own.
    """
    store.create(run_paths.begun(run, plan), b"{}")
    asked: set[str] = set()
    while working := _working(store):
        for each in working:
            if each not in asked:
                log.warning(
                    "gc or forget is removing objects from %s: it was asked to stop. If it has died, this run goes on "
                    "within %.0f minutes",
                    store.uri,
                    LEASE / 60,
                )
                store.create(f"{FOLDER}/{each}/stop.json", json.dumps({"run": run}).encode())
                asked.add(each)
        time.sleep(_PAUSE)


class Others:
    """Warns of another run at work on the same output.

    Two runs at once do no damage, but both work on the keys that neither has finished. Each run looks at the run that
    began last: at its own begin, and from time to time while its tasks run. So at least one of two runs sees the other.

    Parameters
    ----------
    store
        The output.
    run
        The id of the run that looks; it does not warn of itself.
    clock
        Returns the time in seconds, for the interval between two looks.
    """

    def __init__(self, store: Store, run: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._run, self._clock = store, run, clock
        self._told: set[str] = set()
        self._looked = -math.inf

    def look(self) -> None:
        """Look for another run, if the last look is long enough ago. Logs one warning for each other run.

        Raises
        ------
        StoreError
            The output cannot be read.
        """
        now = self._clock()
        if now - self._looked < _LOOK:
            return
        self._looked = now
        try:
            run = str(json.loads(bytes(self._store.get("runs/latest.json")))["run"])
        except NotFoundError:
            return
        if run == self._run or run in self._told or self._store.head(run_paths.result(run)) is not None:
            return
        word = self._store.head(run_paths.progress(run))
        if word is None:
            return
        ago = self._store.now().timestamp() - word.modified
        if -HEARD < ago < HEARD:  # negative if a clock was ahead
            self._told.add(run)
            log.warning(
                "the run %s is at work on the same output %s, or died just now (its last word was %.0f s ago): while "
                "both run, both work on what neither has finished. Two jobs should have two outputs.",
                run,
                self._store.uri,
                max(0.0, ago),
            )


def _working(store: Store) -> list[str]:
    """Ids of the `Removal`s that may be at work now, sorted."""
    newest: dict[str, datetime] = {}
    ended = set()
    listing = store.list(FOLDER)
    for name, modified in zip(listing["name"].to_pylist(), listing["modified"].to_pylist(), strict=True):
        _, _, rest = name.partition("/")
        which, _, what = rest.partition("/")
        if what == "removing.json":
            newest[which] = modified
        elif what == "ended.json":
            ended.add(which)
    left = newest.keys() - ended
    if not left:
        return []
    now, lease = store.now(), timedelta(seconds=LEASE)
    # A notice from far in the future does not count either: a clock was ahead, and no run shall wait for that long.
    return sorted(which for which in left if now - lease < newest[which] <= now + lease)


class Removal:
    """The notice of a ``gc`` that removes objects; a context manager around the removal.

    After an error it does not put ``ended.json``: the store may still carry out a request whose answer was lost. Runs
    that begin then wait for `LEASE` seconds.

    Parameters
    ----------
    store
        The output.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._folder = f"{FOLDER}/{uuid.uuid4().hex[:12]}"
        self._said, self._renewed = store.now(), monotonic()

    def __enter__(self) -> Self:
        self._say()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._store.create(f"{self._folder}/ended.json", b"{}")

    def remove(self, names: Sequence[str]) -> int:
        """Remove objects in slices, in the order of ``names``, until a run asks to stop; returns how many are gone."""
        gone = 0
        for part in _parts(names):
            if not self.may_go_on():
                break
            self._store.delete(part)
            gone += len(part)
        return gone

    def asked_by(self) -> str | None:
        """The id of the run that asked to stop; None if none did."""
        try:
            return str(json.loads(bytes(self._store.get(f"{self._folder}/stop.json")))["run"])
        except NotFoundError:
            return None

    def may_go_on(self) -> bool:
        """Whether no run has asked to stop, and the notice is young enough that no run takes this process for dead."""
        if self._store.head(f"{self._folder}/stop.json") is not None:
            return False
        silent = (self._store.now() - self._said).total_seconds()
        if silent > LEASE / 2:
            # The process was suspended for so long that a run may take it for dead now or soon.
            return False
        if silent > LEASE / 4:
            self._say()
        return True

    def renew(self) -> None:
        """Renew the notice if it is time to: in a long step that does not stop, even if a run has asked to.

        Raises
        ------
        OutputError
            The process was suspended for so long that a run may take it for dead.
        """
        if monotonic() - self._renewed < LEASE / 8:
            return
        if (self._store.now() - self._said).total_seconds() > LEASE / 2:
            raise OutputError(
                f"this command stood still for so long that a run may have begun in {self._store.uri}",
                hint="Call it again: it goes on where it was.",
            )
        self._say()

    def _say(self) -> None:
        # The clock is read first, so that the object's own time, which the runs compare, is never earlier.
        self._said, self._renewed = self._store.now(), monotonic()
        self._store.put(f"{self._folder}/removing.json", b"{}")


def _parts(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for at in range(0, len(names), _SLICE):
        yield names[at : at + _SLICE]
