"""What the API server says of one kind of object, as it happens: one ``kubectl get --watch`` instead of many questions."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

Object = dict[str, Any]


class Watch:
    """Follows one kind in one namespace until it is closed; keeps the last state of every object, deleted ones too."""

    def __init__(
        self, kubectl: list[str], namespace: str, kind: str, told: Callable[[Object, Object], None] | None = None
    ) -> None:
        self.command = [*kubectl, "-n", namespace, "get", kind, "--watch", "--output-watch-events", "-o", "json"]
        self.kind = kind
        self.told = told
        """called with the object as it was and as it is, at each change"""
        self.every: dict[str, Object] = {}
        """uid → the object as it was seen last"""
        self.deleted: set[str] = set()
        self.changed = threading.Condition()
        self.open = True
        self.process: subprocess.Popen[str] | None = None
        threading.Thread(target=self._follow, daemon=True, name=f"watch {kind}").start()

    def _follow(self) -> None:
        while self.open:
            self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            assert self.process.stdout
            for line in self.process.stdout:  # an event is a line
                self._take(json.loads(line))
            self.process.wait()
            time.sleep(0.5)  # the server ends a watch now and then

    def _take(self, event: Object) -> None:
        with self.changed:
            found = event["object"]
            if found.get("kind") == "Status":
                return
            uid = found["metadata"]["uid"]
            if self.told:
                self.told(self.every.get(uid, {}), found)
            self.every[uid] = found
            if event["type"] == "DELETED":
                self.deleted.add(uid)
            self.changed.notify_all()

    def named(self, name: str) -> Object:
        """The newest object of this name that is still there; empty when there is none."""
        with self.changed:
            there = [each for uid, each in self.every.items() if uid not in self.deleted]
        found = [each for each in there if each["metadata"]["name"] == name]
        return max(found, key=lambda each: str(each["metadata"]["creationTimestamp"])) if found else {}

    def labelled(self, **labels: str) -> list[Object]:
        """Every object that ever was there with these labels (`_` for `-`)."""
        wanted = {name.replace("_", "-"): value for name, value in labels.items()}
        with self.changed:
            return [
                each for each in self.every.values() if wanted.items() <= each["metadata"].get("labels", {}).items()
            ]

    def until(self, what: str, answer: Callable[[], Any], seconds: float) -> Any:
        """Wait until the answer is true; it is asked again whenever something changes."""
        found: list[Any] = []
        with self.changed:
            self.changed.wait_for(lambda: not self.open or found.append(answer()) or found[-1], seconds)
        if found and found[-1]:
            return found[-1]
        raise AssertionError(f"{what}: not within {seconds:.0f} s" if self.open else f"{what}: the tests have ended")

    def close(self) -> None:
        """End it."""
        with self.changed:
            self.open = False
            self.changed.notify_all()
        if self.process:
            self.process.kill()
