"""The lines of the table: this job, the floor under it, and everybody else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

FLOOR = "floor"

WATCHED = "manyfit-short"
"""What the guard watches: the cost of each partition, without the page's pictures, which cost a fixed 0.2 s a run."""
DOUBLED = "manyfit-twice"
"""What the guard has to refuse, so that it is known to notice a job that does everything twice."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A line of the table."""

    name: str
    title: str
    module: str
    options: dict[str, Any] = field(default_factory=dict)
    peers: bool = False
    """runs in the peers' environment"""
    quick: bool = False
    """part of ``--quick``"""
    uploads: bool = True
    formats: tuple[str, ...] = ("csv.gz", "parquet")


def _both(name: str, title: str, module: str, batch: str, size: int | None, quick: bool = False) -> list[Entry]:
    """A peer with either client stack."""
    return [
        Entry(
            name=f"{name}-{stack}" + (f"-{size}" if size else ""),
            title=f"{title}, {stack}{' and pandas' if stack == 'boto3' else ' and pyarrow'}, {batch}",
            module=f"benchmarks.peers.{module}",
            options={"stack": stack, "batch": size},
            peers=module != "joblib",
            quick=quick,
        )
        for stack in ("boto3", "obstore")
    ]


def _floor(name: str, title: str, *, quick: bool = False, **options: str) -> Entry:
    return Entry(name=name, title=title, module="benchmarks.floor", options=options, uploads=False, quick=quick)


def _spark(name: str, title: str, module: str, *, quick: bool = False, peers: bool = False) -> Entry:
    return Entry(name=name, title=title, module=f"benchmarks.peers.{module}", quick=quick, peers=peers)


_OURS = "benchmarks.manyfit"

ENTRIES: list[Entry] = [
    _floor("fit", "fit and dump alone", quick=True, part="fit"),
    _floor(FLOOR, "**floor**: decompress, parse, fit, dump", quick=True),
    _floor("floor-pandas", "floor with pandas.read_csv", parser="pandas"),
    _floor("floor-pickle", "floor with pickle instead of joblib.dump", dump="pickle"),
    Entry(name="manyfit", title="**manyfit**, reader direct", module=_OURS, quick=True),
    Entry(
        name=WATCHED,
        title="manyfit, reader direct, `output.report: short`: no pictures, which cost the same for any number of keys",
        module=_OURS,
        options={"output": {"report": "short"}},
    ),
    Entry(
        name=DOUBLED,
        title="manyfit, `output.report: short`, each key read, fitted and packed twice: what the guard has to notice",
        module=_OURS,
        options={"output": {"report": "short"}, "twice": True},
    ),
    Entry(
        name="manyfit-plain",
        title="manyfit, reader direct, `recipe.metrics: []`: no scores, as the peers have none",
        module=_OURS,
        options={"recipe": {"metrics": []}},
    ),
    Entry(name="manyfit-spark", title="manyfit, reader spark", module=_OURS, options={"reader": "spark"}),
    *_both("ray", "Ray", "ray", "1 batch a core", None, quick=True),
    *_both("ray", "Ray", "ray", "batches of 25", 25),
    *_both("joblib", "joblib", "joblib", "1 batch a core", None, quick=True),
    *_both("joblib", "joblib", "joblib", "batches of 25", 25),
    *_both("dask", "Dask", "dask", "1 batch a core", None),
    *_both("dask", "Dask", "dask", "batches of 25", 25),
    _spark("apply", "groupBy().applyInPandas", "apply_in_pandas", quick=True),
    _spark("fugue", "Fugue on Spark, coarse", "fugue", peers=True),
    _spark("article", "the article's way, one file per Spark partition", "article"),
]
