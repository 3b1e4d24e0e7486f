"""The folder for temporary files of a run's workers; removed at the end of the run."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from job.errors import ConfigurationError


class Scratch:
    """The folder.

    Parameters
    ----------
    below
        The folder that it is made in; default the system's for temporary files.

    Raises
    ------
    ConfigurationError
        It cannot be made there.
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
        """Remove it with all that is in it; what cannot be removed stays."""
        shutil.rmtree(self.folder, ignore_errors=True)
