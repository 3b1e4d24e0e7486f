"""Metrics of a run for Prometheus: the driver serves them during the run, and stores their text at the end.

No key is in a label, and there are at most 60 series. The only module that imports prometheus_client (extra
``metrics``).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa

from job import __version__
from job.errors import SetupError
from job.run.seen import BUCKETS, Seen

if TYPE_CHECKING:
    from job.config.settings import MetricsSettings
    from job.run.progress import State
    from job.run.report import RunReport

log = logging.getLogger(__name__)

PHASES = ("prepare", "plan", "train", "settle", "publish", "ended")
STATUSES = ("trained", "scored", "unchanged", "skipped", "failed")
REASONS = 20
"""Reasons of failures that have a series of their own; the others are ``other``."""


@dataclass(kw_only=True)
class Figures:
    """The values of the metrics, as plain numbers. None means unknown: the series is left out."""

    job: str
    started: float
    """start of the run, in seconds since the epoch"""
    phase: str = "prepare"
    planned: int | None = None
    to_train: int | None = None
    done: int | None = None
    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    rate: float | None = None
    eta: float | None = None
    executors: int | None = None
    slowest: float | None = None
    fits: Any = field(default_factory=lambda: np.zeros(len(BUCKETS) + 1, np.int64))
    fit_seconds: float = 0.0
    seconds: float | None = None
    exit_code: int | None = None
    version: int | None = None
    succeeded: float | None = None
    """end of a run with exit code 0, in seconds since the epoch"""


def families(figures: Figures) -> Iterator[Any]:
    """Turn the values into metric families of prometheus_client."""
    from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily, StateSetMetricFamily

    def gauge(name: str, text: str, value: float | None) -> Iterator[Any]:
        if value is not None:
            yield GaugeMetricFamily(f"manyfit_{name}", text, value=value)

    yield InfoMetricFamily(
        "manyfit", "The job and the version of manyfit", {"job_name": figures.job, "version": __version__}
    )
    phases = {phase: phase == figures.phase for phase in PHASES}
    yield StateSetMetricFamily("manyfit_phase", "What the run does", phases)
    yield from gauge("run_started_timestamp_seconds", "When the run began", figures.started)
    yield from gauge("partitions_planned", "Keys that the run is to account for", figures.planned)
    yield from gauge("partitions_to_train", "Keys that are to be trained or scored", figures.to_train)
    yield from gauge("partitions_done", "Keys to train or score that have an outcome", figures.done)
    if figures.statuses:
        family = GaugeMetricFamily("manyfit_partitions", "Keys by what became of them", labels=["status"])
        for status in STATUSES:
            family.add_metric([status], figures.statuses[status])
        yield family
    if figures.reasons:
        family = GaugeMetricFamily("manyfit_failures", "Failed keys by reason", labels=["reason"])
        common = figures.reasons.most_common()
        for reason, number in common[:REASONS]:
            family.add_metric([reason or "unknown"], number)
        if rest := sum(number for _, number in common[REASONS:]):
            family.add_metric(["other"], rest)
        yield family
    yield from gauge("partitions_per_second", "Keys finished a second, over the last minute", figures.rate)
    yield from gauge("eta_seconds", "Seconds until all keys are trained or scored", figures.eta)
    yield from gauge("executors", "Executors that there are", figures.executors)
    yield from gauge(
        "slowest_fit_seconds", "How long the longest fit, or scoring of a key, has been running", figures.slowest
    )
    if figures.fits.sum():
        limits = [*(f"{limit:g}" for limit in BUCKETS), "+Inf"]
        counts = np.cumsum(figures.fits).tolist()
        buckets = list(zip(limits, map(float, counts), strict=True))
        yield HistogramMetricFamily(
            "manyfit_fit_seconds",
            "Seconds of a fit, or a key's scoring",
            buckets=buckets,
            sum_value=figures.fit_seconds,
        )
    yield from gauge("run_seconds", "How long the run took", figures.seconds)
    yield from gauge("exit_code", "The run's exit code", figures.exit_code)
    yield from gauge("published_version", "The published version after the run", figures.version)
    yield from gauge("last_success_timestamp_seconds", "When the run ended well", figures.succeeded)


class Metrics:
    """Serves the metrics of one run; a context manager around the run.

    Parameters
    ----------
    settings
        The section ``metrics`` of the settings.
    job
        The job's name.
    seen
        Counts the outcomes as segments appear in the output.
    phase
        Returns the current phase of the run.

    Raises
    ------
    SetupError
        The extra ``metrics`` is not installed, or the port cannot be opened.
    """

    def __init__(self, settings: MetricsSettings, *, job: str, seen: Seen, phase: Callable[[], str]) -> None:
        try:
            import prometheus_client
            from prometheus_client.registry import Collector
        except ImportError:
            raise SetupError(
                "metrics.enabled needs the extra `metrics`: prometheus_client is not installed",
                hint="Install it: pip install 'manyfit[metrics]', or leave metrics.enabled off.",
            ) from None
        self.seen = seen
        self._settings, self._phase = settings, phase
        self._figures = Figures(job=job, started=time.time())
        self._lock = threading.Lock()
        self._final = False
        self._scraped = threading.Event()
        metrics = self

        class Run(Collector):
            def collect(self) -> Iterator[Any]:
                yield from metrics._collected()

        self._registry = prometheus_client.CollectorRegistry(auto_describe=False)
        self._registry.register(Run())
        try:
            self._server, self._thread = prometheus_client.start_http_server(settings.port, registry=self._registry)
        except OSError as error:
            raise SetupError(
                f"metrics.port {settings.port} cannot be opened: {error.strerror}",
                hint="Choose another port, or leave metrics.enabled off.",
            ) from None
        self.port: int = self._server.server_port
        """the port on which the metrics are served"""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def planned(self, number: int, unchanged: int) -> None:
        """Set the metrics from the plan."""
        with self._lock:
            self._figures.planned = number
            self._figures.statuses["unchanged"] = unchanged

    def update(self, state: State) -> None:
        """Set the metrics from the state of a run that trains."""
        with self._lock:
            figures = self._figures
            figures.planned, figures.to_train, figures.done = state.planned, state.to_train, state.done
            figures.rate, figures.eta, figures.executors = state.rate, state.eta, state.executors
            figures.slowest = state.slowest_seconds if state.slowest is not None else None
            unchanged = state.planned - state.to_train
            figures.statuses = Counter(self.seen.statuses)
            figures.statuses["unchanged"] += unchanged
            figures.reasons = Counter(self.seen.reasons)
            figures.fits, figures.fit_seconds = self.seen.fits.copy(), self.seen.fit_seconds

    def ended(self, result: RunReport, settled: pa.Table) -> bytes:
        """Set the metrics from the result, and return all of them as OpenMetrics text."""
        from prometheus_client.openmetrics.exposition import generate_latest

        seen = Seen(self.seen.output)
        seen.add(settled)
        count = result.totals
        with self._lock:
            figures = self._figures
            figures.planned, figures.done = count.planned, settled.num_rows
            figures.statuses = Counter({status: getattr(count, status) for status in STATUSES})
            figures.reasons = Counter(result.failures)
            figures.fits, figures.fit_seconds = seen.fits, seen.fit_seconds
            figures.rate = figures.eta = figures.slowest = figures.executors = None
            figures.seconds, figures.exit_code, figures.version = result.seconds, result.exit_code, result.version
            figures.succeeded = time.time() if not result.exit_code else None
            figures.phase = "ended"
        text: bytes = generate_latest(self._registry)  # type: ignore[no-untyped-call]
        with self._lock:
            self._final = True
        return text

    def linger(self) -> None:
        """Wait until the final values have been scraped once, for at most ``metrics.linger`` seconds."""
        if self._settings.linger and not self._scraped.wait(self._settings.linger):
            log.info("nobody scraped the metrics within metrics.linger: %g s", self._settings.linger)

    def _collected(self) -> list[Any]:
        with self._lock:
            if self._figures.phase != "ended":
                self._figures.phase = self._phase()
            found = list(families(self._figures))
            if self._final:
                self._scraped.set()
        return found
