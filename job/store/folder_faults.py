"""Translates the operating system's errors about files and folders into errors of `job.errors`, with a hint."""

from __future__ import annotations

import errno
import os

from job.errors import DeniedError, FullError, ManyfitError, NotFoundError, PartitionError, StoreError

_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


def from_system(error: OSError, action: str, name: str, *, what: str, uri: str, path: str) -> ManyfitError:
    """Translate an error of the operating system into one of `job.errors`.

    Parameters
    ----------
    error
        The error that a call to the system raised.
    action, name
        The failed action, for example ``"read"``, and the name of the object.
    what
        ``input`` or ``output``, for the message.
    uri, path
        The folder, and the path of the file in it.
    """
    cause = os.strerror(error.errno) if error.errno else type(error).__name__
    if action == "read" and os.path.islink(path) and not os.path.exists(path):
        message = f"{name!r} is a link that leads nowhere"
        return PartitionError("input_missing", message, hint="Correct it, or remove it in the folder.")
    if action == "read" and error.errno == errno.ENXIO:
        return NotFoundError(f"{name!r} in {uri} is not a regular file")
    if action == "read" and error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR):
        return NotFoundError(f"{name!r} does not exist in {uri}")
    if error.errno in _DENIED:
        message = f"may not {action} {name!r} in the {what} folder {uri!r}: {cause}"
        return DeniedError(message, hint="Check the owner and the mode of the folder, and how it is mounted.")
    if error.errno == errno.ENAMETOOLONG:
        return PartitionError("unsupported_key", f"{name!r} is too long for the file system of {uri}")
    message = f"could not {action} {name!r} in the {what} folder {uri!r}: {cause}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "Make room there (`df -h`, a quota), then run again: what is finished is taken over."
        return FullError(message, hint=hint)
    if error.errno in (errno.EMFILE, errno.ENFILE):
        hint = "Too many files are open: does the recipe's code close its own? Else raise the limit (`ulimit -n`)."
        return StoreError(message, hint=hint)
    return StoreError(message)
