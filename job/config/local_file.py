"""Files of this machine that a setting or an option names: a key, an authority, a job file."""

from __future__ import annotations

from pathlib import Path

from job.errors import ConfigurationError


def read(path: str | Path, what: str = "") -> bytes:
    """The bytes of a file; ``~`` is the home folder.

    Parameters
    ----------
    path
        The file.
    what
        The setting or option that names the file; it begins the error message.

    Raises
    ------
    ConfigurationError
        The file cannot be read.
    """
    try:
        return Path(path).expanduser().read_bytes()
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home folder
        why = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"{what + ' ' if what else ''}{str(path)!r} cannot be read: {why}") from None
