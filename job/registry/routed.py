"""Rows of one frame sent to the models of their keys: what `ModelSet.predict` does."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from job.errors import ConfigurationError
from job.fit.traits import is_text
from job.keys import hive_key
from job.reader.key_text import key_texts

if TYPE_CHECKING:
    import pandas as pd

AHEAD = 16
"""Number of models that are read ahead of their use."""


def predict(
    models: Mapping[str, Any], frame: pd.DataFrame, key: str | Sequence[str], missing: Literal["raise", "nan"]
) -> pd.Series[Any] | pd.DataFrame:
    """See `job.ModelSet.predict`."""
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise ConfigurationError(
            f"the rows are a {type(frame).__name__}, and predict needs their columns by name",
            hint="Give a pandas.DataFrame.",
        )
    if missing not in ("raise", "nan"):
        raise ConfigurationError(f"missing={missing!r} is neither 'raise' nor 'nan'")
    names = [key] if isinstance(key, str) else list(key)
    absent = [name for name in names if name not in frame.columns]
    if absent or not names:
        raise ConfigurationError(
            f"the frame has no column {', '.join(map(repr, absent))}", hint="Name the columns of the key."
        )
    keys = _keys(models, frame, names)
    without = [each for each in keys if each not in models]
    if without and missing == "raise":
        shown = ", ".join(map(repr, without[:5])) + (" …" if len(without) > 5 else "")
        raise KeyError(f"no model of {shown}; missing='nan' leaves their rows without a prediction")
    columns = [name for name in frame.columns if name not in names]
    answers: list[tuple[Any, np.ndarray[Any, Any]]] = []
    for each, model in _loaded(models, [each for each in keys if each in models]):
        rows = keys[each]
        answer = np.asarray(model.predict(_given(model, frame.iloc[rows], columns)))
        if answer.shape[:1] != (len(rows),):
            raise ConfigurationError(
                f"the model of {each!r} gave an array of shape {answer.shape} for {len(rows)} rows"
            )
        answers.append((rows, answer))
    width = {answer.shape[1:] for _, answer in answers}
    if len(width) > 1:
        raise ConfigurationError("the models have different numbers of outputs")
    kinds = [answer.dtype for _, answer in answers]
    whole = np.result_type(*kinds) if kinds else np.dtype(float)
    if without:
        whole = np.result_type(whole, float) if whole.kind in "biuf" else np.dtype(object)
    elif whole.kind in "US":
        whole = np.dtype(object)
    found = np.full((len(frame), *(width.pop() if width else ())), np.nan if without else 0, whole)
    for rows, answer in answers:
        found[rows] = answer
    if found.ndim == 1:
        return pd.Series(found, index=frame.index, name="prediction")
    return pd.DataFrame(found, index=frame.index)


def _keys(models: Mapping[str, Any], frame: pd.DataFrame, names: Sequence[str]) -> dict[str, np.ndarray[Any, Any]]:
    """The places of each key's rows. Several values may be one key, such as the number 1 and the text ``1``."""
    if not len(frame):
        return {}
    columns = [_told_apart(frame[name]) for name in names]
    places = frame.groupby(columns, sort=False, dropna=False, observed=True).indices
    values = [each if isinstance(each, tuple) else (each,) for each in places]
    texts = [_texts([each[at] for each in values], column) for at, column in enumerate(columns)]
    found: dict[str, list[Any]] = {}
    for level, rows in zip(zip(*texts, strict=True), places.values(), strict=True):
        found.setdefault(_key(models, names, level), []).append(rows)
    return {key: rows[0] if len(rows) == 1 else np.sort(np.concatenate(rows)) for key, rows in found.items()}


def _told_apart(values: pd.Series[Any]) -> pd.Series[Any]:
    """The values, as the texts of `_texts` if they are Python objects: pandas takes 1, 1.0 and True for one value."""
    import pandas as pd

    if values.dtype != object or pd.api.types.infer_dtype(values, skipna=True) == "string":
        return values
    return values.map(lambda each: f"{_key_text(each)}\0{each}", na_action="ignore")


def _key_text(value: Any) -> str:
    try:
        return str(key_texts(pa.array([value]))[0])
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        return str(value)


def _texts(values: Sequence[Any], column: pd.Series[Any]) -> list[tuple[str | None, str | None]]:
    """Two texts of each value: the one that it has in keys of tables (``true``), and that of Python (``True``)."""
    import pandas as pd

    if column.dtype == object:
        halves = [(None, None) if pd.isna(each) else each.partition("\0") for each in values]
        return [(each[0], each[-1] or each[0]) for each in halves]
    array = pa.array(pd.Series(values, dtype=column.dtype), from_pandas=True)
    array = array.dictionary_decode() if isinstance(array, pa.DictionaryArray) else array
    said = [None if pd.isna(each) else str(each) for each in values]
    return list(zip(key_texts(array).to_pylist(), said, strict=True))


def _key(models: Mapping[str, Any], names: Sequence[str], levels: Sequence[tuple[str | None, str | None]]) -> str:
    """The key of some values. A text alone is a key, too (layout ``objects``)."""
    every: list[str] = []
    for texts in zip(*levels, strict=True):
        if len(names) == 1 and texts[0] is not None:
            every.append(texts[0])
        every.append(hive_key(dict(zip(names, texts, strict=True)), names))
    return next((each for each in every if each in models), every[0])


def _given(model: Any, rows: pd.DataFrame, columns: list[str]) -> pd.DataFrame | pd.Series[Any]:
    """The rows as the model takes them: its features as a frame, or one column of texts."""
    if not is_text(model):
        return rows[_features(model, rows, columns)]
    if len(columns) != 1:
        raise ConfigurationError(
            f"the {type(model).__name__} takes one column of texts, and the frame has {', '.join(map(repr, columns))}",
            hint="Give the columns of the key and this column alone.",
        )
    return rows[columns[0]]


def _features(model: Any, frame: pd.DataFrame, columns: list[str]) -> list[str]:
    """The model's columns, in the order of the training. A model without names gets all columns except the key's."""
    known = getattr(model, "feature_names_in_", None)
    if known is None:
        return columns
    absent = [name for name in known if name not in frame.columns]
    if absent:
        raise ConfigurationError(f"the frame has no column {', '.join(map(repr, absent))}, which the model needs")
    return list(known)


def _loaded(models: Mapping[str, Any], keys: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """The models in the order of ``keys``; threads read them ahead of their use."""
    waiting: deque[tuple[str, Future[Any]]] = deque()
    left = iter(keys)
    with ThreadPoolExecutor(AHEAD, "model") as pool:
        for each in left:
            waiting.append((each, pool.submit(models.__getitem__, each)))
            if len(waiting) < AHEAD:
                continue
            name, future = waiting.popleft()
            yield name, future.result()
        while waiting:
            name, future = waiting.popleft()
            yield name, future.result()
