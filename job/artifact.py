"""A fitted estimator to bytes and back, verified.

The bytes are read by ``joblib.load``. Only the estimator is in them: a model file loads without this package. Loading
runs code that the bytes name, so nothing is unpickled before its digest agrees.
"""

from __future__ import annotations

import copyreg
import functools
import hashlib
import importlib.metadata
import io
import pickle
import platform
import warnings
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from job.errors import DamageError, PartitionError
from job.settings import ArtifactSettings
from job.shipped import SHIPPED, is_shipped

_PROTOCOL = 5
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
    """The environment card: what a model must meet again when it is loaded."""
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in _CARD}}


def pack(estimator: Any, settings: ArtifactSettings, *, sample: Any = None) -> Artifact:
    """Serialise and check a fitted estimator. Equal estimators give equal bytes.

    Parameters
    ----------
    estimator
        Fitted.
    settings
        ``check``, ``compress`` and ``max_bytes``.
    sample
        A few rows of the features, for ``check: predict``.

    Raises
    ------
    PartitionError
        ``artifact_error``: cannot be pickled, or not be loaded elsewhere; ``model_too_large``.
    """
    kind = type(estimator).__name__
    _check_home(type(estimator).__module__, type(estimator).__qualname__)
    try:
        data = _dumps(estimator, settings.compress)
    except (MemoryError, PartitionError):
        raise
    except Exception as error:
        message = f"the {kind} cannot be pickled: {_first_line(error)}"
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
    if compress:
        joblib.dump(estimator, buffer, compress=compress, protocol=_PROTOCOL)
        return buffer.getvalue()
    # A plain pickle, which joblib.load reads: a tenth of the time of joblib.dump, whose pickler is written in Python.
    pickler = pickle.Pickler(buffer, _PROTOCOL)
    pickler.dispatch_table = _dispatch()
    pickler.dump(estimator)
    return buffer.getvalue()


@functools.cache
def _dispatch() -> ChainMap[Any, Any]:
    return ChainMap({CountVectorizer: _without_address, TfidfVectorizer: _without_address}, copyreg.dispatch_table)


def _without_address(vectoriser: Any) -> Any:
    """Reduce a vectoriser without ``_stop_words_id``, an address in memory that differs from process to process."""
    rebuild, arguments, state, *rest = vectoriser.__reduce_ex__(_PROTOCOL)
    state = {name: value for name, value in state.items() if name != "_stop_words_id"}
    return (rebuild, arguments, state, *rest)


class _Unpickler(pickle.Unpickler):
    """Notes where everything comes from that a model refers to."""

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
            loaded = joblib.load(io.BytesIO(data)) if settings.compress else _Unpickler(io.BytesIO(data)).load()
            if type(loaded) is not type(estimator):
                raise TypeError(f"loads as {type(loaded).__name__}")
            if settings.check == "predict" and sample is not None:
                _check_predictions(estimator, loaded, sample)
    except (MemoryError, PartitionError):
        raise
    except Exception as error:
        message = f"the {kind} was pickled but cannot be loaded back: {_first_line(error)}"
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
    """The estimator in ``data``, unpickled only if everything agrees.

    Parameters
    ----------
    data
        Any buffer.
    digest
        SHA-256 that the published table gives for it, hex.
    versions
        The environment card it was trained with: python, scikit-learn and numpy must agree by major.minor, the others
        by major version.
    allow_version_skew
        Load it under other versions nevertheless.
    max_bytes
        The size that the published table gives.

    Raises
    ------
    DamageError
        Other bytes, too many of them, other versions, or not loadable; nothing was unpickled but for the last.
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
            return joblib.load(io.BytesIO(data))
    except InconsistentVersionWarning as error:
        raise _skew("scikit-learn", error.original_sklearn_version, error.current_sklearn_version) from None
    except ModuleNotFoundError as error:
        message = f"the model needs the package {error.name!r}, which is not installed here"
        raise DamageError(message, hint="Install what the recipe imports; `manyfit show` lists it.") from error
    except Exception as error:
        raise DamageError(f"the model cannot be loaded: {type(error).__name__}: {_first_line(error)}") from error


def _check_versions(trained: Mapping[str, str]) -> None:
    here = _versions_here()
    for name, version in trained.items():
        current = here.get(name)
        if current is None:
            continue
        parts = 2 if name in _EXACT else 1
        if version.split(".")[:parts] != current.split(".")[:parts]:
            raise _skew(name, version, current)


@functools.cache
def _versions_here() -> dict[str, str]:
    return versions()


def _skew(name: str, trained: str, current: str) -> DamageError:
    return DamageError(
        f"the model was trained with {name} {trained}, and here is {current}",
        hint="Use the same versions, train again here, or allow it: allow_version_skew=True.",
    )


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0][:300] if str(error) else type(error).__name__
