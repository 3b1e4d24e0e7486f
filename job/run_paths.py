"""The paths of a run's files below its output: ``runs/<run id>/...``. Only this module defines them. Pure."""

from __future__ import annotations

import hashlib

from job.keys import key_path

LATEST = "runs/latest.json"
"""the object that names the run that began last"""


def folder(run: str) -> str:
    """The folder of a run."""
    return f"runs/{run}/"


def settings(run: str) -> str:
    """The settings, versions and fingerprints of a run. It is put at the start: with it other runs know of this run."""
    return f"runs/{run}/run.json"


def result(run: str) -> str:
    """The result. It is put last, so a run without a result has not finished."""
    return f"runs/{run}/result.json"


def progress(run: str) -> str:
    """The progress of the run, which is rewritten every few seconds."""
    return f"runs/{run}/progress.json"


def report(run: str) -> str:
    """The report of the run as an HTML page."""
    return f"runs/{run}/report.html"


def metrics(run: str) -> str:
    """The final metrics as OpenMetrics text."""
    return f"runs/{run}/metrics.prom"


def outcomes(run: str) -> str:
    """The settled outcomes as one parquet file."""
    return f"runs/{run}/outcomes.parquet"


def failure(run: str, key: str) -> str:
    """The log of one failed key."""
    return f"{failures(run)}{key_path(key)}.txt"


def heartbeat(run: str) -> str:
    """The heartbeat of a run's driver."""
    return f"runs/{run}/heartbeat.json"


def failures(run: str) -> str:
    """The folder of the logs of failed keys."""
    return f"runs/{run}/failures/"


def begun(run: str, plan: str) -> str:
    """The notice that a driver has begun (`job.run.notice`)."""
    return f"runs/{run}/begun-{plan}.json"


def is_begun(run: str, name: str) -> bool:
    """Whether ``name`` is that of a notice of `begun`."""
    return name.startswith(f"runs/{run}/begun-")


def task_list(run: str, plan: str, task: int) -> str:
    """The list of one task."""
    return f"runs/{run}/plan/{plan}/{task:05d}.arrow"


def pieces(run: str, plan: str) -> str:
    """The pieces of a table's files, with the task that reads each."""
    return f"runs/{run}/plan/{plan}/pieces.arrow"


def table_keys(run: str, plan: str) -> str:
    """The planned keys of a table, with the task of each, in the order of the task lists."""
    return f"runs/{run}/plan/{plan}/keys.arrow"


def segments(run: str, plan: str = "") -> str:
    """The folder of the outcome segments of a run, or of one of its plans."""
    return f"runs/{run}/segments/{plan}/" if plan else f"runs/{run}/segments/"


def marks(run: str, plan: str) -> str:
    """The folder of the marks that attempts put before they fit a key."""
    return f"runs/{run}/marks/{plan}/"


def mark(run: str, plan: str, task: int, key: str) -> str:
    """The mark of a key, without the end that is unique to the attempt."""
    return f"{marks(run, plan)}t{task:05d}-{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"


def task_begun(run: str, plan: str, task: int) -> str:
    """The mark that a task has begun."""
    return f"{marks(run, plan)}t{task:05d}-begun-a0"


def released_rows(run: str, plan: str) -> str:
    """Scoring: the rows of the index for a release, which are recorded before the release."""
    return f"runs/{run}/release-{plan}.arrow"


def released_errors(run: str, plan: str) -> str:
    """Scoring: the errors of each key, which are recorded before the release."""
    return f"runs/{run}/errors-{plan}.arrow"
