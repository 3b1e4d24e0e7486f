"""Lists many objects by several requests at the same time, without a gap or a duplicate.

An answer holds a thousand keys, and the next request needs the token of the last answer: at 100 ms for each, a million
keys take minutes. But a listing may start after any key. So the range of keys still to come is cut into halves for
workers that are free. If a half is empty, this costs one request. The module starts threads, but makes no request
itself: the caller passes a function for that.
"""

from __future__ import annotations

import itertools
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute

from job.store.base import LISTING, Progress
from job.store.list_page import Page

Fetch = Callable[[str | None, str | None], Page]
"""takes a continuation token and the key to start after, and returns one page"""

_MOST = 16
"""number of concurrent requests at most"""
_SEQUENTIAL = 3
"""pages that are fetched one after the other before the first cut"""
_CUTS = 3
"""how often a range may be cut before its next page arrives"""
_WORTH = 4
"""A range is cut only if it may hold this number of pages: part of a range's last page is fetched in vain."""
_DIGITS = 5
"""number of characters, after those in common, that a guess takes into account"""


class _NotInOrder(Exception):
    """The server does not list in the order of keys, or does not start after the requested key."""


@dataclass
class _Range:
    """A range of keys that one worker lists: after ``start``, up to and including ``end``."""

    start: str
    """the range begins after this key"""
    end: str | None
    """the last key that may belong to the range; None means no limit"""
    position: str
    """the last key received"""
    token: str | None = None
    """continuation token for the next page"""
    batches: list[pa.RecordBatch] = field(default_factory=list)
    """the received objects"""
    opened: str = ""
    """the first key of the last page"""
    cuts: int = 0
    """how often the range may still be cut before its next page arrives: an empty half costs a request"""


def list_ranges(fetch: Fetch, prefix: str, *, progress: Progress | None = None, workers: int | None = None) -> pa.Table:
    """Fetch all pages of a listing.

    Parameters
    ----------
    fetch
        Makes one request.
    prefix
        The prefix of all keys.
    progress
        Called with the number of objects so far.
    workers
        Number of concurrent requests; default: the time of a request divided by its CPU time, 16 at most.

    Returns
    -------
    pyarrow.Table
        Schema `LISTING`, sorted by key. If the server does not list in the order of keys: in its own order.
    """
    first = _Range(start=prefix, end=None, position=prefix)
    count, wall, busy = 0, 0.0, 0.0
    for number in itertools.count():
        if number == _SEQUENTIAL and workers != 1:
            break
        began, worked = time.perf_counter(), time.thread_time()
        page = fetch(first.token, None)
        if number:  # not the first request, which also opens a connection
            wall += time.perf_counter() - began
            busy += time.thread_time() - worked
        first.batches.append(page.objects)
        count += page.objects.num_rows
        if progress:
            progress(count)
        first.token = page.token
        if page.token is None:
            return pa.Table.from_batches(first.batches, LISTING)
        if page.objects.num_rows:
            first.opened, first.position = page.objects["name"][0].as_py(), page.objects["name"][-1].as_py()
    names = [name for batch in first.batches for name in batch["name"].to_pylist()]
    workers = workers or min(_MOST, max(1, round(wall / (busy + 0.001))))
    if workers > 1 and names and names == sorted(names):
        first.cuts = _CUTS
        try:
            return _Listing(fetch, Guess.of(names, prefix), first, progress).run(workers)
        except _NotInOrder:
            pass
    # Some servers do not list in the order of keys (S3 Express): fetch one page after the other.
    return list_ranges(fetch, prefix, progress=progress, workers=1)


class _Listing:
    """The workers, and the ranges that they share."""

    def __init__(self, fetch: Fetch, guess: Guess, first: _Range, progress: Progress | None) -> None:
        self.fetch = fetch
        self.guess = guess
        self.progress = progress
        self.changed = threading.Condition()
        self.waiting = [first]
        self.active: list[_Range] = []
        self.done: list[_Range] = []
        self.count = sum(batch.num_rows for batch in first.batches)
        self.failed = False

    def run(self, workers: int) -> pa.Table:
        """List everything. Returns the objects in the order of the keys."""
        with ThreadPoolExecutor(workers, thread_name_prefix="listing") as pool:
            running = [pool.submit(self._work) for _ in range(workers)]
            try:
                for each in running:
                    each.result()
            finally:
                self._stop()
        parts = sorted(self.done, key=lambda each: each.start)
        return pa.Table.from_batches([batch for part in parts for batch in part.batches], LISTING)

    def _stop(self) -> None:
        with self.changed:
            self.failed = self.failed or bool(self.waiting or self.active)
            self.changed.notify_all()

    def _work(self) -> None:
        try:
            while (part := self._next()) is not None:
                while self._advance(part):
                    pass
        except BaseException:
            with self.changed:
                self.failed = True
                self.changed.notify_all()
            raise

    def _next(self) -> _Range | None:
        """A range to work on: one that waits, else a half of another worker's range; None if nothing is left."""
        with self.changed:
            while not self.failed:
                if not self.waiting and not self.active:
                    return None
                part = self.waiting.pop() if self.waiting else self._cut()
                if part is not None:
                    self.active.append(part)
                    return part
                self.changed.wait()
            return None

    def _cut(self) -> _Range | None:
        for part in self.active:
            if not part.cuts:
                continue
            part.cuts -= 1
            if self.guess.pages_left(part.opened, part.position, part.end) < _WORTH:
                part.cuts = 0
                continue
            middle = self.guess.midpoint(part.position, part.end)
            if middle is not None:
                rest = _Range(start=middle, end=part.end, position=middle)
                part.end = middle
                return rest
        return None

    def _advance(self, part: _Range) -> bool:
        """Fetch one page of a range. Returns whether the range has more."""
        page = self.fetch(part.token, None if part.token else part.start)
        names: list[str] = page.objects["name"].to_pylist()
        if names and (names[0] <= part.position or names != sorted(names)):
            raise _NotInOrder
        with self.changed:
            more = page.token is not None and not self.failed
            objects = page.objects
            if part.end is not None and names and names[-1] > part.end:
                keep = sum(1 for name in names if name <= part.end)
                objects, more = objects.slice(0, keep), False
            if objects.num_rows:
                part.batches.append(objects)
            if names:
                part.opened, part.position = names[0], names[-1]
            part.token, part.cuts = page.token, _CUTS if more else 0
            self.count += objects.num_rows
            if self.progress:
                self.progress(self.count)
            if not more:
                self.active.remove(part)
                self.done.append(part)
            self.changed.notify_all()
        return more


@dataclass(frozen=True, kw_only=True)
class Guess:
    """Estimates how keys are distributed, from the characters of known keys. A wrong guess costs only a request."""

    alphabet: str
    """the characters of known keys, sorted"""
    common: int = 0
    """length of the prefix of all keys"""

    @classmethod
    def of(cls, names: Sequence[str], prefix: str) -> Guess:
        """Make a guess from the first keys. Control characters are left out: a request cannot contain them."""
        seen = {each for name in names for each in name[len(prefix) :] if each >= " " and each != "\x7f"}
        return cls(alphabet="".join(sorted(seen)) or " ", common=len(prefix))

    def midpoint(self, low: str, high: str | None) -> str | None:
        """A text about half way between two others, or None if there is none. ``high`` None means no upper limit."""
        common = self._shared(low, high)
        start, end = self._number(low[common:]), self._limit(high, common)
        text = low[:common] + self._text((start + end) // 2)
        return text if low < text and (high is None or text < high) else None

    def pages_left(self, first: str, last: str, high: str | None) -> float:
        """Estimated number of pages after ``last`` up to ``high``, from the page of ``first`` to ``last``."""
        common = self._shared(last, high)
        if first[:common] != last[:common]:
            return float("inf")
        width = self._number(last[common:]) - self._number(first[common:])
        return (self._limit(high, common) - self._number(last[common:])) / width if width > 0 else float("inf")

    def _shared(self, low: str, high: str | None) -> int:
        common = self.common
        while high is not None and common < min(len(low), len(high)) and low[common] == high[common]:
            common += 1
        return common

    def _limit(self, high: str | None, common: int) -> int:
        return len(self.alphabet) ** _DIGITS if high is None else self._number(high[common:])

    def _number(self, text: str) -> int:
        value = 0
        for position in range(_DIGITS):
            digit = bisect_right(self.alphabet, text[position]) - 1 if position < len(text) else 0
            value = value * len(self.alphabet) + max(digit, 0)
        return value

    def _text(self, value: int) -> str:
        digits = []
        for _ in range(_DIGITS):
            value, digit = divmod(value, len(self.alphabet))
            digits.append(self.alphabet[digit])
        return "".join(reversed(digits)).rstrip(self.alphabet[0])
