"""The heartbeat of a run, in every phase: it distinguishes a long plan or release from a dead driver."""

from __future__ import annotations

import json
import logging
import threading
from typing import Self

from job import run_paths
from job.errors import StoreError
from job.store import Store
from job.words import TRAINING, Wording

log = logging.getLogger(__name__)

EVERY = 30.0
"""Seconds between two heartbeats."""


def name(run: str) -> str:
    """The name of the heartbeat object below the output."""
    return run_paths.heartbeat(run)


class Heartbeat:
    """Puts ``heartbeat.json`` every `EVERY` seconds while a run goes on; a context manager around the run.

    The first heartbeat comes after `EVERY` seconds, so that shorter runs put none.

    Parameters
    ----------
    output
        The output of the run.
    run
        The id of the run.
    words
        The words of the run, which name its phases.
    every
        Seconds between two heartbeats.
    """

    def __init__(self, output: Store, run: str, *, words: Wording = TRAINING, every: float = EVERY) -> None:
        self._output, self._run, self._words, self._every = output, run, words, every
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self.phase = "prepare"
        """the current phase: prepare, plan, train, settle or publish"""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _beat(self) -> None:
        number = 0
        while not self._ended.wait(self._every):
            number += 1
            beat = {"phase": self._words.phase(self.phase), "beat": number}
            try:
                self._output.put(name(self._run), json.dumps(beat).encode())
            except StoreError as error:
                log.debug("no sign of life could be written: %s", error.message)
