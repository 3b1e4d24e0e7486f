"""Random schedules (tests/chaos/schedule.py), played one after the other, and by two processes at once.

Every third seed plays scorings, the others trainings.

``python -m tests.chaos.players SEED [END [SECONDS]]`` plays one, or a range of them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.schedule import Schedule
from tests.chaos.scoring_schedule import ScoringSchedule
from tests.chaos.training_schedule import TrainingSchedule

MANY = int(os.environ.get("CHAOS_SCHEDULES", "2000"))
ROOT = Path(__file__).parents[2]
PLAYED = r"([0-9,]+) played, "
"""of the last line that `main` prints"""


PLACE = "CHAOS_FOLDER"
"""The variable that tells a player where to play: whoever ends it removes that folder."""


def memory() -> str | None:
    """A folder in memory, where the machine has one."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def kind(seed: int) -> type[Schedule]:
    """What is played with a seed by default: every third schedule is one of scorings."""
    return ScoringSchedule if seed % 3 == 2 else TrainingSchedule


def play(seed: int, of: type[Schedule] | None = None) -> Schedule:
    """One schedule, in memory where the machine has such a folder; ``of`` another kind than the seed's own."""
    folder = Path(tempfile.mkdtemp(prefix="manyfit-", dir=os.environ.get(PLACE) or memory()))
    try:
        schedule = (of or kind(seed))(folder, seed)
        schedule.play()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return schedule


class Players:
    """Two processes that play a range of seeds, each a half of it. Whoever leaves early ends them.

    Parameters
    ----------
    low, high
        Seeds, the last one not included.
    seconds
        After which they play no further ones.
    """

    def __init__(self, low: int, high: int, seconds: float = float("inf")) -> None:
        self.begin, self.seconds, middle = time.monotonic(), seconds, low + (high - low + 1) // 2
        self.ranges = [(low, middle), (middle, high)]

    def __enter__(self) -> Players:
        # In files: a pipe that nobody reads while something else is played would stop them.
        self.files = contextlib.ExitStack()
        folder = tempfile.TemporaryDirectory(prefix="manyfit-", dir=memory(), ignore_cleanup_errors=True)
        env = {**os.environ, PLACE: self.files.enter_context(folder)}
        self.said = [self.files.enter_context(tempfile.TemporaryFile("w+")) for _ in self.ranges]  # noqa: SIM115
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.players", str(low), str(high), str(self.seconds)],
                cwd=ROOT,
                env=env,
                stdout=said,
                stderr=subprocess.STDOUT,
            )
            for (low, high), said in zip(self.ranges, self.said, strict=True)
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        self.files.close()

    def result(self) -> tuple[int, bool, str]:
        """How many were played, whether all ended well, and what is to be said about it; waits until they have ended."""
        well = [process.wait() == 0 for process in self.processes]
        took, texts = time.monotonic() - self.begin, []
        for said in self.said:
            said.seek(0)
            texts.append(said.read().rstrip())
        played = sum(int(match[1].replace(",", "")) for text in texts if (match := re.search(PLAYED, text)))
        most = self.ranges[1][1] - self.ranges[0][0]
        given = "" if played == most else " in the time given"
        return played, all(well), "\n".join([*texts, f"{played:,} of {most:,} schedules played{given}: {took:.0f} s"])


def main(low: int, high: int, seconds: float = float("inf")) -> int:
    """Play a range of seeds, or as many of them as there is time for; each that fails is printed with what was found."""
    # Of runs that have ended already, and of a gc that was asked to stop: what schedules are made of.
    logging.disable(logging.WARNING)
    begin, spent, seed, failed, steps, releases, reads = time.perf_counter(), time.process_time(), low, 0, 0, 0, 0
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
            reads += schedule.read
            injected, deaths = injected + schedule.faults.injected, deaths + schedule.faults.deaths
            cleanings += schedule.cleanings
        if (seed - low) % 500 == 499:
            print(f"{seed - low + 1:,} of {high - low:,}, {failed} failed", flush=True)
        if time.perf_counter() - begin > seconds:
            break
    played = seed - low + 1
    print(
        f"seeds {low} to {seed}: {played:,} played, {failed} failed; {steps:,} steps, {releases:,} releases audited, {reads:,} models or predictions read, "
        f"{injected:,} faults, {deaths:,} deaths, {cleanings:,} gcs that removed something; "
        f"{time.perf_counter() - begin:.0f} s, {(time.process_time() - spent) / played:.2f} s of CPU each",
        flush=True,
    )
    return 1 if failed else 0


if __name__ == "__main__":
    first, *further = sys.argv[1:]
    ended = main(int(first), int(further[0]) if further else int(first) + 1, *map(float, further[1:]))
    sys.stdout.flush()
    os._exit(ended)  # as `manyfit` ends: a thread of Arrow aborts an interpreter that is taken down, now and then
