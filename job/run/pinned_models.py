"""The version of a published set that a scoring applies: which model each key gets, or why it gets none."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from job import run_paths
from job.arrow import digest_column, whole
from job.config import local_file
from job.config.score_settings import ModelsSettings, ScoreSettings
from job.errors import ConfigurationError, DamageError, InputError, NotFoundError
from job.keys import model_name
from job.registry import forgotten, marks
from job.registry.index import STALE, Index
from job.registry.source import Source
from job.score.bounds import HeldOut
from job.store import Store
from job.store.side import storage

log = logging.getLogger(__name__)

_COLUMNS = ["key", "state", "digest", "size", "versions", "trained_at", "listed_at", "gone_since", "run"]
_OF_INTERVALS = ["residuals", "until"]
_REPEATED = ("state", "versions", "run", "until")
"""Columns with few distinct texts in many rows: they are read dictionary-encoded."""
_SLICE = 16_384
"""Number of keys whose fingerprints are made at a time, as Python objects."""
REASONS = ("", "no_model", "model_too_old", "model_stale")
"""Reasons why a key has no model that may be used; `Chosen.reason` holds positions in this tuple. "" is no reason."""
MESSAGES = {
    "no_model": "the set has no model for this key",
    "model_too_old": "the model is older than score.max_age",
    "model_stale": "the last retraining failed, and score.stale_model is skip",
}


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The model of each of some keys."""

    at: np.ndarray
    """shape (keys,), int32: the row of the model; -1 for none"""
    reason: np.ndarray
    """shape (keys,), int8: the position in `REASONS`"""


class PinnedModels:
    """The models of one version.

    Parameters
    ----------
    store
        The output that holds the models.
    settings, score
        Settings: the version to use, and the policy for keys without a model that may be used.
    now
        The time at which the age of a model is measured.

    Raises
    ------
    ConfigurationError
        Nothing is published there, or not this version; the fallback has no model.
    DamageError
        The version is not signed as the settings require, or it is older than ``models.min_version``.
    """

    def __init__(self, store: Store, settings: ModelsSettings, score: ScoreSettings, now: datetime) -> None:
        self.store, self._score = store, score
        intervals = score.method == "predict" and score.function is None
        with storage("input", f"the models {store.uri} cannot be read"):
            index = Index(store)
            version = settings.at if settings.at is not None else index.version()
            if version is None:
                raise ConfigurationError(
                    f"models.uri: nothing is published at {store.uri}", hint="Give the output.uri of a trained job."
                )
            if settings.min_version is not None and version < settings.min_version:
                raise DamageError(
                    f"{store.uri} is at version {version}, older than models.min_version: {settings.min_version}",
                    hint="Releases were taken away; restore the index, or lower models.min_version if that was meant.",
                )
            key = local_file.read(settings.public_key, "models.public_key") if settings.public_key else None
            wanted = [*_COLUMNS, *(_OF_INTERVALS if intervals else ())]
            encoded = [name for name in wanted if name in _REPEATED]
            try:
                rows = Source(store, version, public_key=key).read(wanted, encoded=encoded)
            except ConfigurationError as error:
                if settings.at is None or key is not None:
                    raise
                hint = f"`manyfit history {store.uri}` lists the versions."
                raise ConfigurationError(f"models.at: {error.message}", hint=hint) from error
            confirmed = marks.confirmed(store, version)
            # An older version still names the models of keys that were forgotten since.
            gone = forgotten.since(store, version)
            if gone:
                rows = rows.filter(pa.array(~forgotten.holds(rows["key"], gone)))
        self.version = version
        self._rows = (rows.filter(pc.is_valid(rows["digest"])) if rows["digest"].null_count else rows).combine_chunks()
        del rows
        self._keys = whole(self._rows["key"])
        self._barred = self._bars(now, confirmed)
        self._fallback = -1
        if (stand_in := score.missing_model.fallback) is not None and score.missing_model.policy == "fallback":
            self._fallback = pc.index(self._keys, pa.scalar(stand_in)).as_py()
            if self._fallback < 0:
                raise ConfigurationError(
                    f"score.missing_model.fallback: version {version} of {store.uri} has no model of {stand_in!r}",
                    hint=f"Its keys are such as {self.keys[0].as_py()!r}: `manyfit models {store.uri}` lists them."
                    if len(self)
                    else "It has no model at all.",
                )

    @property
    def keys(self) -> pa.Array:
        """The keys that have a model, sorted."""
        return self._keys.take(pc.sort_indices(self._keys))

    def __len__(self) -> int:
        return int(self._rows.num_rows)

    def _bars(self, now: datetime, confirmed: datetime | None) -> np.ndarray:
        """For each model the position in `REASONS` of the reason why it is not used; 0 if it may be used."""
        found = np.zeros(len(self._keys), np.int8)
        if self._score.max_age is not None:
            seen = np.maximum(*(_micros(self._rows[name]) for name in ("trained_at", "listed_at")))
            if confirmed is not None:  # a run over the whole input confirms all keys except those that are gone
                here = pc.is_null(self._rows["gone_since"]).to_numpy()
                seen = np.where(here, np.maximum(seen, int(confirmed.timestamp() * 1e6)), seen)
            oldest = int((now.timestamp() - self._score.max_age) * 1e6)
            found[seen < oldest] = REASONS.index("model_too_old")
        if self._score.stale_model == "skip":
            stale = pc.equal(self._rows["state"].cast(pa.string()), STALE).to_numpy()
            found[stale & (found == 0)] = REASONS.index("model_stale")
        return found

    def choose(self, keys: pa.Array) -> Chosen:
        """The model of each key, or why it has none."""
        at = pc.fill_null(pc.index_in(keys, value_set=self._keys), -1).to_numpy().astype(np.int32)
        reason = np.where(at < 0, REASONS.index("no_model"), self._barred[at] if len(self._barred) else 1)
        missing = (reason == REASONS.index("no_model")) | (reason == REASONS.index("model_too_old"))
        if self._fallback >= 0:
            at = np.where(missing, self._fallback, at).astype(np.int32)
            reason = np.where(missing, 0, reason)
        return Chosen(at=np.where(reason > 0, -1, at).astype(np.int32), reason=reason.astype(np.int8))

    def warn_of_strangers(self, keys: pa.Array, chosen: Chosen) -> None:
        """Warn if the set has a model for none of the keys: the input is probably divided in another way."""
        if not len(keys) or not len(self) or (chosen.reason != REASONS.index("no_model")).any():
            return
        log.warning(
            "no key of the input has a model: its keys are such as %r, and those of %s are such as %r. A scoring has "
            "the input.layout, and the input.key or input.keys, of the training.",
            keys[0].as_py(),
            self.store.uri,
            self.keys[0].as_py(),
        )

    def mixed(self, keys: pa.Array, data: pa.Array) -> pa.Array:
        """One fingerprint for each key, of its data and of its model, or of its data and the reason for having none."""
        chosen = self.choose(keys)
        made = bytearray()
        for begin in range(0, len(keys), _SLICE):
            at = chosen.at[begin : begin + _SLICE]
            reasons = chosen.reason[begin : begin + _SLICE].tolist()
            models = pa.array(at, mask=at < 0)
            tokens = self._rows["digest"].take(models).to_pylist()
            held = self._held(models)
            own = self._own(keys[begin : begin + _SLICE], at)
            every = zip(data[begin : begin + _SLICE].to_pylist(), tokens, reasons, held, own, strict=True)
            for mine, digest, reason, residuals, theirs in every:
                token = REASONS[reason] if digest is None else digest
                if theirs and residuals is not None:
                    token += json.dumps(residuals)
                made += hashlib.sha256(mine + token.encode()).digest()
        return digest_column(made)

    def described(self, at: np.ndarray, keys: pa.Array) -> list[str]:
        """Describe the models to a task: JSON for each key, as `job.worker.operation.Item` holds it.

        Parameters
        ----------
        at
            Shape (keys,): the row of each key's model.
        keys
            The keys.
        """
        rows = self._rows.select(["key", *_TOLD]).take(pa.array(at)).to_pylist()
        held, own = self._held(pa.array(at)), self._own(keys, at)
        found = []
        for row, mine, theirs in zip(rows, held, own, strict=True):
            about = {"name": model_name(row["key"], row["digest"]), **{name: row[name] for name in _TOLD}}
            found.append(json.dumps({**about, "held": mine} if theirs and mine else about))
        return found

    def _own(self, keys: pa.Array, at: np.ndarray) -> list[bool]:
        """Whether the model of each key was trained for that key. The residuals of a fallback model do not count."""
        if self._fallback < 0:
            return [bool(row >= 0) for row in at]
        mine = pc.index(keys, self._keys[self._fallback]).as_py()
        return [bool(row >= 0) and (row != self._fallback or place == mine) for place, row in enumerate(at)]

    def _held(self, at: pa.Array) -> list[dict[str, Any] | None]:
        """The residuals on held-out rows of the models at these rows (`job.score.bounds.HeldOut`); None if it has none.

        A null stands for no model.
        """
        if "residuals" not in self._rows.column_names or self._rows["residuals"].null_count == len(self._rows):
            return [None] * len(at)
        return [row if row["residuals"] else None for row in self._rows.select(_OF_INTERVALS).take(at).to_pylist()]

    def held(self, key: str, at: int) -> HeldOut | None:
        """The residuals on held-out rows of the model of one key; None if there are none, or for a fallback model."""
        found = self._held(pa.array([at]))[0] if self._own(pa.array([key]), np.array([at]))[0] else None
        return HeldOut(**found) if found else None

    def recipe(self) -> dict[str, Any]:
        """The recipe that the models were trained with, from the newest run that is still recorded; else empty."""
        for run in reversed(pc.unique(self._rows["run"]).to_pylist()):
            with storage("input", f"the models {self.store.uri} cannot be read"):
                try:
                    found = json.loads(bytes(self.store.get(run_paths.settings(run))))
                except NotFoundError:  # gc has removed the files of the run
                    continue
            if "models" in found["settings"]:
                raise ConfigurationError(
                    f"models.uri: {self.store.uri} holds predictions", hint="Give the output.uri of a trained job."
                )
            return dict(found["settings"].get("recipe", {}))
        return {}

    def bytes_of(self, at: int) -> Any:
        """Read the bytes of a model, for a preview."""
        row = self._rows.slice(at, 1).to_pylist()[0]
        name = model_name(row["key"], row["digest"])
        try:
            return self.store.get(name)
        except NotFoundError:
            raise InputError(
                f"{name} is not in {self.store.uri}", hint="`manyfit verify` lists what is missing."
            ) from None

    def row(self, at: int) -> dict[str, Any]:
        """The published row of a model."""
        return dict(self._rows.slice(at, 1).to_pylist()[0])


def _micros(times: pa.ChunkedArray) -> np.ndarray:
    """Microseconds since the epoch; 0 for null."""
    found: np.ndarray = pc.fill_null(times.cast(pa.int64()), 0).to_numpy()
    return found


_TOLD = ("digest", "size", "versions")
