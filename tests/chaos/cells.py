"""The cells of the fault matrix. ``python -m tests.chaos.cells`` writes cells.json; a test counts it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.chaos.proxy import FAULTS, KINDS, SCORING_KINDS

FILE = Path(__file__).with_name("cells.json")

KILL_POINTS = (
    "before_input_get",
    "mid_input_get",
    "after_fit",
    "before_model_put",
    "model_half_sent",
    "model_stored_ack_lost",
    "before_segment_put",
    "segment_stored_ack_lost",
    "after_segment",
    "before_barrier",
    "before_release",
    "release_stored_ack_lost",
    "after_release",
    "before_result",
)
"""Where a process dies: workers up to ``after_segment``, the driver from ``before_barrier`` on."""

HOW = ("exception", "sigkill")
TIMES = {"once": 1, "twice": 2, "forever": -1}


def faults() -> list[str]:
    """Broken requests of a training, and of a scoring: (8 + 6) × 10 × 3 = 420."""
    kinds = [*(f"fault {kind}" for kind in KINDS), *(f"score {kind}" for kind in SCORING_KINDS)]
    return [f"{kind} {fault} {times}" for kind in kinds for fault in FAULTS for times in TIMES]


def cells() -> list[str]:
    """Broken requests, and 14 × 2 deaths: 448."""
    return [f"kill {point} {how}" for point in KILL_POINTS for how in HOW] + faults()


def mode_of(cell: str) -> str:
    """The ``output.mode`` of a scoring whose request is broken: every other cell replaces."""
    return ("append", "replace")[cells().index(cell) % 2]


if __name__ == "__main__":
    FILE.write_text(json.dumps(cells(), indent=1) + "\n")
