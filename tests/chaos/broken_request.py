"""A request that is broken, then healed and audited: a cell of the fault matrix, of a training or of a scoring."""

from __future__ import annotations

from typing import Protocol

from job.errors import ManyfitError
from job.run.report import RunReport
from tests.chaos.cells import TIMES, mode_of
from tests.chaos.proxy import Fault, FaultProxy, kind_of, scoring_kind_of
from tests.chaos.scored_world import ScoredWorld
from tests.chaos.world import NEW, OLD, World

HEALS = 3
"""Runs after which all must be right."""
READ = ("input_get", "model_get")
"""Requests whose failure is the input's: a scoring reads models, and writes none."""
NEVER = ("status_500", "status_503", "refused", "reset_before")
"""What, if it lasts, nothing but the server can mend."""


class Case(Protocol):
    """A job whose request is broken."""

    def begin(self) -> None:
        """A healthy first release, and something to do for the next run."""

    def run(self) -> RunReport:
        """One run."""

    def idle(self, report: RunReport) -> bool:
        """Whether the run had nothing to do any more."""

    def between(self) -> list[str]:
        """What is wrong after a run that failed."""

    def ended(self) -> list[str]:
        """What is wrong at the end."""


class Training:
    """`World`, trained."""

    def __init__(self, world: World, cell: str) -> None:
        self.world, self.cell = world, cell

    def begin(self) -> None:
        """The first release."""
        self.world.begin(orphans=" model_head " in self.cell)

    def run(self) -> RunReport:
        """One training."""
        return self.world.run()

    def idle(self, report: RunReport) -> bool:
        """Whether nothing was trained."""
        return report.totals.failed == 0 and report.totals.trained == 0

    def between(self) -> list[str]:
        """The old release must stay readable."""
        found = self.world.audit(None).problems
        return found if found or self.world.reader() >= len(OLD) else ["models are missing"]

    def ended(self) -> list[str]:
        """Every key has the model of its newest data."""
        found = self.world.audit(NEW).problems
        return found if found or self.world.reader() == len(OLD) + 1 else ["models are missing"]


class Scoring:
    """`ScoredWorld`."""

    def __init__(self, world: World, cell: str) -> None:
        self.scored = ScoredWorld(world, mode_of(cell))

    def begin(self) -> None:
        """The first release."""
        self.scored.begin()

    def run(self) -> RunReport:
        """One scoring."""
        return self.scored.run()

    def idle(self, report: RunReport) -> bool:
        """Whether nothing was scored."""
        return report.totals.failed == 0 and report.totals.scored == 0

    def between(self) -> list[str]:
        """All new rows are there, or none."""
        return self.scored.problems(changed=None)

    def ended(self) -> list[str]:
        """Every row is there once."""
        return self.scored.problems()


CASES = {"fault": (Training, kind_of), "score": (Scoring, scoring_kind_of)}
"""By the first word of a cell: what is broken, and which kinds its requests have."""


def broken_request(s3_server: str, proxy: FaultProxy, cell: str) -> None:
    """Break one kind of request during a run, look, mend, and run again until it is right: a cell of the matrix."""
    what, kind, name, times = cell.split()
    make, proxy.kind_of = CASES[what]
    # Impatient only where that is the point: on a machine under load a healthy request takes its time too.
    impatience = 2.0 if name == "timeout_after" else 30.0
    for _ in range(3):
        world = World(proxy, s3_server, admit=False, retries=5, timeout=60)
        case: Case = make(world, cell)
        case.begin()
        fault = Fault(kind, name, TIMES[times])
        world.retries, world.timeout = 1, impatience
        error = _broken(case, proxy, fault)
        # Impatience is for what never succeeds; a machine under load may take its time to heal.
        world.retries, world.timeout = 5, 60
        if error is not None:
            assert case.between() == []
        for _ in range(HEALS):
            if case.idle(case.run()):
                break
        proxy.deliver_late()
        if fault.hits:
            break

    assert fault.hits > 0, "the fault hit nothing: the cell shows nothing"
    assert case.ended() == []
    if times == "forever" and name in NEVER:
        assert error is not None, "a request that never succeeds cannot end well"
        assert error.exit_code == (4 if kind in READ else 5), "the side that failed is told"


def _broken(case: Case, proxy: FaultProxy, fault: Fault) -> ManyfitError | None:
    proxy.fault = fault
    try:
        case.run()
    except ManyfitError as error:
        return error
    finally:
        proxy.fault = None
    return None
