"""Checks an estimator's parameters by scikit-learn's own constraints, before a fit. Pure.

scikit-learn checks most parameters only in ``fit``: then a mistake would make every partition fail, one by one.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from sklearn.base import clone
from sklearn.model_selection import ParameterGrid, ParameterSampler

NAMED = {"steps": 2, "transformers": 3, "transformer_list": 2, "estimators": 2}
"""Arguments that are lists of named estimators, and the number of parts of an entry."""

_MEMBERS = ("_validate_steps", "_validate_transformers", "_validate_estimators")
"""Methods by which scikit-learn's composite estimators check their members."""
_GRIDS = {"param_grid": ParameterGrid, "param_distributions": lambda grid: ParameterSampler(grid, 1)}
_MOST_CANDIDATES = 100


def unnamed(node: Mapping[str, Any], path: str) -> Iterator[str]:
    """A line for each step, transformer or member of a ``_target_`` document that is not written with its name."""
    for argument, parts in NAMED.items():
        entries = node.get(argument)
        for number, entry in enumerate(entries if isinstance(entries, list | tuple) else ()):
            if not isinstance(entry, list | tuple) or len(entry) != parts or not isinstance(entry[0], str):
                shape = "[name, estimator]" if parts == 2 else "[name, estimator, columns]"
                yield f"{path}.{argument}[{number}]: is not of the form {shape}"


def validate(value: Any) -> None:
    """Check the parameters of one estimator, without its members, and the candidates of a search.

    Raises
    ------
    ValueError, TypeError
        The errors that scikit-learn raises for wrong parameters.
    """
    if isinstance(value, type):
        return
    _own(value)
    for name in _MEMBERS if type(value).__module__.startswith("sklearn.") else ():
        check = getattr(value, name, None)
        if callable(check):
            check()
    inner = getattr(value, "estimator", None)
    if not hasattr(inner, "get_params"):
        return
    for attribute, expand in _GRIDS.items():
        grid = getattr(value, attribute, None)
        if grid is not None:
            for each in grid if isinstance(grid, list) else [grid]:
                _known(inner, attribute, each)
            expand(grid)
            for each in grid if isinstance(grid, list) else [grid]:
                _candidates(inner, each)


def _own(value: Any) -> None:
    check = getattr(value, "_validate_params", None)
    if callable(check) and hasattr(value, "_parameter_constraints"):
        check()


def _known(inner: Any, attribute: str, grid: Mapping[str, Any]) -> None:
    known = inner.get_params(deep=True)
    for name in grid:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1, 0.5)
            meant = f"; is {close[0]!r} meant?" if close else ""
            raise ValueError(f"{attribute}: {type(inner).__name__} has no parameter {name!r}{meant}")


def _candidates(inner: Any, grid: Mapping[str, Any]) -> None:
    for name, candidates in grid.items():
        for one in candidates[:_MOST_CANDIDATES] if isinstance(candidates, list) else ():
            changed = clone(inner).set_params(**{name: one})
            owner = name.rpartition("__")[0]
            _own(changed.get_params(deep=True)[owner] if owner else changed)
