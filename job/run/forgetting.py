"""Forget keys: the ``forget`` command. It finds, shows and removes all objects and rows of some keys.

The order of removal makes it safe to stop at any point and to repeat the command:

1. the record that the keys are forgotten;
2. the rows in the tables of predictions and of errors, then in the index: no new reader finds the keys;
3. the outcomes, task lists and results of runs: no run can then adopt an outcome that names a removed model;
4. model files, files of predictions, and logs.

Like ``gc`` it holds a notice while it removes (`job.run.notice`), and it refuses while a run may be at work.
"""

from __future__ import annotations

import html
import io
import json
import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from job.arrow import decode, encode
from job.errors import ConfigurationError
from job.keys import key_path
from job.outcome import REPEATED
from job.registry import forgetting, forgotten
from job.registry.forgetting import Holding
from job.registry.forgotten import Forgotten, rows_of
from job.registry.history import VersionInfo
from job.registry.index import RETIRE, Index, changes
from job.registry.predictions import Predictions
from job.run.notice import Removal
from job.run.past_runs import Runs
from job.store import Store
from job.store.listed import listed

_MODEL = re.compile(r"[0-9a-f]{64}\.joblib")


@dataclass(frozen=True, kw_only=True)
class Traces:
    """Everything that an output holds of some keys: names of objects, and of rows where other keys share an object."""

    keys: tuple[str, ...]
    published: tuple[str, ...]
    """those of the keys that are in the current version of the published table"""
    version: int | None
    """the current version of the published table; None if nothing is published"""
    models: tuple[tuple[str, int], ...]
    """name and size in bytes of the model files of all versions"""
    predictions: tuple[Holding, ...]
    """files of predictions of all versions, and of runs that did not finish"""
    errors: tuple[Holding, ...]
    """files of the table of the predictions' errors"""
    logs: tuple[str, ...]
    """tracebacks, pages and marks; `forget` removes them"""
    tables: tuple[str, ...]
    """outcomes, task lists and results of runs, which hold other keys too; `forget` rewrites them without the keys"""
    settings: tuple[str, ...]
    """settings of runs that name a key; `forget` leaves them"""
    known: tuple[str, ...]
    """keys that were forgotten before"""
    at_work: tuple[str, ...]
    """runs that may be at work"""
    versions: tuple[int | None, int | None]
    """the versions of the published table and of the predictions when the search began"""

    @property
    def empty(self) -> bool:
        """Whether the output holds nothing of the keys that `forget` would remove or rewrite."""
        return not any((self.published, self.models, self.predictions, self.errors, self.logs, self.tables))


@dataclass(frozen=True, kw_only=True)
class Done:
    """The result of `forget`."""

    version: int | None
    """the current version of the published table; None if nothing is published"""
    objects: int
    """number of removed objects"""
    rewritten: int
    """number of objects of runs that were rewritten without the keys"""
    asked: str | None
    """a run that began meanwhile and asked to stop: then not everything is removed; None if there was none"""


def find(store: Store, keys: Iterable[str]) -> Traces:
    """Find everything that an output holds of some keys. It changes nothing.

    Raises
    ------
    ConfigurationError
        The output holds nothing of a key, and the key was not forgotten earlier.
    """
    wanted = tuple(sorted(set(keys)))
    index, versions = Index(store), _versions(store)
    published = set(index.read(columns=["key"], keys=wanted)["key"].to_pylist())
    models = {key: _models(store, key) for key in wanted}
    predictions = forgetting.holding(store, forgetting.PREDICTIONS, wanted)
    predicted = {key for each in predictions for key in each.keys}
    errors = forgetting.holding(store, forgetting.ERRORS_TABLE, wanted)
    runs = _of_runs(store, wanted)
    known = tuple(key for key in wanted if forgotten.of(store, key) is not None)
    unknown = [
        key
        for key in wanted
        if not (key in published or models[key] or key in predicted or key in runs.keys or key in known)
    ]
    if unknown:
        shown = ", ".join(map(repr, unknown[:5])) + (" …" if len(unknown) > 5 else "")
        raise ConfigurationError(
            f"{store.uri} holds nothing of {shown}",
            hint="`manyfit models OUTPUT` lists the published keys; nothing was removed.",
        )
    return Traces(
        keys=wanted,
        published=tuple(sorted(published)),
        version=versions[0],
        models=tuple(each for key in wanted for each in models[key]),
        predictions=tuple(predictions),
        errors=tuple(errors),
        logs=runs.logs,
        tables=runs.tables,
        settings=runs.settings,
        known=known,
        at_work=Runs(store, store.now(), 0.0).alive,
        versions=versions,
    )


def forget(store: Store, traces: Traces, *, sealed: Callable[[int | None], object] = lambda version: None) -> Done:
    """Remove everything that `find` has found.

    Parameters
    ----------
    store
        The output.
    traces
        The result of `find` for the same output.
    sealed
        Called with the new version of the published table, to sign it.

    Raises
    ------
    ConfigurationError
        A run may be at work: it could write the removed objects again. Or one has ended since `find` looked.
    """
    with Removal(store) as removal:
        # Look again after the notice is put: a run that began earlier is seen here, and a run that begins later waits.
        at_work = Runs(store, store.now(), 0.0).alive
        if not at_work and _versions(store) == traces.versions:
            return _forget(store, traces, removal, sealed)
    # Only now, when the notice has ended: else the next run would wait for a removal that never was.
    if not at_work:
        raise ConfigurationError(
            f"{store.uri} has another version than when the search began: nothing was forgotten", hint="Call it again."
        )
    raise ConfigurationError(
        f"the run {at_work[0]} may be at work in {store.uri}: nothing was forgotten",
        hint="Wait until it has ended; one that died counts as at work for 10 minutes.",
    )


def _forget(store: Store, traces: Traces, removal: Removal, sealed: Callable[[int | None], object]) -> Done:
    keys = traces.keys
    before = {key: forgotten.of(store, key) or Forgotten(version=None) for key in keys}
    parts = frozenset(each.name.removeprefix("predictions/") for each in traces.predictions)
    for key in keys:
        forgotten.put(store, key, Forgotten(version=None, parts=before[key].parts | parts))
    run = f"forget-{store.now():%Y%m%dT%H%M%S}-{random.getrandbits(32):08x}"
    forgetting.take_out(store, keys, run=run, going_on=removal.renew)
    version = _unpublish(store, keys, run)
    removal.renew()
    if traces.published:
        sealed(version)
    for key in keys:
        forgotten.put(store, key, Forgotten(version=version, parts=before[key].parts | parts))
    rewritten = sum(removal.may_go_on() and _rewrite(store, name, keys) for name in traces.tables)
    names = [
        *(name for name, _ in traces.models),
        *(each.name for each in (*traces.predictions, *traces.errors)),
        *traces.logs,
    ]
    objects = removal.remove(names) if rewritten == len(traces.tables) else 0
    return Done(version=version, objects=objects, rewritten=rewritten, asked=removal.asked_by())


def make_good(store: Store, newest: VersionInfo) -> None:
    """Finish a ``forget`` that died after its commit of the predictions: remove its keys from the index, too.

    Parameters
    ----------
    store
        The output.
    newest
        The newest commit of the predictions, which is that of the ``forget``.
    """
    index = Index(store)
    if newest.run is None or index.released(newest.run) is not None:
        return
    unfinished = [each for each, record in forgotten.every(store).items() if record.version is None]
    if unfinished:
        keys = index.read(columns=["key"])["key"]
        gone = forgotten.holds(keys, unfinished)
        _unpublish(store, keys.filter(pa.array(gone)).to_pylist(), newest.run)


def _versions(store: Store) -> tuple[int | None, int | None]:
    return Index(store).version(), Predictions(store).version()


def _unpublish(store: Store, keys: Sequence[str], run: str) -> int | None:
    index = Index(store)
    there = index.read(columns=["key"], keys=keys)["key"].to_pylist()
    if not there:
        return index.version()
    now = store.now()
    rows = changes({"key": key, "listed_at": now, "action": RETIRE} for key in sorted(there))
    return index.forget(rows, run=run).version


def _models(store: Store, key: str) -> list[tuple[str, int]]:
    """Name and size of the model files of a key. Its folder also holds those of keys below it (``a/b`` below ``a``),
    which are left out."""
    folder = f"models/{key_path(key)}/"
    listing = listed(store, folder)
    names = zip(listing["name"].to_pylist(), listing["size"].to_pylist(), strict=True)
    return [(name, size) for name, size in names if _MODEL.fullmatch(name.removeprefix(folder))]


@dataclass(frozen=True, kw_only=True)
class _OfRuns:
    """What the folders of runs, and the records of a table's keys, hold of some keys. Fields as in `Traces`."""

    logs: tuple[str, ...]
    tables: tuple[str, ...]
    settings: tuple[str, ...]
    keys: frozenset[str]
    """the keys that were found. A match in a page alone does not count: pages are searched for the key as text"""


def _of_runs(store: Store, keys: Sequence[str]) -> _OfRuns:
    failures = {f"/failures/{key_path(key)}.txt": key for key in keys}
    marks = {forgotten.digest(key): key for key in keys}
    pages = {key: _page_pattern(key) for key in keys}

    def held(name: str) -> set[str]:
        last = name.rpartition("/")[2]
        if "/failures/" in name:
            return {key for path, key in failures.items() if name.endswith(path)}
        if "/marks/" in name:
            return {marks[each] for each in (last.partition("-")[2][:64],) if each in marks}
        if name.endswith((".arrow", ".parquet")):
            table = _table(store, name, ["key"])
            if table is None:
                return set()
            return set(table["key"].cast(pa.string()).filter(pa.array(rows_of(table["key"], keys))).to_pylist())
        if last == "report.html":
            text = bytes(store.get(name)).decode("utf-8", "replace")
            return {key for key in keys if pages[key].search(text)}
        if last in ("run.json", "progress.json", "result.json"):
            return set(keys).intersection(_texts(json.loads(bytes(store.get(name)))))
        return set()

    names = [*listed(store, "runs")["name"].to_pylist(), *listed(store, "keys")["name"].to_pylist()]
    with ThreadPoolExecutor(16) as pool:
        found = [(name, mine) for name, mine in zip(names, pool.map(held, names), strict=True) if mine]
    kinds: dict[str, list[str]] = {"logs": [], "tables": [], "settings": []}
    for name, _ in found:
        last = name.rpartition("/")[2]
        if last == "run.json":
            kinds["settings"].append(name)
        elif last == "result.json" or (name.startswith("runs/") and name.endswith((".arrow", ".parquet"))):
            kinds["tables"].append(name)
        else:
            kinds["logs"].append(name)
    sure = [mine for name, mine in found if not name.endswith(("run.json", "report.html"))]
    lists = {kind: tuple(names) for kind, names in kinds.items()}
    return _OfRuns(**lists, keys=frozenset(key for mine in sure for key in mine))


def _page_pattern(key: str) -> re.Pattern[str]:
    spellings = {key, html.escape(key), json.dumps(key)[1:-1]}
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, sorted(spellings)))})(?!\w)")


def _texts(tree: object) -> Iterator[str]:
    """All strings in a JSON document."""
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, dict | list):
        for each in tree.values() if isinstance(tree, dict) else tree:
            yield from _texts(each)


def _table(store: Store, name: str, columns: list[str] | None = None) -> pa.Table | None:
    """Read a table of a run; None if it has no column with keys."""
    data = store.get(name)
    if name.endswith(".parquet"):
        return pq.ParquetFile(pa.BufferReader(data)).read(columns, use_threads=False)
    table = decode(data)
    if "key" not in table.column_names:
        return None
    return table if columns is None else table.select(columns)


def _rewrite(store: Store, name: str, keys: Sequence[str]) -> bool:
    """Rewrite an object of a run without the keys. Returns True, so that calls can be counted."""
    if name.endswith(".json"):
        told = json.loads(bytes(store.get(name)))
        told["examples"] = [each for each in told.get("examples", ()) if each["key"] not in keys]
        told["superseded"] = [each for each in told.get("superseded", ()) if each not in keys]
        store.put(name, json.dumps(told, ensure_ascii=False, indent=1).encode())
        return True
    table = _table(store, name)
    assert table is not None
    left = table.filter(pa.array(~rows_of(table["key"], keys)))
    if name.endswith(".parquet"):
        sink = io.BytesIO()
        pq.write_table(left, sink, compression="zstd", use_dictionary=list(REPEATED), store_schema=False)
        store.put(name, sink.getvalue())
    else:
        store.put(name, encode(left))
    return True
