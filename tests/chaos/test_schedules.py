"""Random schedules of 2 to 4 concurrent drivers; see tests/chaos/schedule.py.

A few in ``make test``, from a seed that differs from day to day; ``make chaos`` plays CHAOS_SCHEDULES of them (default
2,000), spread over two processes. ``python -m tests.chaos.test_schedules SEED`` replays one.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.chaos.schedule import Schedule, cleaned

SEED = int(os.environ.get("CHAOS_SEED", time.strftime("%Y%j")))
QUICK = 12
MANY = int(os.environ.get("CHAOS_SCHEDULES", "2000"))
ROOT = Path(__file__).parents[2]


def play(seed: int) -> Schedule:
    """One schedule, in memory where the machine has such a folder."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="manyfit-", dir=memory if os.access(memory, os.W_OK) else None))
    try:
        schedule = Schedule(folder, seed)
        schedule.play()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return schedule


def of_both_kinds(low: int) -> list[int]:
    """The next seeds: a third of them with a gc, which would not be so on each day."""
    with_gc = itertools.islice(filter(cleaned, itertools.count(low)), QUICK // 3)
    without = itertools.islice(itertools.filterfalse(cleaned, itertools.count(low)), QUICK - QUICK // 3)
    return sorted([*with_gc, *without])


def test_a_few_dozen_schedules_lose_tear_and_double_nothing() -> None:
    played = []
    for seed in of_both_kinds(SEED * 10_000):
        schedule = play(seed)
        assert schedule.problems == [], f"replay it: python -m tests.chaos.test_schedules {seed}"
        played.append(schedule)

    assert sum(each.releases for each in played) > QUICK
    assert sum(each.faults.injected for each in played) > 10 * QUICK
    assert sum(each.faults.deaths for each in played) > 0
    assert sum(each.finished for each in played) > 0
    assert any(each.cleaned for each in played)


def test_a_seed_replays_its_schedule() -> None:
    first, second = play(5), play(5)

    assert (first.baton.steps, first.releases, first.faults.injected) == (
        second.baton.steps,
        second.releases,
        second.faults.injected,
    )


def beside(said: Path, low: int, high: int, *seconds: float) -> subprocess.Popen[bytes]:
    """Seeds in a process of their own, which says into a file what it does: a pipe that nobody reads would stop it."""
    command = [sys.executable, "-m", "tests.chaos.test_schedules", *map(str, (low, high, *seconds))]
    with said.open("wb") as file:
        return subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)


@pytest.mark.chaos
@pytest.mark.timeout(4 * 3600)
def test_thousands_of_schedules_lose_tear_and_double_nothing(tmp_path: Path) -> None:
    begin, half = SEED * 10_000 + 1000, (MANY + 1) // 2
    ranges = [(begin, begin + half), (begin + half, begin + MANY)]
    running = [beside(tmp_path / str(low), low, high) for low, high in ranges]
    codes = [process.wait() for process in running]
    said = [(tmp_path / str(low)).read_text() for low, _ in ranges]
    print(*said)

    assert codes == [0, 0], said


def main(low: int, high: int, seconds: float = float("inf")) -> int:
    """Play a range of seeds, or as many of them as there is time for; each that fails is printed with what was found."""
    begin, seed, failed, steps, releases, reads = time.perf_counter(), low, 0, 0, 0, 0
    injected, deaths, cleanings = 0, 0, 0
    for seed in range(low, high):
        try:
            schedule = play(seed)
            problems = schedule.problems
        except Exception as error:  # whatever a schedule comes upon, the others are played too
            problems, schedule = [f"{type(error).__name__}: {error}"], None
        if problems:
            failed += 1
            print(f"seed {seed}:", *problems[:5], sep="\n  ", flush=True)
        if schedule is not None:
            steps, releases = steps + schedule.baton.steps, releases + schedule.releases
            reads += schedule.reader.read
            injected, deaths = injected + schedule.faults.injected, deaths + schedule.faults.deaths
            cleanings += schedule.cleanings
        if (seed - low) % 100 == 99:
            print(f"{seed - low + 1:,} of {high - low:,} played, {failed} failed", flush=True)
        if time.perf_counter() - begin > seconds:
            break
    print(
        f"seeds {low} to {seed}: {failed} failed; {steps:,} steps, {releases:,} releases audited, {reads:,} models read, "
        f"{injected:,} faults, {deaths:,} deaths, {cleanings:,} gcs that removed models; {time.perf_counter() - begin:.0f} s",
        flush=True,
    )
    return 1 if failed else 0


if __name__ == "__main__":
    given = [int(each) for each in sys.argv[1:]]
    raise SystemExit(main(*(given if len(given) > 1 else [given[0], given[0] + 1])))
