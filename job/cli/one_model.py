"""One model for a person: parameters, fitted attributes, metrics, lineage."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from job.errors import ConfigurationError

if TYPE_CHECKING:
    from job.registry.model_set import ModelSet

_MOST = 20


def document(models: ModelSet, key: str) -> dict[str, Any]:
    """Everything known about one key, as plain data.

    Raises
    ------
    ConfigurationError
        There is no such key.
    DamageError
        The model file is damaged (from `ModelSet`).
    """
    try:
        info = dict(models.info(key))
    except KeyError:
        near = difflib.get_close_matches(key, models.keys(), 1)
        hint = f"Is {near[0]!r} meant? " if near else ""
        hint += f"`manyfit models {models.uri}` lists the keys."
        raise ConfigurationError(f"{models.uri} has no key {key!r}", hint=hint) from None
    found: dict[str, Any] = {"key": key}
    if info.get("digest"):
        estimator = models[key]
        found["estimator"] = type(estimator).__name__
        found["parameters"] = {name: _plain(value) for name, value in _parameters(estimator).items()}
        found["learnt"] = learnt(estimator)
        found["path"] = f"{models.uri}/{models.path(key)}"
    for name in ("metrics", "warnings", "versions", "windows", "horizons", "residuals", "challenger_row"):
        if isinstance(info.get(name), str):
            info[name] = json.loads(info[name])
    if (kind := info.pop("estimator", None)) is not None:
        found["class"] = kind
    found.update({name: value for name, value in info.items() if value is not None})
    return found


def _parameters(estimator: Any) -> dict[str, Any]:
    """Parameters that differ from the defaults; all parameters if the defaults are unknown."""
    try:
        given = estimator.get_params(deep=False)
    except AttributeError:
        return {}
    try:
        defaults = type(estimator)().get_params(deep=False)
    except TypeError:
        return dict(given)
    return {name: value for name, value in given.items() if repr(value) != repr(defaults.get(name))}


def learnt(estimator: Any) -> dict[str, Any]:
    """Public attributes that end with an underscore: by scikit-learn's convention, the results of a fit."""
    names = [name for name in vars(estimator) if name.endswith("_") and not name.startswith("_")]
    found = {name: _plain(getattr(estimator, name)) for name in names}
    coefficients = getattr(estimator, "coef_", None)
    features = getattr(estimator, "feature_names_in_", None)
    if coefficients is not None and features is not None and np.shape(coefficients) == np.shape(features):
        found["coef_"] = dict(zip(map(str, features), (float(each) for each in coefficients), strict=True))
    for name, step in getattr(estimator, "named_steps", {}).items():
        found[name] = {"estimator": type(step).__name__, **learnt(step)}
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        if value.size <= _MOST:
            return value.tolist()
        return f"array of shape {value.shape}, {value.dtype}"
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict | list | tuple):
        if len(value) > _MOST:
            return f"{type(value).__name__} of {len(value)}"
        return (
            {str(k): _plain(v) for k, v in value.items()}
            if isinstance(value, dict)
            else [_plain(each) for each in value]
        )
    return " ".join(repr(value).split())[:200]


def text(found: dict[str, Any]) -> None:
    """Print the plain data that `document` returns."""
    console = Console(highlight=False, soft_wrap=True, markup=False)
    console.print(f"{found['key']}: {found.get('estimator', 'no model')} ({found['state']})")
    for name in ("parameters", "learnt", "metrics"):
        if found.get(name):
            console.print(name)
            _nested(console, found[name], 1)
    if found.get("windows"):
        console.print("windows")
        for each in found["windows"]:
            scores = ", ".join(f"{name} {value:.6g}" for name, value in each["metrics"].items())
            console.print(f"  {each['from']} to {each['to']}: {each['rows']} rows by {each['fitted']}; {scores}")
    if found.get("horizons"):
        console.print("errors by step")
        names = [name for name in ("mae", "rmse", "error_rate") if name in found["horizons"]]
        for step, values in enumerate(zip(*(found["horizons"][name] for name in names), strict=True), start=1):
            if values[0] is not None:
                told = ", ".join(f"{name} {value:.6g}" for name, value in zip(names, values, strict=True))
                console.print(f"  {step:<4} {told}")
    if found.get("residuals"):
        widths = {f"{level} %": value for level, value in found["residuals"]["all"].items()}
        told = ", ".join(f"{name} {'unknown' if value is None else f'± {value:.6g}'}" for name, value in widths.items())
        console.print(f"{'intervals':<15} {told}")
    rest = (
        "skill",
        "until",
        "gate",
        "gate_champion",
        "gate_challenger",
        "gate_rows",
        "gate_p",
        "gate_note",
        "challenger",
        "reason",
        "message",
        "warnings",
        "rows",
        "seconds",
        "size",
        "digest",
        "path",
        "source",
        "run",
        "trained_at",
        "listed_at",
        "gone_since",
        "versions",
    )
    for name in rest:
        if found.get(name) is not None:
            value = found[name]
            shown = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
            console.print(f"{name:<15} {shown}")


def _nested(console: Console, value: dict[str, Any], depth: int) -> None:
    for name, each in value.items():
        if isinstance(each, dict):
            console.print("  " * depth + name)
            _nested(console, each, depth + 1)
        else:
            console.print(
                "  " * depth + f"{name:<24} {each:.6g}"
                if isinstance(each, float)
                else "  " * depth + f"{name:<24} {each}"
            )
