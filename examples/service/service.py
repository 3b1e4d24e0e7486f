"""An HTTP service for one fleet: rows come in, the predictions of their key's model go out.

Models are loaded when they are first asked for, and the last ones stay in memory. A new version of the set is taken up
while requests go on: each request is answered by one version, which it names.

    MANYFIT_MODELS=s3://models/gapminder/ uvicorn --factory service:app --host 127.0.0.1 --port 8000
    curl -X POST localhost:8000/predict/Rwanda -H 'content-type: application/json' -d '{"rows": [{"year": 2030}]}'
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pandas as pd
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field

from job import ModelSet
from job.errors import ConfigurationError, DamageError, ManyfitError

log = logging.getLogger("service")
KEY = "\x00key"
"""the column that sends the rows to their model; no feature has this name"""


class Rows(BaseModel):
    """A request: one object for each row, with the features by name."""

    rows: list[dict[str, float | int | str | bool | None]] = Field(min_length=1, max_length=10_000)


class Answer(BaseModel):
    """The predictions in the order of the rows, and the version of the set that made them."""

    key: str
    version: int
    predictions: list[Any]


class Fleet:
    """A published set that follows its output.

    Parameters
    ----------
    uri
        The ``output.uri`` of the job that trains.
    cache
        Models that stay in memory.
    every
        Seconds from one look for a new version to the next.
    public_key
        A file with the public key: only signed versions are opened.
    """

    def __init__(self, uri: str, *, cache: int, every: float, public_key: str | None = None) -> None:
        self.models = ModelSet.open(uri, cache=cache, public_key=public_key)
        self._every = every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follow", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self) -> None:
        """Follow no more."""
        self._stop.set()
        self._thread.join()

    def refresh(self) -> None:
        """Take up the current version; models that are the same stay in memory."""
        newer = self.models.newer()
        if newer is not None:
            log.info("version %d instead of %d", newer.version, self.models.version)
            self.models = newer  # requests under way keep the set that they have begun with

    def _follow(self) -> None:
        while not self._stop.wait(self._every):
            try:
                self.refresh()
            except ManyfitError as error:
                log.error("version %d is served on: %s", self.models.version, error)


def predicted(models: ModelSet, key: str, rows: list[dict[str, Any]]) -> list[Any]:
    """Predictions of one key's model as plain values, or the HTTP error that tells what is wrong."""
    if key not in models:
        raise HTTPException(404, f"no model of {key!r} in version {models.version}")
    try:
        found = models.predict(pd.DataFrame(rows).assign(**{KEY: key}), KEY)
    except DamageError as error:
        log.error("%s", error)
        raise HTTPException(500, f"the model of {key!r} cannot be loaded") from None
    except ConfigurationError as error:  # a feature that the rows lack
        raise HTTPException(422, error.message) from None
    except (TypeError, ValueError) as error:
        log.info("rows that do not fit the model of %r: %s", key, error)
        raise HTTPException(422, f"the rows do not fit the model: {type(error).__name__}") from None
    plain = found.to_numpy().tolist()
    return [None if isinstance(each, float) and not math.isfinite(each) else each for each in plain]


def app(uri: str | None = None, *, cache: int | None = None, every: float | None = None) -> FastAPI:
    """The application; what is not given comes from the environment: MANYFIT_MODELS, MANYFIT_CACHE, MANYFIT_EVERY."""
    env = os.environ
    fleet = Fleet(
        uri or env["MANYFIT_MODELS"],
        cache=cache or int(env.get("MANYFIT_CACHE", "256")),
        every=every or float(env.get("MANYFIT_EVERY", "30")),
        public_key=env.get("MANYFIT_PUBLIC_KEY"),
    )

    @asynccontextmanager
    async def following(_: FastAPI) -> AsyncIterator[None]:
        fleet.start()
        yield
        fleet.stop()

    made = FastAPI(title="manyfit", lifespan=following)

    @made.get("/health")
    def health() -> dict[str, Any]:
        return {"version": fleet.models.version, "models": len(fleet.models)}

    # Not async: loading and predicting are done in threads, and a slow model keeps nobody else waiting.
    @made.post("/predict/{key:path}")
    def predict(key: str, given: Rows) -> Answer:
        models = fleet.models
        return Answer(key=key, version=models.version, predictions=predicted(models, key, given.rows))

    return made
