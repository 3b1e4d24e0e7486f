"""Re-read every published model and report the damaged ones: the ``verify`` command.

Size and SHA-256 are checked first; only bytes that have the published digest are unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Any

from job.errors import ConfigurationError, DamageError, ForgottenError, PartitionError, StoreError
from job.keys import model_name
from job.registry.index import Index
from job.registry.source import Source, fetch
from job.store import Store

_CHUNK = 10_000


@dataclass(frozen=True, kw_only=True)
class Report:
    """The result of `verify`."""

    version: int
    """the version of the set"""
    checked: int
    """number of models that were re-read"""
    bytes: int
    """sum of their published sizes"""
    damaged: tuple[tuple[str, str], ...]
    """key and problem of each damaged model, sorted by key"""
    forgotten: tuple[str, ...] = ()
    """keys whose models ``manyfit forget`` has removed after this version"""


def verify(
    store: Store,
    *,
    at: int | None = None,
    jobs: int | None = None,
    load: bool = True,
    public_key: bytes | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Check size, digest and loadability of every model of a version, and of the challengers.

    Parameters
    ----------
    store
        The output.
    at
        A version; default the current one.
    jobs
        Number of models that are read at the same time; default four for each core.
    load
        Also unpickle each model.
    public_key
        PEM text: the release must be signed with the matching private key.
    progress
        Called from time to time with the number of checked models and that of all models.

    Raises
    ------
    ConfigurationError
        Nothing has been published, or the version does not exist.
    DamageError
        The release is not signed with the matching private key.
    """
    version = at if at is not None else Index(store).version()
    if version is None:
        raise ConfigurationError(f"nothing has been published at {store.uri}", hint="Give the job's output.uri.")
    source = Source(store, version, public_key=public_key)
    table, kept = source.models(), source.challengers()
    total = table.num_rows + len(kept)
    damaged: list[tuple[str, str]] = []
    gone: list[str] = []
    checked = size = 0
    workers = jobs or 4 * (os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[tuple[str, Future[str | None]]] = deque()

        def settle() -> None:
            key, future = waiting.popleft()
            try:
                problem = future.result()
            except ForgottenError:
                gone.append(key)
                return
            if problem is not None:
                damaged.append((key, problem))

        for row in chain(_rows(table), kept):
            waiting.append((row["key"], pool.submit(_problem, store, row, load, version)))
            checked, size = checked + 1, size + (row["size"] or 0)
            if len(waiting) > 4 * workers:
                settle()
            if progress and checked % 100 == 0:
                progress(checked - len(waiting), total)
        while waiting:
            settle()
    if progress:
        progress(checked, total)
    return Report(
        version=version, checked=checked, bytes=size, damaged=tuple(sorted(damaged)), forgotten=tuple(sorted(gone))
    )


def _rows(table: Any) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(max_chunksize=_CHUNK):
        yield from batch.to_pylist()


def _problem(store: Store, row: dict[str, Any], load: bool, version: int) -> str | None:
    """The problem of one model; None if it has none."""
    key, digest = row["key"], row["digest"]
    try:
        data = fetch(store, key, model_name(key, digest), row["size"], version)
        if hashlib.sha256(data).hexdigest() != digest:
            return "its bytes are not the ones that were published"
        if load:
            from job.fit import artifact

            versions = json.loads(row["versions"]) if row["versions"] else None
            # Other library versions than those of the training are not damage: verify may run on another machine.
            artifact.load(data, digest=digest, versions=versions, allow_version_skew=True)
    except ForgottenError:
        raise
    except (DamageError, PartitionError) as error:
        return error.message
    except StoreError as error:
        return f"cannot be read: {error.message}"
    return None
