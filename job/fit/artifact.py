"""Serialises a fitted estimator to bytes, loads it back, and verifies both.

``joblib.load`` reads the bytes. They hold only the estimator, so a model file can be loaded without this package.
Unpickling runs code that the bytes refer to, so bytes are unpickled only after their digest was checked.
"""

from __future__ import annotations

import copyreg
import hashlib
import io
import pickle
import platform
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.feature_extraction.text import CountVectorizer

from job.config.settings import ArtifactSettings
from job.errors import DamageError, PartitionError
from job.fit.installed import version
from job.fit.shipped_code import SHIPPED, is_shipped
from job.words import first_line

_PROTOCOL = 5
_PLAIN = b"\x80\x05"
"""the first bytes of a pickle of protocol 5 that is not compressed"""
_OF_JOBLIB = b"joblib.numpy_pickle"
"""in a file of ``joblib.dump`` with arrays, which lie between the parts of the pickle"""
_EXACT = ("python", "scikit-learn", "numpy")
_CARD = ("numpy", "scipy", "scikit-learn", "joblib", "pandas")


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A model as it is stored."""

    data: bytes
    """what ``joblib.load`` reads"""
    digest: str
    """SHA-256 of ``data``, hex: the model's name"""


def versions() -> dict[str, str]:
    """The environment card: the library versions that a model needs when it is loaded."""
    return {"python": platform.python_version(), **{name: version(name) for name in _CARD}}


def pack(estimator: Any, settings: ArtifactSettings, *, sample: Any = None) -> Artifact:
    """Serialise a fitted estimator, and check that it can be loaded. Equal estimators give equal bytes.

    Parameters
    ----------
    estimator
        A fitted estimator.
    settings
        ``check``, ``compress`` and ``max_bytes``.
    sample
        A few rows of the features, for ``check: predict``.

    Raises
    ------
    PartitionError
        ``artifact_error``: the estimator cannot be pickled, or not be loaded elsewhere; ``model_too_large``.
    """
    kind = type(estimator).__name__
    _check_home(type(estimator).__module__, type(estimator).__qualname__)
    try:
        data = _dumps(estimator, settings.compress)
    except (MemoryError, PartitionError):
        raise
    except Exception as error:
        message = f"the {kind} cannot be pickled: {first_line(error)}"
        hint = "Lambdas and functions defined inside functions cannot; use named functions of an importable module."
        raise PartitionError("artifact_error", message, hint=hint) from error
    if len(data) > settings.max_bytes:
        message = f"the {kind} takes {len(data)} bytes, and artifact.max_bytes is {settings.max_bytes}"
        raise PartitionError("model_too_large", message, hint="Fit a smaller model, compress it, or raise the limit.")
    if settings.check != "none":
        _check(estimator, data, settings, sample)
    return Artifact(data=data, digest=hashlib.sha256(data).hexdigest())


def _dumps(estimator: Any, compress: int) -> bytes:
    buffer = io.BytesIO()
    # A plain pickle, which joblib.load can read. It takes a tenth of the time of joblib.dump, which pickles in Python.
    pickler = pickle.Pickler(buffer, _PROTOCOL)
    pickler.dispatch_table = _Reducers()
    pickler.dump(estimator)
    # A zlib stream, as joblib writes by default; joblib.load recognises it by its first bytes.
    return zlib.compress(buffer.getvalue(), compress) if compress else buffer.getvalue()


class _Reducers(dict[type, Any]):
    """The dispatch table of one pickle. Estimators are reduced in a special way, all other classes as usual.

    A pickle writes a text only once if it occurs again as the same object. Whether two equal texts are the same object
    depends on earlier imports of the process. So equal texts in the states of estimators are replaced by one object.
    """

    def __init__(self) -> None:
        super().__init__()
        self._texts: dict[str, str] = {}

    def __missing__(self, kind: type) -> Any:
        self[kind] = reducer = self._reduce if issubclass(kind, BaseEstimator) else copyreg.dispatch_table[kind]
        return reducer

    def _reduce(self, estimator: Any) -> Any:
        reduced = estimator.__reduce_ex__(_PROTOCOL)
        if isinstance(reduced, str) or len(reduced) < 3:
            return reduced  # a global object, or the state is in the arguments
        rebuild, arguments, state, *rest = reduced
        if type(state) is dict:
            state = {self._one(name): self._one(value) for name, value in state.items()}
            if isinstance(estimator, CountVectorizer):
                state.pop("_stop_words_id", None)  # an address in memory
        return (rebuild, arguments, state, *rest)

    def _one(self, value: Any) -> Any:
        if type(value) is not str:
            return value
        # For a text of one letter, chr() gives the object that Python itself shares, for example with arrays.
        return chr(ord(value)) if len(value) == 1 else self._texts.setdefault(value, value)


class _Unpickler(pickle.Unpickler):
    """Refuses models that refer to shipped code, to ``__main__`` or to this package."""

    def find_class(self, module: str, name: str) -> Any:
        _check_home(module, name)
        return super().find_class(module, name)


def _check_home(module: str, name: str) -> None:
    root = module.split(".")[0]
    if module.startswith(SHIPPED) or is_shipped(module) or module == "__main__":
        message = (
            f"the model refers to {name!r}, which is defined in a file of the recipe, so nobody else could load it"
        )
        hint = "Put it into an importable module, install that in the image and where models are used, and import it."
        raise PartitionError("artifact_error", message, hint=hint)
    if root == "job":
        message = f"the model refers to {module}.{name}: a model must load without manyfit"
        raise PartitionError("artifact_error", message)


def _check(estimator: Any, data: bytes, settings: ArtifactSettings, sample: Any) -> None:
    kind = type(estimator).__name__
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            plain = zlib.decompress(data) if settings.compress else data
            loaded = _Unpickler(io.BytesIO(plain)).load()
            if type(loaded) is not type(estimator):
                raise TypeError(f"loads as {type(loaded).__name__}")
            if settings.check == "predict" and sample is not None:
                _check_predictions(estimator, loaded, sample)
    except (MemoryError, PartitionError):
        raise
    except Exception as error:
        message = f"the {kind} was pickled but cannot be loaded back: {first_line(error)}"
        raise PartitionError("artifact_error", message) from error


def _check_predictions(estimator: Any, loaded: Any, sample: Any) -> None:
    method = next((each for each in ("predict", "transform") if hasattr(estimator, each)), None)
    if method is None:
        return
    before, after = _dense(getattr(estimator, method)(sample)), _dense(getattr(loaded, method)(sample))
    same = before.shape == after.shape and (
        np.array_equal(before, after, equal_nan=True) if before.dtype.kind == "f" else np.array_equal(before, after)
    )
    if not same:
        message = f"the {type(estimator).__name__} gives other results after loading it back"
        raise PartitionError("artifact_error", message)


def _dense(value: Any) -> Any:
    return np.asarray(value.toarray() if hasattr(value, "toarray") else value)


def load(
    data: Any,
    *,
    digest: str,
    versions: Mapping[str, str] | None = None,
    allow_version_skew: bool = False,
    max_bytes: int | None = None,
) -> Any:
    """Load the estimator in ``data``. It is unpickled only if its digest and its versions match.

    Parameters
    ----------
    data
        Any buffer.
    digest
        SHA-256 of the model file in the published table, hex.
    versions
        The environment card of the training. For python, scikit-learn and numpy, major and minor version must match;
        for other packages the major version.
    allow_version_skew
        Whether to load the model if versions do not match.
    max_bytes
        The size of the model file in the published table, in bytes.

    Raises
    ------
    DamageError
        The size, the digest or a version differs; then nothing is unpickled. Or the model cannot be loaded.
    """
    size = memoryview(data).nbytes
    if max_bytes is not None and size > max_bytes:
        raise DamageError(f"the model has {size} bytes, the published table says {max_bytes}")
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        message = f"the model's bytes are not those that were published: SHA-256 {found[:12]}..., not {digest[:12]}..."
        raise DamageError(message, hint="Train the key again, or restore the object.")
    if versions and not allow_version_skew:
        _check_versions(versions)
    try:
        with warnings.catch_warnings():
            if not allow_version_skew:
                warnings.simplefilter("error", InconsistentVersionWarning)
            return _loads(data)
    except InconsistentVersionWarning as error:
        raise _skew("scikit-learn", error.original_sklearn_version, error.current_sklearn_version) from None
    except ModuleNotFoundError as error:
        message = f"the model needs the package {error.name!r}, which is not installed here"
        raise DamageError(message, hint="Install what the recipe imports; `manyfit show` lists it.") from error
    except Exception as error:
        raise DamageError(f"the model cannot be loaded: {type(error).__name__}: {first_line(error)}") from error


def _loads(data: Any) -> Any:
    raw = data if isinstance(data, bytes) else bytes(data)
    # What `pack` writes is a plain pickle. joblib, whose unpickler is written in Python, needs five times as long.
    if raw.startswith(_PLAIN) and _OF_JOBLIB not in raw:
        return pickle.loads(raw)
    return joblib.load(io.BytesIO(raw))


def _check_versions(trained: Mapping[str, str]) -> None:
    here = versions()
    for name, then in trained.items():
        current = here.get(name)
        if current is None:
            continue
        parts = 2 if name in _EXACT else 1
        if then.split(".")[:parts] != current.split(".")[:parts]:
            raise _skew(name, then, current)


def _skew(name: str, trained: str, current: str) -> DamageError:
    return DamageError(
        f"the model was trained with {name} {trained}, and here is {current}",
        hint="Use the same versions, train again here, or allow it: allow_version_skew=True.",
    )
