"""The interface of an object store, with only the operations that manyfit needs."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

import pyarrow as pa

from job.config.settings import StorageSide
from job.errors import StoreError
from job.store.address import Address, check_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Buffer

    from job.keys import ObjectInfo

LISTING = pa.schema(
    [("name", pa.string()), ("size", pa.int64()), ("etag", pa.string()), ("modified", pa.timestamp("us", "UTC"))]
)
"""Schema of a listing, one row for each object: exact name below the store's URI, bytes, token for If-Match, and the
time of the last change by the store's clock."""

Progress = Callable[[int], None]
"""Called from time to time with the number of objects found so far."""


class Reserve:
    """Reserved space, until `give_back` frees it.

    Parameters
    ----------
    release
        Frees the space; None if nothing is reserved.
    """

    def __init__(self, release: Callable[[], None] | None = None) -> None:
        self._release = release

    def give_back(self) -> None:
        """Free the space. A second call does nothing."""
        release, self._release = self._release, None
        if release is not None:
            release()


class Store(ABC):
    """A prefix in an object store, or a folder that behaves like one.

    Instances are cheap, picklable and thread-safe. Nothing is opened before the first operation, and each process opens
    its own client. So a store may be sent to an executor, or be inherited by a fork if it was not used before.

    Errors
    ------
    Every operation raises only `NotFoundError`, `ChangedError`, `DeniedError`, `UnreachableError` or their base
    `StoreError`, and `PartitionError` ("unsupported_key") for a name that cannot be addressed.
    """

    def __init__(self, address: Address, settings: StorageSide, *, what: str = "output") -> None:
        self.address = address
        self.base = address
        self.settings = settings
        self.what = what

    @property
    def uri(self) -> str:
        """The address as text in its normal form, without a slash at its end."""
        return self.address.uri

    @property
    def scheme(self) -> str:
        """``s3``, ``gs``, ``az``, ``file`` or ``memory``."""
        return self.address.scheme

    def child(self, prefix: str) -> Self:
        """The store of a folder below this one. It shares the client of this store."""
        other = copy.copy(self)
        other.address = self.address.below(prefix)
        return other

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.uri!r})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, Store) and self.__key() == other.__key()

    def __hash__(self) -> int:
        return hash((type(self), self.address))

    def __key(self) -> tuple[Address, StorageSide, str]:
        return self.address, self.settings, self.what

    # -- operations that a backend implements ---------------------------------------------------------------------

    @abstractmethod
    def list(self, prefix: str = "", *, progress: Progress | None = None) -> pa.Table:
        """List every object below a folder, recursively, as a table with the schema `LISTING`.

        Parameters
        ----------
        prefix
            A folder below this store, with or without a slash at its end; ``""`` for all.
        progress
            Called from time to time with the number of objects found so far.

        Raises
        ------
        NotFoundError
            The bucket, or the folder of this store, does not exist. For a missing prefix the table is empty.
        """

    @abstractmethod
    def prefixes(self, prefix: str = "") -> Sequence[str]:
        """The names of the folders directly below a folder, one level, sorted, without slashes."""

    @abstractmethod
    def get(self, name: str, *, if_match: str | None = None) -> Buffer:
        """Read the bytes of an object, as any type with the buffer protocol.

        Parameters
        ----------
        name
            Name of the object below this store.
        if_match
            The listed ETag. If the object was replaced since, `ChangedError` is raised.
        """

    def part(self, name: str, begin: int, end: int, *, if_match: str | None = None) -> Buffer:
        """Read the bytes ``begin`` to ``end`` (exclusive) of an object; fewer if the object is shorter.

        For tables, whose files may be larger than memory. It raises the errors of `get`.
        """
        return memoryview(self.get(name, if_match=if_match))[begin:end]

    @abstractmethod
    def head(self, name: str) -> ObjectInfo | None:
        """Size, ETag and time of an object; None only if the store answers that it does not exist."""

    @abstractmethod
    def create(self, name: str, data: bytes) -> bool:
        """Write an object that does not exist yet; never overwrite.

        Returns
        -------
        bool
            True: this call created the object, even if the first answer was lost. False: the object existed before.
        """

    @abstractmethod
    def put(self, name: str, data: bytes) -> None:
        """Write an object, or replace it. Only for objects that nothing depends on, such as progress and reports."""

    @abstractmethod
    def delete(self, names: Iterable[str]) -> int:
        """Remove objects, for ``gc`` and ``forget``. A missing one is no error. Returns the number of ``names``."""

    @abstractmethod
    def delta(self) -> tuple[str, dict[str, str]]:
        """URI and storage options with which the deltalake package opens a table at this store's address.

        The options hold credentials: never log or store them. Commits are create-only puts and need no lock table.
        """

    # -- operations that use those above --------------------------------------------------------------------------

    def ensure(self, name: str, data: bytes) -> bool:
        """Write a content-addressed object, if it does not exist yet.

        Returns
        -------
        bool
            True: this call has written the object. False: it existed, with the same size.

        Raises
        ------
        StoreError
            An object of that name exists with another size, so that its content does not match its name.
        """
        for _ in range(3):
            if self.create(name, data):
                return True
            info = self.head(name)
            if info is not None:
                if info.size != len(data):
                    raise StoreError(
                        f"{name!r} in {self.uri} has {info.size} bytes, but its content has {len(data)}",
                        hint="Something else wrote there, or the store tore a write; remove the object and run again.",
                    )
                return False
        raise StoreError(
            f"{name!r} in {self.uri} exists and does not exist", hint="Does something delete objects there?"
        )

    def check(self) -> None:
        """Make one cheap request. It raises if the store is unreachable, its bucket missing, or listing denied."""
        self.prefixes()

    def now(self) -> datetime:
        """The current time by the store's clock, in UTC; by this machine's clock if the store has none."""
        return datetime.now(UTC)

    def reserve(self, size: int) -> Reserve:
        """Reserve bytes for data that must be written even if the disk is full. Most stores need no reservation."""
        return Reserve()

    def sync(self) -> None:  # noqa: B027 - most stores acknowledge only what is durable
        """Make all acknowledged writes survive a power cut. Called before a release."""

    def _check(self, name: str) -> None:
        check_name(name)
