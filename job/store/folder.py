"""A folder as an object store: whole objects, create-only writes, and ETags made from a file's status.

An ETag consists of modification time, change time and size. The kernel sets the change time whenever a file changes.
Tools such as ``tar``, ``cp -p`` and ``touch -d`` can set back only the modification time. If a file was only copied or
renamed, it is read again, and its digest shows that it is the same. The inode number is not used: a network file
system may change it with each mount, and the replacement of a file changes its times anyway.

A write goes to a hidden file beside its target, which is then linked (create) or renamed (put). So nobody sees half an
object, and exactly one of two concurrent creators wins.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import NoReturn

import pyarrow as pa
import pyarrow.compute

from job.errors import ChangedError, NotFoundError, PartitionError, StoreError
from job.keys import ObjectInfo
from job.store.address import delta_uri, folder_prefix
from job.store.base import LISTING, Progress, Reserve, Store
from job.store.folder_faults import from_system

_TEMPORARY = ".manyfit-"
_PAGE = 10_000
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}


def _etag(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns:x}-{status.st_ctime_ns:x}-{status.st_size:x}"


def _moved(before: os.stat_result, after: os.stat_result) -> bool:
    """Whether the file changed. The change time is not compared: a new or removed hard link changes it, too."""
    return (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size)


class FolderStore(Store):
    """Stores objects as files. Names are relative paths with slashes. Directories are not objects."""

    def _path(self, name: str) -> str:
        self._check(name)
        return f"{self.address.path.rstrip('/')}/{name}"

    # -- listing --------------------------------------------------------------------------------------------------

    def list(self, prefix: str = "", *, progress: Progress | None = None) -> pa.Table:
        """See `Store.list`."""
        self._must_exist()
        below = folder_prefix(prefix)
        batches: list[pa.RecordBatch] = []
        rows: list[tuple[str, int, str | None, int]] = []
        total = 0
        for row in self._walk(below):
            rows.append(row)
            if len(rows) == _PAGE:
                total += len(rows)
                batches.append(_batch(rows))
                rows.clear()
                if progress:
                    progress(total)
        batches.append(_batch(rows))
        if progress:
            progress(total + len(rows))
        table = pa.Table.from_batches(batches, LISTING)
        # Table.sort_by would import Arrow's query engine.
        return table.take(pa.compute.sort_indices(table["name"]))

    def _walk(self, below: str) -> Iterator[tuple[str, int, str | None, int]]:
        root = self.address.path.rstrip("/") + "/"
        # Each folder with the places and targets of the links on the way to it: a link back to one would be a loop.
        waiting: list[tuple[str, tuple[str, ...]]] = [(below, ())]
        while waiting:
            folder, linked = waiting.pop()
            try:
                entries = os.scandir(root + folder)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                self._raise(error, "list", folder or ".")
            with entries:
                for entry in entries:
                    if entry.name.startswith(_TEMPORARY):
                        continue
                    name = folder + entry.name
                    if _is_folder(entry):
                        if not entry.is_symlink():
                            waiting.append((name + "/", linked))
                            continue
                        target = os.path.realpath(root + name)
                        above = (*linked, os.path.realpath(root + folder))
                        if not any(f"{each}/".startswith(f"{target}/") for each in above):
                            waiting.append((name + "/", (*above, target)))
                        continue
                    try:
                        status = entry.stat()
                    except OSError:
                        # A broken link, or a file deleted meanwhile: it is listed, so that reading it raises an error.
                        yield _text(name), 0, None, 0
                        continue
                    if not stat.S_ISREG(status.st_mode):
                        continue  # a pipe, a socket or a device is not data
                    yield _text(name), status.st_size, _etag(status), status.st_mtime_ns // 1000

    def prefixes(self, prefix: str = "") -> Sequence[str]:
        """See `Store.prefixes`."""
        self._must_exist()
        try:
            with os.scandir(f"{self.address.path.rstrip('/')}/{folder_prefix(prefix)}") as entries:
                return sorted(_text(entry.name) for entry in entries if entry.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            self._raise(error, "list", prefix or ".")

    def _must_exist(self) -> None:
        try:
            os.stat(self.base.path + "/")
        except (FileNotFoundError, NotADirectoryError):
            kind = "is not a folder" if os.path.exists(self.base.path) else "does not exist"
            raise NotFoundError(
                f"the {self.what} folder {self.base.path!r} {kind}", hint=f"Correct {self.what}.uri."
            ) from None
        except OSError as error:
            self._raise(error, "open", self.base.path)

    # -- reading --------------------------------------------------------------------------------------------------

    def get(self, name: str, *, if_match: str | None = None) -> bytes:
        """See `Store.get`."""
        data, before, after = self._read(name, None)
        if _moved(before, after) or len(data) != after.st_size or if_match not in (None, _etag(after)):
            raise ChangedError(f"{name!r} in {self.uri} is not the file that was listed")
        return data

    def part(self, name: str, begin: int, end: int, *, if_match: str | None = None) -> bytes:
        """See `Store.part`."""
        data, before, after = self._read(name, (begin, end))
        whole = len(data) == max(0, min(end, after.st_size) - begin)
        if _moved(before, after) or not whole or if_match not in (None, _etag(after)):
            raise ChangedError(f"{name!r} in {self.uri} is not the file that was listed")
        return data

    def _read(self, name: str, part: tuple[int, int] | None) -> tuple[bytes, os.stat_result, os.stat_result]:
        path = self._path(name)
        try:
            # O_NONBLOCK: else a worker would wait without end if the file is a pipe.
            with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0) as file:
                before = os.fstat(file.fileno())
                if not stat.S_ISREG(before.st_mode):
                    raise NotFoundError(f"{name!r} in {self.uri} is not a regular file")
                data = file.readall() if part is None else _between(file.fileno(), *part)
                after = os.fstat(file.fileno())
        except OSError as error:
            if "\\x" in name and isinstance(error, FileNotFoundError):
                raise PartitionError(
                    "unsupported_key", f"the file name {name!r} is not valid UTF-8", hint="Rename it."
                ) from error
            self._raise(error, "read", name)
        return data, before, after

    def head(self, name: str) -> ObjectInfo | None:
        """See `Store.head`."""
        path = self._path(name)
        try:
            status = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:
                return None
            self._raise(error, "look up", name)
        if not stat.S_ISREG(status.st_mode):
            return None
        return ObjectInfo(name=name, size=status.st_size, etag=_etag(status), modified=status.st_mtime)

    # -- writing --------------------------------------------------------------------------------------------------

    def create(self, name: str, data: bytes) -> bool:
        """See `Store.create`."""
        target = self._path(name)
        try:
            temporary = self._write(target, data)
            try:
                os.link(temporary, target)
            except FileExistsError:
                if os.path.isdir(target):
                    raise StoreError(f"{name!r} cannot be written in {self.uri}: a folder has that name") from None
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                return self._create_without_links(temporary, target)
            finally:
                _unlink(temporary)
        except OSError as error:
            self._raise(error, "write", name)
        return True

    def _create_without_links(self, temporary: str, target: str) -> bool:
        if not self.settings.single_writer:
            raise StoreError(
                f"the file system of {self.uri} has no hard links, so two runs could overwrite each other",
                hint="Use another folder, or declare storage.output.single_writer: true if no other run writes there.",
            )
        if os.path.exists(target):
            return False
        os.rename(temporary, target)
        return True

    def put(self, name: str, data: bytes) -> None:
        """See `Store.put`."""
        target = self._path(name)
        try:
            temporary = self._write(target, data)
            try:
                os.replace(temporary, target)
            except OSError:
                _unlink(temporary)
                raise
        except OSError as error:
            self._raise(error, "write", name)

    def _write(self, target: str, data: bytes) -> str:
        folder = os.path.dirname(target)
        temporary = f"{folder}/{_TEMPORARY}{os.getpid()}-{threading.get_ident():x}-{os.urandom(6).hex()}"
        for attempt in range(10):
            try:
                descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
                break
            except FileNotFoundError:
                # The folder is made only when needed, and made again if gc has just removed it because it was empty.
                if attempt == 9:
                    raise
                os.makedirs(folder, exist_ok=True)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
        except OSError:
            _unlink(temporary)
            raise
        finally:
            os.close(descriptor)
        return temporary

    def delete(self, names: Iterable[str]) -> int:
        """See `Store.delete`. Folders that become empty are removed, too."""
        count = 0
        for name in names:
            path = self._path(name)
            count += 1
            try:
                os.unlink(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                self._raise(error, "delete", name)
            folder = os.path.dirname(path)
            while folder.startswith(self.address.path + "/"):
                try:
                    os.rmdir(folder)
                except OSError:
                    break
                folder = os.path.dirname(folder)
        return count

    def sync(self) -> None:
        """Flush the file systems of this machine, so that the models are on disk before a release names them."""
        os.sync()

    def delta(self) -> tuple[str, dict[str, str]]:
        """See `Store.delta`. deltalake commits to a folder by an exclusive link."""
        return delta_uri(self.address), {}

    def _raise(self, error: OSError, action: str, name: str) -> NoReturn:
        path = f"{self.address.path.rstrip('/')}/{name}"
        raise from_system(error, action, name, what=self.what, uri=self.uri, path=path) from error

    def reserve(self, size: int) -> Reserve:
        """See `Store.reserve`. The reserve is a file without a name, which the system frees if the process ends."""
        flag = getattr(os, "O_TMPFILE", None)
        if flag is None:
            return Reserve()
        try:
            descriptor = os.open(self.base.path, flag | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        except OSError:
            return Reserve()
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError:
            os.close(descriptor)
            return Reserve()
        return Reserve(lambda: os.close(descriptor))


def _between(descriptor: int, begin: int, end: int) -> bytes:
    parts = []
    while begin < end:
        piece = os.pread(descriptor, end - begin, begin)
        if not piece:
            break
        parts.append(piece)
        begin += len(piece)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # links that form a loop


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _text(name: str) -> str:
    """A file name as text. Bytes that are not UTF-8 are escaped (``\\xff``), since a table cannot hold them."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name).decode("utf-8", "backslashreplace")
    return name


def _batch(rows: list[tuple[str, int, str | None, int]]) -> pa.RecordBatch:
    columns = zip(*rows, strict=True) if rows else ([], [], [], [])
    return pa.RecordBatch.from_arrays(
        [pa.array(column, field.type) for column, field in zip(columns, LISTING, strict=True)], schema=LISTING
    )
