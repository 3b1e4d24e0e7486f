"""The interface of an object store: the operations that manyfit needs, and no others."""

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
"""One row per object: name relative to the store's URI (exact text), bytes, token for If-Match, the store's time."""

Progress = Callable[[int], None]
"""called now and then with the number of objects found so far"""


class Reserve:
    """Room that is held until it is given back.

    Parameters
    ----------
    release
        Gives it back; None where nothing is held.
    """

    def __init__(self, release: Callable[[], None] | None = None) -> None:
        self._release = release

    def give_back(self) -> None:
        """Free the room. A second call does nothing."""
        release, self._release = self._release, None
        if release is not None:
            release()


class Store(ABC):
    """A place in an object store, or a folder that behaves like one.

    Instances are cheap, picklable and thread-safe. Nothing is opened before the first operation, and each process opens
    its own client: a store may be sent to an executor, or inherited by a fork, as long as it was not used before.

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
        """The address as text, written in one way, without a slash at its end."""
        return self.address.uri

    @property
    def scheme(self) -> str:
        """``s3``, ``gs``, ``az``, ``file`` or ``memory``."""
        return self.address.scheme

    def child(self, prefix: str) -> Self:
        """The store of a folder below this one; it shares this one's client."""
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

    # -- what a backend implements --------------------------------------------------------------------------------

    @abstractmethod
    def list(self, prefix: str = "", *, progress: Progress | None = None) -> pa.Table:
        """Every object below a folder, recursively, as a table with the schema `LISTING`.

        Parameters
        ----------
        prefix
            A folder below this store, with or without a slash at its end; ``""`` for all.
        progress
            Called now and then with the number of objects found so far.

        Raises
        ------
        NotFoundError
            The bucket, or the folder that was opened, does not exist. An empty or missing prefix is an empty table.
        """

    @abstractmethod
    def prefixes(self, prefix: str = "") -> Sequence[str]:
        """The names of the folders directly below a folder, one level, sorted, without slashes."""

    @abstractmethod
    def get(self, name: str, *, if_match: str | None = None) -> Buffer:
        """The bytes of an object (anything with the buffer protocol).

        Parameters
        ----------
        name
            Below this store.
        if_match
            The listed ETag; other bytes than those raise `ChangedError`.
        """

    def part(self, name: str, begin: int, end: int, *, if_match: str | None = None) -> Buffer:
        """The bytes ``begin`` to ``end`` (exclusive) of an object; fewer where it ends before.

        For tables, whose files may be larger than memory. Errors are those of `get`.
        """
        return memoryview(self.get(name, if_match=if_match))[begin:end]

    @abstractmethod
    def head(self, name: str) -> ObjectInfo | None:
        """Size, ETag and time of an object; None only if the store says that there is none."""

    @abstractmethod
    def create(self, name: str, data: bytes) -> bool:
        """Write an object that does not exist yet; never overwrite.

        Returns
        -------
        bool
            True: this call created it, a lost acknowledgement included. False: an object of that name is there.
        """

    @abstractmethod
    def put(self, name: str, data: bytes) -> None:
        """Write an object, over an older one if need be. Only for what is derived: progress, reports."""

    @abstractmethod
    def delete(self, names: Iterable[str]) -> int:
        """Remove objects; a missing one is no error. Returns how many names were given. For ``gc`` and ``forget``."""

    @abstractmethod
    def delta(self) -> tuple[str, dict[str, str]]:
        """URI and storage options under which the deltalake package opens a table at this store's address.

        The options hold credentials: never log or keep them. Commits are create-only puts, no lock table is needed.
        """

    # -- what follows from it -------------------------------------------------------------------------------------

    def ensure(self, name: str, data: bytes) -> bool:
        """Make sure that a content-addressed object is there.

        Returns
        -------
        bool
            True: written by this call. False: it was there, with the same size.

        Raises
        ------
        StoreError
            An object of that name with another size is there: its bytes cannot be the ones that its name promises.
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
        """One cheap request: raises if the store cannot be reached, its bucket is missing, or listing is denied."""
        self.prefixes()

    def now(self) -> datetime:
        """The store's clock, in UTC; where it has none to ask, this machine's."""
        return datetime.now(UTC)

    def reserve(self, size: int) -> Reserve:
        """Bytes that stay free for what must be written even if there is no room for more; most stores have no end."""
        return Reserve()

    def sync(self) -> None:  # noqa: B027 - most stores acknowledge only what is durable
        """Make everything acknowledged so far survive a power cut; before a release."""

    def _check(self, name: str) -> None:
        check_name(name)
