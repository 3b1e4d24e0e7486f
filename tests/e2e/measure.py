"""Memory of pods while they run, from the control groups of a node that we can read."""

from __future__ import annotations

import threading
from collections import defaultdict
from pathlib import Path

from tests.e2e.harness import Space


class Memory(threading.Thread):
    """Looks every half second until `end`; the most that each pod held, in MB, by its role."""

    def __init__(self, space: Space, groups: Path) -> None:
        super().__init__(daemon=True)
        self.space, self.groups = space, groups
        self.ended = threading.Event()
        self.most: dict[str, int] = defaultdict(int)

    def run(self) -> None:
        while not self.ended.wait(0.5):
            for uid, pod in list(self.space.pods.every.items()):
                for group in self.groups.glob(f"kubepods/*/pod{uid}"):
                    self._look(pod["metadata"]["name"], group)

    def _look(self, name: str, group: Path) -> None:
        try:
            lines = (group / "memory.stat").read_text().splitlines()
        except OSError:  # it ended meanwhile
            return
        held = {words[0]: int(words[1]) for words in (line.split() for line in lines)}
        self.most[name] = max(self.most[name], held["total_rss"] // 1_000_000)

    def end(self) -> dict[str, int]:
        self.ended.set()
        self.join()
        return dict(self.most)
