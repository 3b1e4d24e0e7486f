"""`ModelSet`: a published set of models as a mapping from key to fitted estimator. For users of the models.

Importing it needs neither Spark nor Java. A set is pinned to the version at which it was opened: later releases do not
change it. Each model is loaded on first use, after these checks, in this order: the row of the table (if a public key
is given, its files are checked against the release's signature), the name (computed from key and digest), the size, the
digest of the bytes, the library versions. Then exactly the checked bytes are unpickled.
"""

from __future__ import annotations

import json
import re
import threading
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from job.arrow import whole
from job.config import local_file
from job.errors import ConfigurationError, DamageError
from job.keys import model_name
from job.registry.index import ROW, Index
from job.registry.source import Source, fetch
from job.store import Store, open_store

if TYPE_CHECKING:
    import pandas as pd

    from job.config.settings import StorageSide

_DIGEST = re.compile(r"[0-9a-f]{64}")
_JSON = ("metrics", "warnings", "versions", "windows", "horizons", "residuals", "challenger_row")


class ModelSet(Mapping[str, Any]):
    """The models of one version of a published set: a mapping from key to fitted estimator. `open` makes one.

    The mapping has every key with a model: live keys, and stale keys, whose last training failed
    (``info(key)["state"]`` says which). A model is loaded on first use, and checked before it is unpickled.

    Examples
    --------
    >>> models = ModelSet.open("s3://models/gapminder/")  # doctest: +SKIP
    >>> models["Rwanda"].predict(pd.DataFrame({"year": [2030]}))  # doctest: +SKIP
    """

    def __init__(self, store: Store, source: Source, *, allow_version_skew: bool, cache: int) -> None:
        self._store = store
        self._source = source
        self._allow_version_skew = allow_version_skew
        self._room = cache
        self._loaded: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.Lock()
        self._models = source.models()
        self._again: Any = None

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the set for another process (a Spark UDF, a pool). Loaded models are not included."""
        return {**self.__dict__, "_loaded": OrderedDict(), "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls,
        uri: str,
        *,
        at: int | None = None,
        storage: StorageSide | None = None,
        public_key: str | bytes | Path | None = None,
        signed_for: str | None = None,
        min_version: int | None = None,
        allow_version_skew: bool = False,
        cache: int = 128,
    ) -> ModelSet:
        """Open a published set.

        Parameters
        ----------
        uri
            The ``output.uri`` of the job: ``s3://``, ``gs://``, ``az://`` or a folder.
        at
            The version to open, as ``manyfit history`` lists them; default the current one.
        storage
            Endpoint, region and other settings of the store. Credentials come from the environment.
        public_key
            PEM text, or a file with it. The version must be signed with the matching private key, for this output.
        signed_for
            The output URI that the signature names, if the set was copied to another place after it was signed.
        min_version
            Refuse a version older than this. A signature alone does not reveal that newer versions were removed.
        allow_version_skew
            Load models that were fitted with other library versions; scikit-learn only warns then.
        cache
            The number of loaded models that are kept in memory.

        Raises
        ------
        ConfigurationError
            Nothing is published at ``uri``, or the version does not exist.
        DamageError
            The version is not signed as ``public_key`` requires, or is older than ``min_version``.
        """
        store = open_store(uri, storage)
        index = Index(store)
        version = at if at is not None else index.version()
        if version is None:
            raise ConfigurationError(
                f"nothing has been published at {store.uri}", hint="Give the job's output.uri; `manyfit run` publishes."
            )
        if min_version is not None and version < min_version:
            raise DamageError(
                f"{store.uri} is at version {version}, but {min_version} has been published already",
                hint="Releases were taken away; restore the index, or lower min_version if that was meant.",
            )
        pem = _pem(public_key)
        source = Source(store, version, public_key=pem, signed_for=signed_for)
        made = cls(store, source, allow_version_skew=allow_version_skew, cache=cache)
        how: dict[str, Any] = {"storage": storage, "public_key": pem, "signed_for": signed_for}
        made._again = partial(cls.open, uri, **how, allow_version_skew=allow_version_skew, cache=cache)
        return made

    def newer(self) -> ModelSet | None:
        """Open the current version with the same arguments; None if this set is the current version already.

        Loaded models that are the same in both versions are reused. An older version is refused: it means that
        releases were removed.

        Raises
        ------
        DamageError
            As `open`.
        """
        if Index(self._store).version() == self.version:
            return None
        made: ModelSet = self._again(min_version=self.version)
        with self._lock:
            loaded = list(self._loaded.items())
        same = (each for each in loaded if each[0] in made and made.path(each[0]) == self.path(each[0]))
        made._loaded.update(same)
        return made

    @property
    def uri(self) -> str:
        """The address of the set."""
        return self._store.uri

    @property
    def version(self) -> int:
        """The version of the set that was opened."""
        return self._source.version

    def __getitem__(self, key: str) -> Any:
        """Return the model of a key; it is loaded on first use.

        Raises
        ------
        KeyError
            There is no model for this key.
        DamageError
            The model file is missing, its bytes are not those that were published, or it was fitted with other library
            versions.
        """
        position = self._position(key)
        with self._lock:
            if key in self._loaded:
                self._loaded.move_to_end(key)
                return self._loaded[key]
        estimator = self._load(key, position)
        with self._lock:
            self._loaded[key] = estimator
            while len(self._loaded) > self._room:
                self._loaded.popitem(last=False)
        return estimator

    def __iter__(self) -> Iterator[str]:
        """The keys, sorted."""
        return iter(self._models.column("key").to_pylist())

    def __len__(self) -> int:
        return int(self._models.num_rows)

    def __contains__(self, key: object) -> bool:
        return self._found(key) is not None

    def __repr__(self) -> str:
        return f"ModelSet({self.uri!r}, version={self.version}, {len(self)} models)"

    def predict(
        self, frame: pd.DataFrame, key: str | Sequence[str], *, missing: Literal["raise", "nan"] = "raise"
    ) -> pd.Series[Any] | pd.DataFrame:
        """Predict each row with the model of its key. Each model is loaded and called once.

        Parameters
        ----------
        frame
            The features and the key columns; columns in any order.
        key
            The key columns, in the order of the training: ``["store", "item"]`` for keys such as ``store=1/item=2``. A
            single column holds whole keys.
        missing
            What happens to a row whose key has no model: ``raise`` a KeyError, or predict ``nan``.

        Returns
        -------
        Series or DataFrame
            The predictions, with the index of ``frame``. A DataFrame if the models have several outputs.

        Raises
        ------
        KeyError
            A key has no model.
        ConfigurationError
            The frame lacks a column.
        DamageError
            As `__getitem__`.
        """
        from job.registry import routed

        return routed.predict(self, frame, key, missing)

    def path(self, key: str) -> str:
        """The path of the key's model file, relative to `uri`."""
        return self._name(key, self._models.column("digest")[self._position(key)].as_py())

    def info(self, key: str) -> dict[str, Any]:
        """The row of a key in the published table, with JSON columns parsed. Keys without a model have a row, too.

        Raises
        ------
        KeyError
            The key is not in the table.
        """
        rows = self._source.read(ROW.names, [key]).to_pylist()
        if not rows:
            raise KeyError(key)
        row: dict[str, Any] = rows[0]
        for name in _JSON:
            row[name] = json.loads(row[name]) if row[name] else None
        return row

    def metrics(self) -> pd.DataFrame:
        """The metrics of all models: a row for each key, a column for each metric, and rows, seconds and state."""
        import pandas as pd

        frame = self.frame()
        frame = frame[frame["digest"].notna()]
        scores = pd.DataFrame([json.loads(text) if text else {} for text in frame["metrics"]], index=frame.index)
        return scores.join(frame[["rows", "seconds", "state"]].rename(columns=lambda name: _free(name, scores.columns)))

    def frame(self) -> pd.DataFrame:
        """The whole published table, with failed and skipped keys. The index of the frame is the key."""
        frame: pd.DataFrame = self._source.read(ROW.names).to_pandas()
        return frame.set_index("key").sort_index()

    def _found(self, key: object) -> int | None:
        """The row of a key, by binary search: a dictionary of a million keys would take longer than reading them."""
        if not isinstance(key, str):
            return None
        keys = whole(self._models.column("key"))
        at = bisect_left(range(len(keys)), key, key=lambda number: keys[number].as_py())
        return at if at < len(keys) and keys[at].as_py() == key else None

    def _position(self, key: str) -> int:
        if (found := self._found(key)) is not None:
            return found
        raise KeyError(key)

    def _name(self, key: str, digest: str) -> str:
        if not _DIGEST.fullmatch(digest):
            raise DamageError(f"the table's digest of {key!r} is not a SHA-256")
        return model_name(key, digest)

    def _load(self, key: str, position: int) -> Any:
        from job.fit import artifact  # scikit-learn's import is slow, and listing keys does not need it

        digest = self._models.column("digest")[position].as_py()
        size = self._models.column("size")[position].as_py()
        data = fetch(self._store, key, self._name(key, digest), size, self.version)
        versions = self._models.column("versions")[position].as_py()
        try:
            return artifact.load(
                data,
                digest=digest,
                versions=json.loads(versions) if versions else None,
                allow_version_skew=self._allow_version_skew,
            )
        except DamageError as error:
            raise DamageError(f"model {key!r}: {error.message}", hint=error.hint) from error


def _pem(key: str | bytes | Path | None) -> bytes | None:
    if key is None or isinstance(key, bytes):
        return key
    if isinstance(key, str) and key.lstrip().startswith("-----BEGIN"):
        return key.encode()
    return local_file.read(key, "the public key")


def _free(name: str, taken: Any) -> str:
    return f"{name}_" if name in taken else name
