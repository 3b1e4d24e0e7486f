"""Notices: a run and a ``gc`` announce themselves to each other, so that ``gc`` removes nothing that the run needs.

There is no lock. Each first says that it is there, then looks for the other; whichever comes second sees the first:

- A run creates ``runs/<id>/begun-<plan>.json``, then looks below ``gc/``. Where a `Removal` is at work it asks it to
  stop, and waits until it has. Only then does it look at what lies in the output.
- A `Removal` puts ``gc/<its id>/removing.json``, then its owner looks at the runs again. Before each slice that is
  removed it looks for ``stop.json``; at its end it creates ``ended.json``.

Both may die at any moment. A run that died leaves its notice, which `past_runs` takes for life within the margin. A
`Removal` that died leaves a notice that runs heed for `LEASE` seconds: one that lives says again that it does well
within that time, and removes nothing once half of it has passed by the store's clock.
"""

from __future__ import annotations

import json
import logging
import math
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Self

from job import run_paths
from job.errors import NotFoundError
from job.store import Store

log = logging.getLogger(__name__)

LEASE = 600.0
"""Seconds for which a notice of a `Removal` is heeded without a sign of life."""
FOLDER = "gc"
HEARD = 120.0
"""A run that has written within these seconds, and has no result, is taken for one that is at work."""
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
        Whose notice it is; a driver that is started again gives one of its own.
    """
    store.create(run_paths.begun(run, plan), b"{}")
    asked: set[str] = set()
    while working := _working(store):
        for each in working:
            if each not in asked:
                log.warning("gc is removing objects from %s: it was asked to stop", store.uri)
                store.create(f"{FOLDER}/{each}/stop.json", json.dumps({"run": run}).encode())
                asked.add(each)
        time.sleep(_PAUSE)


class Others:
    """Warns of another run at work on the same output: both train what neither has finished. Nothing else goes wrong.

    Each looks when it begins, and now and then while it trains, at the run that has begun last; so of two runs at least
    one sees the other.

    Parameters
    ----------
    store
        The output.
    run
        Who looks.
    clock
        Seconds.
    """

    def __init__(self, store: Store, run: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._run, self._clock = store, run, clock
        self._told: set[str] = set()
        self._looked = -math.inf

    def look(self) -> None:
        """Look, if it is time to; a warning once for each other run.

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
        if -HEARD < ago < HEARD:  # a clock may have been ahead
            self._told.add(run)
            log.warning(
                "the run %s is at work on the same output %s, or died just now (its last word was %.0f s ago): while "
                "both run, both train what neither has finished. Two jobs should have two outputs.",
                run,
                self._store.uri,
                max(0.0, ago),
            )


def _working(store: Store) -> list[str]:
    """Those that may be removing now."""
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
    # Nor one whose time lies in the future: a clock was ahead, and nobody shall wait for as long.
    return sorted(which for which in left if now - lease < newest[which] <= now + lease)


class Removal:
    """The notice of a ``gc`` that is about to remove objects; a context manager around all of it.

    Left by an error it does not say that it has ended: a request whose answer was lost may still be carried out, and
    runs that begin wait for `LEASE` seconds then.

    Parameters
    ----------
    store
        The output.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._folder = f"{FOLDER}/{uuid.uuid4().hex[:12]}"
        self._said = store.now()

    def __enter__(self) -> Self:
        self._say()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._store.create(f"{self._folder}/ended.json", b"{}")

    def remove(self, names: Sequence[str]) -> int:
        """Remove objects in slices, until asked to stop; returns how many are gone, the first of ``names``."""
        gone = 0
        for part in _parts(names):
            if not self.may_go_on():
                break
            self._store.delete(part)
            gone += len(part)
        return gone

    def asked_by(self) -> str | None:
        """The run that asked to stop, if one did."""
        try:
            return str(json.loads(bytes(self._store.get(f"{self._folder}/stop.json")))["run"])
        except NotFoundError:
            return None

    def may_go_on(self) -> bool:
        """Whether nobody has asked to stop, and no run may take this for dead."""
        if self._store.head(f"{self._folder}/stop.json") is not None:
            return False
        silent = (self._store.now() - self._said).total_seconds()
        if silent > LEASE / 2:
            # Stopped from outside for so long that a run may have given us up for dead, or may soon.
            return False
        if silent > LEASE / 4:
            self._say()
        return True

    def _say(self) -> None:
        # The clock is read first: what runs go by, the time of the object, is never earlier.
        self._said = self._store.now()
        self._store.put(f"{self._folder}/removing.json", b"{}")


def _parts(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for at in range(0, len(names), _SLICE):
        yield names[at : at + _SLICE]
