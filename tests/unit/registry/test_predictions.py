"""The table of predictions: what its log says of parts outlives checkpoints and restores."""

from __future__ import annotations

import hashlib
from pathlib import Path

from job.registry.predictions import PartFile, Predictions
from job.score import columns
from job.store import open_store


def part_file(number: int, *, spanned: bool = True) -> PartFile:
    first, last = (f"k{number:02d}", f"k{number:02d}/ä") if spanned else (None, None)
    return PartFile(digest=hashlib.sha256(bytes([number])).hexdigest(), size=9, rows=3, first=first, last=last)


def release(predictions: Predictions, number: int, *, spanned: bool = True) -> None:
    given = predictions.version()
    old = [each for each in predictions.held(given) or () if each.first == f"k{number - 3:02d}"]
    predictions.release(
        [part_file(number, spanned=spanned)],
        columns.OURS,
        run=f"run{number}",
        plan="p",
        base=given,
        metadata={},
        inserted=3,
        removed=old,
    )


def test_where_keys_lie_is_known_after_a_checkpoint(tmp_path: Path) -> None:
    predictions = Predictions(open_store(str(tmp_path)))
    for number in range(12):
        release(predictions, number)

    assert list(tmp_path.rglob("*.checkpoint.parquet"))
    spans = sorted((each.first, each.last, each.rows) for each in predictions.held(None) or ())
    assert spans == [(f"k{number:02d}", f"k{number:02d}/ä", 3) for number in (9, 10, 11)]
    assert [each.removed for each in predictions.history(2)] == [3, 3]


def test_parts_that_do_not_say_where_their_keys_lie_are_no_ranges(tmp_path: Path) -> None:
    predictions = Predictions(open_store(str(tmp_path)))
    release(predictions, 1)
    assert predictions.held(None) is not None

    release(predictions, 2, spanned=False)

    assert predictions.held(None) is None
