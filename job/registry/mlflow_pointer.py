"""A registered model of MLflow that points at a published set. MLflow imports this module where the model is loaded.

The entry holds no model: its configuration names the output, the version and the digest of each data file of its table,
which holds the digest of each model. Rows go to the model of their key; models are loaded when they are needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from job.config.settings import StorageSide
from job.registry.model_set import ModelSet
from job.registry.source import Source
from job.store import open_store

if TYPE_CHECKING:
    import pandas as pd


def document(
    uri: str,
    version: int,
    files: Mapping[str, str],
    *,
    key: Sequence[str],
    missing: str,
    storage: StorageSide,
) -> dict[str, Any]:
    """The content of an entry. It has no credentials: they come from the environment of the process that loads it."""
    return {
        "uri": uri,
        "version": version,
        "files": dict(files),
        "key": list(key),
        "missing": missing,
        "storage": storage.model_dump(exclude_none=True),
    }


class Pointed:
    """The Python model of the entry, with the method that MLflow calls.

    Parameters
    ----------
    models
        The set, of the version that the entry names.
    key
        The key columns.
    missing
        What happens to rows whose key has no model: ``raise`` or ``nan`` (`ModelSet.predict`).
    """

    def __init__(self, models: ModelSet, key: Sequence[str], missing: Literal["raise", "nan"]) -> None:
        self.models = models
        self._key, self._missing = list(key), missing

    def predict(self, frame: pd.DataFrame, params: Mapping[str, Any] | None = None) -> Any:
        """A prediction for each row, in the frame's order; see `ModelSet.predict`."""
        return self.models.predict(frame, self._key, missing=self._missing)


def _load_pyfunc(path: str, model_config: Mapping[str, Any]) -> Pointed:
    """Load the model. MLflow calls this function by name; ``model_config`` is the `document`, possibly overridden."""
    told = dict(model_config)
    store = open_store(told["uri"], StorageSide(**told["storage"]))
    source = Source(store, told["version"], files=told["files"])
    models = ModelSet(store, source, allow_version_skew=False, cache=1024)
    return Pointed(models, told["key"], told["missing"])
