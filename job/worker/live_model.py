"""The live model of a key, read beside its data where a new one is compared with it. Nothing is unpickled here."""

from __future__ import annotations

from typing import Any

from job.errors import DeniedError, NotFoundError
from job.fit.contest import Champion
from job.keys import model_name
from job.store import Store
from job.worker.operation import Item

_BYTES = "data"


def read(output: Store, item: Item) -> None:
    """Read the live model of an item ahead of its use, if it has one; `taken` returns it.

    Raises
    ------
    StoreError
        The output stayed unreachable. A file that is gone or not handed out is the key's affair: see `Champion`.
    """
    if item.champion is not None and _BYTES not in item.champion:
        item.champion[_BYTES] = _fetched(output, item)


def taken(output: Store, item: Item) -> Champion | None:
    """Return the live model and free it here; None if there is none. Raises as `read`."""
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
