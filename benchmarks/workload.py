"""What a contender is given: a data set in a bucket, an estimator, cores; and the loop that most peers share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from benchmarks import clients, fitting


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One data set to train on, and with what."""

    bucket: str
    prefix: str
    """folder of the objects, with a slash at its end"""
    names: list[str]
    """object names below the prefix, in the order of names"""
    columns: list[str]
    """features; the target is ``y``"""
    estimator: dict[str, Any]
    format: str
    cores: int
    folder: str | None
    """the same objects as files, for peers that read through Spark without S3 jars"""
    options: dict[str, Any] = field(default_factory=dict)
    """the contender's own: client stack, batch size"""

    def key(self, name: str) -> str:
        """The key of an object."""
        return name.removesuffix("." + self.format)

    def batches(self) -> list[list[str]]:
        """The names in batches of ``options["batch"]``; default one batch a core."""
        size = int(self.options.get("batch") or -(-len(self.names) // self.cores))
        return [self.names[at : at + size] for at in range(0, len(self.names), size)]


class Peer(Protocol):
    """A way to train one model per partition."""

    def __init__(self, work: Workload) -> None:
        """Start what stays up between rounds: a session, a cluster, a pool."""

    def round(self, output: str) -> int:
        """Train and upload everything below ``output`` (a prefix in the bucket); the number of models."""

    def close(self) -> None:
        """Let go of everything."""


def train_batch(work: Workload, names: Sequence[str], output: str) -> int:
    """Read, fit, dump and upload one object after the other, as a loop in anybody's task does."""
    stack = work.options.get("stack", "boto3")
    get, put = clients.client(stack, work.bucket)
    parse = fitting.parse_pandas if stack == "boto3" else fitting.parse_arrow
    for name in names:
        frame = parse(name, get(work.prefix + name))
        model = fitting.fit(frame, work.columns, work.estimator)
        put(f"{output}{work.key(name)}.joblib", fitting.dump(model))
    return len(names)
