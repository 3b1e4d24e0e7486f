"""A certificate authority of the user's, for the deltalake package, which takes none as an option.

It reads the file that ``SSL_CERT_FILE`` names, in place of the machine's authorities; so those are copied into the same
file. This is the one variable of the environment that the package sets.
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
    """Trust the authorities in a PEM file, besides those already trusted, in this process and its children."""
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
    """The bytes of ``storage.ca``."""
    return local_file.read(path, "storage.ca:")


def _remove(path: str, process: int) -> None:
    if os.getpid() == process:
        with suppress(OSError):
            os.unlink(path)
