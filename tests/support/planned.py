"""A small plan of three keys, none of which is published."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa

from job.config.settings import InputSettings
from job.outcome import SCHEMA
from job.plan.compare import INDEX_COLUMNS, READING, Fingerprints
from job.plan.fingerprint import data_fingerprint
from job.plan.plan import Plan, make
from job.plan.selection import select
from job.registry.row import ROW
from tests.support.listings import listing

NOW = datetime(2026, 11, 23, tzinfo=UTC)
NAMES = ("a.csv", "b.csv", "c.csv")
PRINTS = Fingerprints(recipe="r", environment="e")
DATA = {name[0]: data_fingerprint([(name, 10 + at, f"e{at}")]) for at, name in enumerate(NAMES)}
_COLUMNS = ("key", "data", "recipe", "environment", "digest", "reading")
_FINISHED = pa.schema([SCHEMA.field(name) for name in _COLUMNS])
_PUBLISHED = pa.schema([ROW.field(name) for name in INDEX_COLUMNS])


def planned(*names: str, adopt: tuple[str, ...] = (), published: tuple[str, ...] = ()) -> Plan:
    """A plan of these objects; ``adopt`` are finished by another run, ``published`` are live."""
    like = {"recipe": "r", "environment": "e", "digest": "d", "state": "live", "reading": READING}
    done = [{name: {"key": key, "data": DATA[key], **like}.get(name) for name in _FINISHED.names} for key in adopt]
    live = [{name: {"key": key, "data": DATA[key], **like}.get(name) for name in _PUBLISHED.names} for key in published]
    selected = select(listing(*(names or NAMES)), InputSettings(uri="memory://x"), seed=0)
    index = pa.Table.from_pylist(live, schema=_PUBLISHED)
    finished = pa.Table.from_pylist(done, schema=_FINISHED)
    return make(selected, [index], finished, PRINTS, listed_at=NOW)
