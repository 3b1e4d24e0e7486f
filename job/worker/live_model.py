"""Reads the live model of a key together with its data, for the comparison by the gate. Nothing is unpickled here."""

from __future__ import annotations

from typing import Any

from job.errors import DeniedError, NotFoundError
from job.fit.contest import Champion
from job.keys import model_name
from job.store import Store
from job.worker.operation import Item

_BYTES = "data"


def read(output: Store, item: Item) -> None:
    """Read the live model of an item ahead of its use, if it has one. `taken` returns it later.

    Raises
    ------
    StoreError
        The output stayed unreachable. A missing or denied file does not raise, but concerns only this key (`Champion`).
    """
    if item.champion is not None and _BYTES not in item.champion:
        item.champion[_BYTES] = _fetched(output, item)


def taken(output: Store, item: Item) -> Champion | None:
    """Return the live model, and drop the reference to it here; None if there is none. Raises the errors of `read`."""
    if item.champion is None:
        return None
    read(output, item)
    return Champion(data=item.champion.pop(_BYTES), **item.champion)


def _fetched(output: Store, item: Item) -> Any:
    assert item.champion is not None
    try:
        return output.get(model_name(item.key, item.champion["digest"]))
    except (NotFoundError, DeniedError):
        return None
