"""Who may act next, and what goes wrong when he does: the seeded part of tests/chaos/schedule.py.

Actors are threads, and only the one that holds the baton runs. Every operation of a `Scheduled` store is a step, after which
the seed says who goes on; and it may fail before or after it was carried out, or be the last one of its driver.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from job.errors import UnreachableError
from job.store.folder import FolderStore
from tests.chaos.dying import Died

TRIES = 4
"""of one operation: what a client's own retries are"""
here = threading.local()
"""``name`` and ``baton`` of the actor of this thread; ``looking``: it is an observer's turn, who takes no step"""


class Baton:
    """Who may run."""

    def __init__(self, random_: random.Random) -> None:
        self.random = random_
        self.alive: list[str] = []
        self.stalled: dict[str, int] = {}
        """until which step an actor stands still"""
        self.gates: dict[str, threading.Lock] = {}
        """closed, but for the actor who may go on; a bare lock is a fifth of a semaphore's time"""
        self.ended = threading.Event()
        self.steps = 0

    def start(self, actors: dict[str, Callable[[], None]]) -> None:
        """Run all actors to their ends."""
        errors: list[BaseException] = []

        def act(name: str, body: Callable[[], None]) -> None:
            here.name, here.baton = name, self
            self.gates[name].acquire()
            try:
                body()
            except BaseException as error:
                errors.append(error)
            finally:
                self.alive.remove(name)
                self._hand_on(None)

        self.alive = list(actors)
        self.gates = {name: threading.Lock() for name in actors}
        for gate in self.gates.values():
            gate.acquire()
        threads = [threading.Thread(target=act, args=item, daemon=True) for item in actors.items()]
        for thread in threads:
            thread.start()
        self._hand_on(None)
        steps = -1
        while not self.ended.wait(120):
            if steps == self.steps:
                raise AssertionError("the schedule stands still")
            steps = self.steps  # slow, on a busy machine
        for thread in threads:
            thread.join(10)
        if errors:
            raise errors[0]

    def step(self) -> None:
        """The running actor lets another one go on, or goes on itself."""
        self.steps += 1
        self._hand_on(here.name)

    def stall(self) -> None:
        """The running actor stands still for a while, as a process that collects garbage or is swapped out."""
        self.stalled[here.name] = self.steps + self.random.randint(10, 150)
        self.step()

    def _hand_on(self, me: str | None) -> None:
        if not self.alive:
            self.ended.set()
            return
        awake = [name for name in self.alive if self.stalled.get(name, 0) <= self.steps]
        following = self.random.choice(awake or self.alive)
        if following != me:
            self.gates[following].release()
            if me is not None:
                self.gates[me].acquire()


@dataclass
class Faults:
    """What goes wrong."""

    random: random.Random
    rate: float
    """of operations whose request or answer is lost"""
    deadly: float
    """of operations during which the driver dies"""
    dead: set[str] = field(default_factory=set)
    injected: int = 0
    deaths: int = 0

    def around(self, do: Callable[[], Any], *, again: Callable[[], Exception] | None = None) -> Any:
        """One operation, with faults and a client's retries; ``again`` makes the error for callers that retry themselves."""
        name = getattr(here, "name", None)
        if name is None or getattr(here, "looking", False):
            return do()
        result = None
        for _ in range(1 if again else TRIES):
            if name in self.dead:
                raise Died(name)
            here.baton.step()
            roll = self.random.random()
            if name.startswith(("driver", "gc")) and self.random.random() < self.deadly:
                self.deaths += 1
                self.dead.add(name)
                if self.random.random() < 0.5:
                    do()
                raise Died(name)
            if roll < self.rate / 2:
                self.injected += 1
                continue
            result = do()
            if roll >= self.rate:
                return result
            self.injected += 1
        raise again() if again else UnreachableError("injected")


class Scheduled(FolderStore):
    """A folder whose every operation is a step."""

    faults: Faults
    clock: Callable[[], datetime]
    stamp: Callable[[], datetime]
    stored: Callable[[str], None]
    """called with the name of each object that was created, before anybody else goes on"""

    def now(self) -> datetime:
        return self.clock()

    def list(self, prefix: str = "", **options: Any) -> Any:
        return self.faults.around(lambda: FolderStore.list(self, prefix, **options))

    def prefixes(self, prefix: str = "") -> Any:
        return self.faults.around(lambda: FolderStore.prefixes(self, prefix))

    def get(self, name: str, *, if_match: str | None = None) -> Any:
        return self.faults.around(lambda: FolderStore.get(self, name, if_match=if_match))

    def head(self, name: str) -> Any:
        return self.faults.around(lambda: FolderStore.head(self, name))

    def put(self, name: str, data: bytes) -> None:
        def once() -> None:
            FolderStore.put(self, name, data)
            self._stamp(name)

        self.faults.around(once)

    def delete(self, names: Iterable[str]) -> int:
        given = list(names)
        return int(self.faults.around(lambda: FolderStore.delete(self, given)))

    def create(self, name: str, data: bytes) -> bool:
        # As job.store.cloud does it: whoever finds the object there after a lost answer knows his own by its write id.
        mine = [False]

        def once() -> bool:
            if FolderStore.create(self, name, data):
                mine[0] = True
                self._stamp(name)
                self.stored(name)
            return mine[0]

        return bool(self.faults.around(once))

    def _stamp(self, name: str) -> None:
        """An object is as old as the schedule's clock says."""
        now = self.stamp().timestamp()
        os.utime(Path(self.uri.removeprefix("file://")) / name, (now, now))
