"""Makes the deltalake package trust the user's certificate authority, for which it has no option.

deltalake reads the file that the environment variable ``SSL_CERT_FILE`` names, in place of the machine's authorities.
So this module writes a new file with both, and sets the variable.
"""

from __future__ import annotations

import atexit
import os
import ssl
import tempfile
import threading
from contextlib import suppress

from job.config import local_file

_VARIABLE = "SSL_CERT_FILE"
_lock = threading.Lock()
_trusted: set[str] = set()


def trust(authority: str) -> None:
    """Trust the authorities in a PEM file, in addition to those already trusted, in this process and its children."""
    with _lock:
        if authority in _trusted:
            return
        given = os.environ.get(_VARIABLE) or ssl.get_default_verify_paths().cafile
        parts = [read_authority(authority)]
        if given:
            with suppress(OSError), open(given, "rb") as file:
                parts.insert(0, file.read())
        descriptor, path = tempfile.mkstemp(prefix="manyfit-", suffix=".pem")
        with open(descriptor, "wb") as file:
            file.write(b"\n".join(parts))
        atexit.register(_remove, path, os.getpid())
        os.environ[_VARIABLE] = path
        _trusted.add(authority)


def read_authority(path: str) -> bytes:
    """Read the PEM file of ``storage.ca``."""
    return local_file.read(path, "storage.ca:")


def _remove(path: str, process: int) -> None:
    if os.getpid() == process:
        with suppress(OSError):
            os.unlink(path)
