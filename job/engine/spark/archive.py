"""An archive of the Java classes that a local Spark loads (class data sharing). It halves the CPU time of a start.

The JVM writes the archive when a session ends, once for each Java, Spark and class path, into the user's cache folder.
That costs about as much CPU time as a start. So only the second session writes it: a user who tries Spark once pays
nothing. The archive is a copy of classes in the jars. The JVM checks it at each start, and starts without it if it does
not fit or is damaged. No failure here prevents the start of a session.
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
"""Options that silence the messages about classes that cannot be archived, and about archives that do not fit."""
_ROOM = 1_000_000_000
"""Bytes of free disk space that are required; an archive has about 135 MB."""
_KEPT = 3
"""Number of archives that are kept, for a user who switches between environments or Java versions."""
_SECONDS = 120.0
"""Time limit for the writing. An unfinished archive that is older was left by a process that was killed."""


class ClassArchive:
    """The archive for one Java and one set of jars.

    Parameters
    ----------
    folder
        The folder of the archives; made when it is needed.
    java
        The Java program.
    jars
        Spark's folder of jars.
    options
        The other options of the JVM, which decide what classes it loads.
    """

    def __init__(self, folder: Path, *, java: Path, jars: Path, options: str) -> None:
        self._folder = folder
        self._name = _key(java, jars, options)
        self._making: Path | None = None

    def options(self) -> str:
        """The options for the JVM that use the archive, or write it; empty if neither is possible now."""
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
        """The archive, if its size is the one in its name: a truncated archive would crash Java."""
        for path in self._folder.glob(f"{self._name}-*.jsa"):
            with contextlib.suppress(OSError):
                if path.stem == f"{self._name}-{path.stat().st_size}":
                    return path
                path.unlink()
        return None

    @property
    def making(self) -> bool:
        """Whether the JVM writes the archive when it ends, which takes some seconds."""
        return self._making is not None

    def keep(self, process: subprocess.Popen[bytes]) -> None:
        """Wait in the background for the archive of the ending JVM, and rename it. Python's exit waits for this."""
        log.info("once: Java's classes are put into an archive, some seconds; each later start is shorter for it")
        # daemon=False must be set, else it is inherited from the calling thread, and Python ends before the renaming.
        threading.Thread(target=self._keep, args=(process,), name="class archive", daemon=False).start()

    def _keep(self, process: subprocess.Popen[bytes]) -> None:
        assert self._making is not None
        try:
            process.wait(_SECONDS)
            # Another run may have made the same archive at the same time: one complete file replaces the other.
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
    """A digest of all that must be the same for an archive to fit: options, and name, size and time of the files."""
    found = hashlib.sha256(f"{java.resolve()}\0{jars.resolve()}\0{options}\0".encode())
    home = java.resolve().parents[1]
    for path in [home / "release", home / "lib" / "modules", *sorted(jars.glob("*.jar"))]:
        try:
            about = path.stat()
        except OSError:
            continue
        found.update(f"{path.name}\0{about.st_size}\0{about.st_mtime_ns}\0".encode())
    return found.hexdigest()[:32]
