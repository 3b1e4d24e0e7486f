"""Tests whether a store is safe for the output.

Before the training, the probe writes a few small objects below ``.probe/``, reads them back, tries to create one of
them again, and lets concurrent creators race for others. Models and releases depend on "create only if absent" with
exactly one winner. A store that ignores this condition, or checks it before a separate write, reports no error. The
driver runs the probe once for each run. Its objects are removed, if that is permitted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier
from typing import Literal, TypeVar
from uuid import uuid4

from job.errors import DeniedError, NotFoundError, OutputError, StoreError
from job.store import Store

_Result = TypeVar("_Result")

RACERS = 16
ROUNDS = 2
_SIZE = 256
_WAY_OUT = (
    "Use a store with conditional writes (If-None-Match on PUT), "
    "or declare storage.output.single_writer: true and let only one run at a time write there."
)


@dataclass(frozen=True, kw_only=True)
class Admission:
    """The result of the test of a store."""

    mode: Literal["conditional", "single-writer"]
    """how models and releases are protected against concurrent writers"""
    checks: tuple[str, ...]
    """the passed tests in their order, as short sentences"""
    seconds: float
    """duration of the test"""


def admit(store: Store, *, single_writer: bool = False) -> Admission:
    """Test whether a store has the guarantees that the publication of models needs.

    Parameters
    ----------
    store
        The store of the output.
    single_writer
        Whether the user declares that no other run writes there. Then the race is left out.

    Raises
    ------
    OutputError
        The store cannot be written or read, or lacks a guarantee. The message says which one, the hint what to do.
    """
    started = time.perf_counter()
    probe = store.child(f".probe/{uuid4().hex}")
    checks: list[str] = []
    written: list[str] = []
    try:
        # At the same time, so that a distant store does not take longer. Only the first failure is reported.
        with ThreadPoolExecutor(1 + ROUNDS) as pool:
            alone = pool.submit(_alone, probe, written)
            races = [pool.submit(_race, probe, written, number) for number in range(0 if single_writer else ROUNDS)]
            alone.result()
            checks += ["what is written is read back", "what exists is not overwritten"]
            for race in races:
                race.result()
        if not single_writer:
            checks.append(f"of {RACERS} creators at once exactly one wins, {ROUNDS} times")
    finally:
        if _removed(probe, written):
            checks.append("the probe is removed")
    mode: Literal["conditional", "single-writer"] = "single-writer" if single_writer else "conditional"
    return Admission(mode=mode, checks=tuple(checks), seconds=time.perf_counter() - started)


def _alone(probe: Store, written: list[str]) -> None:
    _read_back(probe, written)
    _not_overwritten(probe)


def _read_back(probe: Store, written: list[str]) -> None:
    body = os.urandom(_SIZE)
    created = _try(lambda: probe.create("written", body))
    written.append("written")
    if not created:
        raise OutputError(f"{probe.uri} says that a new object exists already", hint=_WAY_OUT)
    if bytes(_try(lambda: bytes(probe.get("written")))) != body:
        raise OutputError(f"{probe.uri} does not give back the bytes that were written", hint="This store loses data.")
    info = _try(lambda: probe.head("written"))
    if info is None or info.size != _SIZE:
        raise OutputError(
            f"{probe.uri} does not find an object that was just written",
            hint="A store that answers with an older state cannot hold models.",
        )


def _not_overwritten(probe: Store) -> None:
    before = _try(lambda: bytes(probe.get("written")))
    again = _try(lambda: probe.create("written", os.urandom(_SIZE)))
    if again or _try(lambda: bytes(probe.get("written"))) != before:
        raise OutputError(f"the store of {probe.uri} overwrites an object that was to be created only", hint=_WAY_OUT)


def _race(probe: Store, written: list[str], number: int) -> None:
    name = f"raced-{number}"
    written.append(name)
    bodies = [os.urandom(_SIZE) for _ in range(RACERS)]
    start = Barrier(RACERS)

    def create(racer: int) -> bool:
        start.wait(60)
        return _try(lambda: probe.create(name, bodies[racer]))

    with ThreadPoolExecutor(RACERS) as pool:
        won = list(pool.map(create, range(RACERS)))
    winners = [racer for racer in range(RACERS) if won[racer]]
    if len(winners) != 1:
        raise OutputError(
            f"the store of {probe.uri} let {len(winners)} of {RACERS} concurrent creators of one object win",
            hint=_WAY_OUT,
        )
    if _try(lambda: bytes(probe.get(name))) != bodies[winners[0]]:
        raise OutputError(f"the store of {probe.uri} kept the bytes of a creator that it refused", hint=_WAY_OUT)


def _try(operation: Callable[[], _Result]) -> _Result:
    """Do an operation on the probe. An error of the store becomes an OutputError, with a hint."""
    try:
        return operation()
    except NotFoundError as error:
        raise OutputError(error.message, hint=error.hint or "Was it removed meanwhile?") from error
    except DeniedError as error:
        raise OutputError(
            f"the output cannot be used: {error.message}",
            hint=error.hint or "The run needs to read, write and list there.",
        ) from error
    except StoreError as error:
        hint = (
            error.hint or "Check output.uri: the run makes folders and objects below it, and what is in the way stays."
        )
        raise OutputError(error.message, hint=hint) from error


def _removed(probe: Store, written: list[str]) -> bool:
    # Credentials without the right to delete are good practice: then a few bytes stay, until gc deletes them.
    try:
        probe.delete(written)
    except StoreError:
        return False
    return True
