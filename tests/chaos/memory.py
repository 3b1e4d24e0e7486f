"""The memory of a run from outside: the driver's Python and JVM and its workers, looked at while models appear."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import psutil

ROLES = ("driver", "jvm", "workers")


@dataclass(frozen=True)
class Look:
    """One moment."""

    models: int
    """that were stored"""
    resident: dict[str, int]
    """bytes by role"""
    workers: int


@dataclass
class Memory:
    """Looks at a run twice a second; a context manager."""

    pid: int
    """of the driver"""
    models: Callable[[], int]
    """how many are stored by now"""
    looks: list[Look] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def slope(self, role: str) -> float:
        """Bytes a model, fitted on the second half of the models: caches are warm by then, pools are full."""
        half = self._second_half()
        return float(np.polyfit([look.models for look in half], [look.resident[role] for look in half], 1)[0])

    def peak(self, role: str) -> int:
        """Bytes."""
        return max((look.resident[role] for look in self.looks), default=0)

    def _second_half(self) -> list[Look]:
        # While all workers are there and at work: one that is new or gone is no growth.
        most = max(look.workers for look in self.looks)
        end = max(look.models for look in self.looks)
        return [look for look in self.looks if look.workers == most and end / 2 <= look.models < end]

    def _watch(self) -> None:
        while not self._ended.wait(0.5):
            try:
                self.looks.append(self._look())
            except psutil.Error:
                continue

    def _look(self) -> Look:
        driver = psutil.Process(self.pid)
        resident, number = dict.fromkeys(ROLES, 0), 0
        resident["driver"] = driver.memory_info().rss
        for process in driver.children(recursive=True):
            try:
                command, size = process.cmdline(), process.memory_info().rss
                if command and command[0].endswith("java"):
                    resident["jvm"] += size
                elif command[1:3] == ["-m", "job.engine.spark.daemon"] and process.ppid() != self.pid:
                    # The daemon itself is among them, and does nothing but fork.
                    resident["workers"] += size
                    number += 1
            except psutil.Error:
                continue
        return Look(models=self.models(), resident=resident, workers=number)
