"""The paths of a run's files below its output: ``runs/<run id>/...``. No other module spells them. Pure."""

from __future__ import annotations

import hashlib

from job.keys import key_path

LATEST = "runs/latest.json"
"""names the run that began last"""


def folder(run: str) -> str:
    """The folder of a run."""
    return f"runs/{run}/"


def settings(run: str) -> str:
    """The settings, versions and fingerprints of a run: put at its start, it makes the run known to others."""
    return f"runs/{run}/run.json"


def result(run: str) -> str:
    """The result: put last, so a run without one has not finished."""
    return f"runs/{run}/result.json"


def progress(run: str) -> str:
    """How far the run is, written anew every few seconds."""
    return f"runs/{run}/progress.json"


def report(run: str) -> str:
    """The page for a person."""
    return f"runs/{run}/report.html"


def metrics(run: str) -> str:
    """The last metrics as OpenMetrics text."""
    return f"runs/{run}/metrics.prom"


def outcomes(run: str) -> str:
    """The settled outcomes as one parquet file."""
    return f"runs/{run}/outcomes.parquet"


def failure(run: str, key: str) -> str:
    """The log of one failed key."""
    return f"{failures(run)}{key_path(key)}.txt"


def heartbeat(run: str) -> str:
    """The sign of life of a run's driver."""
    return f"runs/{run}/heartbeat.json"


def failures(run: str) -> str:
    """The folder of the logs of failed keys."""
    return f"runs/{run}/failures/"


def begun(run: str, plan: str) -> str:
    """The notice that a driver has begun (`job.run.notice`)."""
    return f"runs/{run}/begun-{plan}.json"


def is_begun(run: str, name: str) -> bool:
    """Whether a name is that of such a notice."""
    return name.startswith(f"runs/{run}/begun-")


def task_list(run: str, plan: str, task: int) -> str:
    """The list of one task."""
    return f"runs/{run}/plan/{plan}/{task:05d}.arrow"


def pieces(run: str, plan: str) -> str:
    """The pieces of a table's files, each with who reads it."""
    return f"runs/{run}/plan/{plan}/pieces.arrow"


def table_keys(run: str, plan: str) -> str:
    """The planned keys of a table, each with its task and its place there."""
    return f"runs/{run}/plan/{plan}/keys.arrow"


def segments(run: str, plan: str = "") -> str:
    """The folder of the outcome segments of a run, or of one of its plans."""
    return f"runs/{run}/segments/{plan}/" if plan else f"runs/{run}/segments/"


def marks(run: str, plan: str) -> str:
    """The folder of the marks that attempts leave before they fit a key."""
    return f"runs/{run}/marks/{plan}/"


def mark(run: str, plan: str, task: int, key: str) -> str:
    """A key's mark, without what is unique to the attempt."""
    return f"{marks(run, plan)}t{task:05d}-{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"


def task_begun(run: str, plan: str, task: int) -> str:
    """The mark that a task has begun."""
    return f"{marks(run, plan)}t{task:05d}-begun-a0"


def released_rows(run: str, plan: str) -> str:
    """Scoring: what a release says of each key, written down before it."""
    return f"runs/{run}/release-{plan}.arrow"


def released_errors(run: str, plan: str) -> str:
    """Scoring: the errors of each key, written down before the release."""
    return f"runs/{run}/errors-{plan}.arrow"
