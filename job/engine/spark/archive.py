"""The archive of the classes that a local Spark loads (Java's class data sharing): half of the CPU time of a start.

The JVM writes it when a session ends, once for each Java, Spark and class path, into the user's cache folder. That
costs about as much as a start, so it is the second session that does it: whoever only tries pays nothing, and keeps
nothing. It is a copy of what the jars hold. The JVM checks it at each start and goes on without it where anything
differs or is damaged; nothing here can keep a session from starting.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import subprocess
import threading
import time
import uuid
from pathlib import Path

log = logging.getLogger(__name__)

_QUIET = "-Xlog:cds=off -Xlog:cds+dynamic=off"
"""Classes that cannot be archived, and archives that do not fit, are nobody's concern."""
_ROOM = 1_000_000_000
"""Bytes that must be free: an archive has about 135 MB."""
_KEPT = 3
"""Archives that stay: for as many environments or Javas in turn."""
_SECONDS = 120.0
"""For the writing; an unfinished archive older than this was left by a process that was killed."""


class ClassArchive:
    """The archive for one Java and one set of jars.

    Parameters
    ----------
    folder
        Where archives are kept; made when it is needed.
    java
        The program.
    jars
        Spark's folder of jars.
    options
        The JVM's other options: what is loaded depends on them.
    """

    def __init__(self, folder: Path, *, java: Path, jars: Path, options: str) -> None:
        self._folder = folder
        self._name = _key(java, jars, options)
        self._making: Path | None = None

    def options(self) -> str:
        """The JVM's options that use the archive, or make it; none where it can be neither."""
        if found := self._whole():
            return f'-XX:SharedArchiveFile="{found}" -XX:+VerifySharedSpaces {_QUIET}'
        seen = self._folder / f"{self._name}.seen"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if not seen.exists():
                seen.touch()
                return ""
            if not os.access(self._folder, os.W_OK) or shutil.disk_usage(self._folder).free < _ROOM:
                return ""
        except OSError:
            return ""
        _sweep(self._folder)
        self._making = self._folder / f"{self._name}.{uuid.uuid4().hex[:12]}.new"
        return f'-XX:ArchiveClassesAtExit="{self._making}" {_QUIET}'

    def _whole(self) -> Path | None:
        """The archive, if it is as long as its name says: Java verifies a whole one, but dies of one cut short."""
        for path in self._folder.glob(f"{self._name}-*.jsa"):
            with contextlib.suppress(OSError):
                if path.stem == f"{self._name}-{path.stat().st_size}":
                    return path
                path.unlink()
        return None

    @property
    def making(self) -> bool:
        """The JVM writes it when it ends, which takes it some seconds."""
        return self._making is not None

    def keep(self, process: subprocess.Popen[bytes]) -> None:
        """Put what the ending JVM writes in its place, in the background; Python's exit waits for it."""
        log.info("once: Java's classes are put into an archive, some seconds; each later start is shorter for it")
        # No daemon, which it would inherit from the calling thread: Python would end before the file has its name.
        threading.Thread(target=self._keep, args=(process,), name="class archive", daemon=False).start()

    def _keep(self, process: subprocess.Popen[bytes]) -> None:
        assert self._making is not None
        try:
            process.wait(_SECONDS)
            # A run beside this one may have made it, too: whole files take each other's place.
            self._making.replace(self._folder / f"{self._name}-{self._making.stat().st_size}.jsa")
            made = sorted(self._folder.glob("*.jsa"), key=lambda path: path.stat().st_mtime)
            for old in made[:-_KEPT]:
                old.unlink()
        except (OSError, subprocess.TimeoutExpired) as error:
            log.debug("no archive of Java's classes was made: %s", error)
            process.kill()
            self._making.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    for left in folder.glob("*.new"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _SECONDS:
                left.unlink()


def _key(java: Path, jars: Path, options: str) -> str:
    """Everything that makes an archive unfit if it changes, by what a look at the folders tells."""
    found = hashlib.sha256(f"{java.resolve()}\0{jars.resolve()}\0{options}\0".encode())
    home = java.resolve().parents[1]
    for path in [home / "release", home / "lib" / "modules", *sorted(jars.glob("*.jar"))]:
        try:
            about = path.stat()
        except OSError:
            continue
        found.update(f"{path.name}\0{about.st_size}\0{about.st_mtime_ns}\0".encode())
    return found.hexdigest()[:32]
