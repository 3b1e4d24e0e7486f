"""The folder for temporary files of a run's workers; removed at the end of the run."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from job.errors import ConfigurationError


class Scratch:
    """A new folder for temporary files.

    Parameters
    ----------
    below
        The folder in which the new one is made; default: the system's folder for temporary files.

    Raises
    ------
    ConfigurationError
        The folder cannot be made there.
    """

    def __init__(self, below: str | None = None) -> None:
        root = Path(below).expanduser().resolve() if below else None
        try:
            if root is not None:
                root.mkdir(parents=True, exist_ok=True)
            self.folder = tempfile.mkdtemp(prefix="manyfit-", dir=root)
        except OSError as error:
            raise ConfigurationError(
                f"run.scratch: no folder for temporary files can be made in {root or tempfile.gettempdir()}: "
                f"{error.strerror}",
                hint="Name a folder that can be written, and that has room.",
            ) from error

    def remove(self) -> None:
        """Remove the folder with its content. Errors are ignored."""
        shutil.rmtree(self.folder, ignore_errors=True)
