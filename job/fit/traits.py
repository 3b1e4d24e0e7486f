"""Facts about an estimator that decide which data it gets and how it is scored. They come from its type alone.

A *front* is an estimator that gets the columns unchanged: the first step of a pipeline, the inner estimator of a
search, each member of a voting estimator.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sklearn.base import is_classifier, is_outlier_detector, is_regressor
from sklearn.utils.validation import has_fit_parameter

from job.fit import fold_order

_INNER = ("estimator", "base_estimator", "regressor", "classifier")
_MEMBERS = ("estimators", "transformer_list")
_PASS_ON = frozenset(
    {
        "VotingClassifier",
        "VotingRegressor",
        "StackingClassifier",
        "StackingRegressor",
        "RFE",
        "SelectFromModel",
        "RegressorChain",
    }
)
"""estimators that pass row weights on to their members, without an argument for them in their own ``fit``"""
_THREADS = ("n_jobs", "nthread", "nthreads", "num_thread", "num_threads", "thread_count")
_TEXT = frozenset({"CountVectorizer", "TfidfVectorizer", "HashingVectorizer"})
_RAW = _TEXT | {
    "ColumnTransformer",
    "OneHotEncoder",
    "OrdinalEncoder",
    "TargetEncoder",
    "FunctionTransformer",
    "SimpleImputer",
    "MissingIndicator",
    "FeatureHasher",
    "DictVectorizer",
    "LabelBinarizer",
    "MultiLabelBinarizer",
    "DummyClassifier",
    "DummyRegressor",
}
_HIST = frozenset({"HistGradientBoostingClassifier", "HistGradientBoostingRegressor"})


@dataclass(frozen=True, kw_only=True)
class Traits:
    """The facts about an estimator that are known before it gets data."""

    kind: type
    """class of the estimator"""
    seeds: tuple[str, ...]
    """names of parameters that get a seed"""
    splitters: tuple[str, ...]
    """names of parameters that hold a splitter without a seed, which gets one"""
    parallel: tuple[str, ...]
    """names of parameters that are set to 1, for one thread"""
    caches: tuple[str, ...]
    """names of parameters that are set to None: cache folders, which may hold results of older code"""
    foreign: bool
    """whether a part of it is not from scikit-learn"""
    text: bool
    """whether it wants one column of texts instead of a table"""
    words: frozenset[str]
    """columns that a column transformer gives to text vectorisers"""
    table: bool
    """whether even a single column must be a table"""
    raw: bool
    """whether it takes columns that are not numbers"""
    categories: bool
    """whether it takes columns of a categorical type"""
    missing: bool
    """whether it imputes or supports missing values"""
    folds: frozenset[str]
    """how its own folds use the order of rows: `job.fit.fold_order.kinds`"""
    metrics: tuple[str, ...]
    """default scorers"""
    weight: str | None
    """name of the argument of ``fit`` for row weights; None if it takes none"""
    classifier: bool
    """whether it predicts classes"""
    checked: bool
    """whether all parameters were validated before the run: all of it is from scikit-learn, and nothing is a search"""

    @classmethod
    def of(cls, estimator: Any) -> Traits:
        """The traits of an unfitted estimator."""
        metrics = default_metrics(estimator)
        return cls(
            kind=type(estimator),
            seeds=open_seeds(estimator),
            splitters=open_splitters(estimator),
            parallel=parallel(estimator),
            caches=caches(estimator),
            foreign=not all(_is_sklearn(each) for each in everything(estimator)),
            text=is_text(estimator),
            words=text_columns(estimator),
            table=wants_table(estimator),
            raw=takes_raw(estimator),
            categories=takes_categories(estimator),
            missing=allows_missing(estimator),
            metrics=metrics,
            weight=weight_argument(estimator),
            classifier=metrics == ("accuracy",),
            folds=fold_order.kinds(estimator),
            checked=all(_is_sklearn(each) and not _is_search(each) for each in everything(estimator)),
        )


def as_tuple(value: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """Column names as a tuple, from one name, several, or None."""
    return () if value is None else (value,) if isinstance(value, str) else value


def _is_sklearn(estimator: Any) -> bool:
    return type(estimator).__module__.split(".")[0] == "sklearn"


def _is_search(estimator: Any) -> bool:
    return type(estimator).__name__.endswith("SearchCV")


def _is_estimator(value: Any) -> bool:
    return hasattr(value, "get_params") and hasattr(value, "fit") and not isinstance(value, type)


def fronts(estimator: Any) -> Iterator[Any]:
    """The fronts of an estimator: the estimators in it that get the columns unchanged."""
    if type(estimator).__name__ == "Pipeline" and hasattr(estimator, "steps"):
        for _, step in estimator.steps:
            if step is not None and step != "passthrough":
                yield from fronts(step)
                return
        return
    if _is_sklearn(estimator):
        for attribute in _INNER:
            inner = getattr(estimator, attribute, None)
            if _is_estimator(inner):
                yield from fronts(inner)
                return
        for attribute in _MEMBERS:
            members = getattr(estimator, attribute, None)
            if isinstance(members, list) and members:
                for member in members:
                    inner = member[-1] if isinstance(member, tuple) else member
                    if _is_estimator(inner):
                        yield from fronts(inner)
                return
    yield estimator


def is_text(estimator: Any) -> bool:
    """Whether the estimator wants one column of texts instead of a table."""
    found = list(fronts(estimator))
    return bool(found) and all(_is_sklearn(each) and type(each).__name__ in _TEXT for each in found)


def text_columns(estimator: Any) -> frozenset[str]:
    """The columns that a column transformer gives to text vectorisers: texts, even if all values look like numbers."""
    found = set()
    for each in fronts(estimator):
        if _is_sklearn(each) and type(each).__name__ == "ColumnTransformer":
            for _, inner, columns, *_ in each.transformers:
                if isinstance(columns, str) and _is_estimator(inner) and is_text(inner):
                    found.add(columns)
    return frozenset(found)


def named_columns(estimator: Any) -> Iterator[str]:
    """The columns that column transformers among the fronts take by name."""
    for each in fronts(estimator):
        if _is_sklearn(each) and type(each).__name__ == "ColumnTransformer":
            for _, _, columns, *_ in each.transformers:
                names = [columns] if isinstance(columns, str) else columns
                if isinstance(names, list | tuple):
                    yield from (name for name in names if isinstance(name, str))


def wants_table(estimator: Any) -> bool:
    """Whether even a single column must be a table: true for scikit-learn's estimators except text vectorisers."""
    return any(
        _is_sklearn(each) and type(each).__name__ not in (_TEXT | {"FunctionTransformer"}) for each in fronts(estimator)
    )


def takes_raw(estimator: Any) -> bool:
    """Whether it takes columns that are not numbers: true for encoders, vectorisers, and classes of other libraries."""
    return all(_takes_raw(each) for each in fronts(estimator))


def _takes_raw(estimator: Any) -> bool:
    if not _is_sklearn(estimator) or type(estimator).__name__ in _RAW:
        return True
    if type(estimator).__name__ in _HIST:
        return not (estimator.categorical_features is None or isinstance(estimator.categorical_features, str))
    return False


def takes_categories(estimator: Any) -> bool:
    """Whether it takes columns of a categorical type: also true for boosting that finds them by their type."""
    return all(
        _takes_raw(each) or (type(each).__name__ in _HIST and isinstance(each.categorical_features, str))
        for each in fronts(estimator)
    )


def allows_missing(estimator: Any) -> bool:
    """Whether the estimator, or one in it, imputes or supports missing values."""
    return any(
        type(each).__module__.startswith("sklearn.impute") or type(each).__name__ in _HIST
        for each in everything(estimator)
    )


def everything(estimator: Any) -> Iterator[Any]:
    """The estimator and every estimator in it."""
    yield estimator
    if hasattr(estimator, "get_params"):
        for value in estimator.get_params(deep=True).values():
            if _is_estimator(value):
                yield value


def default_metrics(estimator: Any) -> tuple[str, ...]:
    """``r2`` for regressors, ``accuracy`` for classifiers, nothing else."""
    if _is(is_classifier, estimator):
        return ("accuracy",)
    return ("r2",) if _is(is_regressor, estimator) else ()


def _is(kind: Callable[[Any], bool], estimator: Any) -> bool:
    """Whether scikit-learn says that the estimator is of this kind; False for a class without scikit-learn's tags."""
    try:
        return kind(estimator)
    except AttributeError:
        return False


def weight_argument(estimator: Any) -> str | None:
    """The argument of ``fit`` for row weights: ``sample_weight``, in a pipeline with the last step's name as prefix."""
    if type(estimator).__name__ == "Pipeline" and estimator.steps:
        name, step = estimator.steps[-1]
        inner = weight_argument(step) if _is_estimator(step) else None
        return f"{name}__{inner}" if inner else None
    if _is_search(estimator):
        return weight_argument(estimator.estimator)
    if type(estimator).__name__ == "TransformedTargetRegressor":
        return "sample_weight" if estimator.regressor is None else weight_argument(estimator.regressor)
    if _is_sklearn(estimator) and type(estimator).__name__ in _PASS_ON:
        return (
            "sample_weight" if all(weight_argument(each) == "sample_weight" for each in _fitted_by(estimator)) else None
        )
    return "sample_weight" if has_fit_parameter(estimator, "sample_weight") else None


def _fitted_by(estimator: Any) -> Iterator[Any]:
    """The estimators that one of `_PASS_ON` fits."""
    for _, member in getattr(estimator, "estimators", None) or ():
        if _is_estimator(member):
            yield member
    for name in ("estimator", "base_estimator", "final_estimator"):
        inner = getattr(estimator, name, None)
        if _is_estimator(inner):
            yield inner


def open_seeds(estimator: Any) -> tuple[str, ...]:
    """The names of all ``random_state`` parameters that are None, at any depth."""
    if not hasattr(estimator, "get_params"):
        return ()
    found = estimator.get_params(deep=True).items()
    return tuple(sorted(name for name, value in found if value is None and name.rpartition("__")[2] == "random_state"))


def open_splitters(estimator: Any) -> tuple[str, ...]:
    """The names of all cross-validation splitters that shuffle without a seed, at any depth."""
    if not hasattr(estimator, "get_params"):
        return ()
    return tuple(
        sorted(
            name
            for name, value in estimator.get_params(deep=True).items()
            if hasattr(value, "split")
            and not hasattr(value, "get_params")
            and getattr(value, "random_state", 0) is None
            and getattr(value, "shuffle", True)
        )
    )


def parallel(estimator: Any) -> tuple[str, ...]:
    """The names of all parameters that would let a fit use more than one thread, at any depth.

    ``n_jobs=None`` means one thread for scikit-learn, but all cores for LightGBM, XGBoost and CatBoost.
    """
    if not hasattr(estimator, "get_params"):
        return ()
    found = estimator.get_params(deep=True)
    names = []
    for name, value in found.items():
        path, _, leaf = name.rpartition("__")
        owner = found.get(path) if path else estimator
        if leaf in _THREADS and value != 1 and (value is not None or not _is_sklearn(owner)):
            names.append(name)
    for path, owner in (("", estimator), *((f"{name}__", each) for name, each in found.items())):
        if _is_estimator(owner) and not _is_sklearn(owner):  # CatBoost lists only set parameters
            names += [f"{path}{leaf}" for leaf in _THREADS if f"{path}{leaf}" not in found and _takes(owner, leaf)]
    return tuple(sorted(names))


def _takes(estimator: Any, name: str) -> bool:
    try:
        return name in inspect.signature(type(estimator).__init__).parameters
    except (TypeError, ValueError):
        return False


def caches(estimator: Any) -> tuple[str, ...]:
    """The names of all ``memory`` parameters that name a folder, at any depth.

    joblib's cache compares a transformer's parameters, but not its code, so it could return results of older code.
    """
    if not hasattr(estimator, "get_params"):
        return ()
    found = estimator.get_params(deep=True).items()
    return tuple(sorted(name for name, value in found if name.rpartition("__")[2] == "memory" and value is not None))


def usable(estimator: Any) -> bool:
    """Whether the estimator can be applied to new rows."""
    if _is(is_outlier_detector, estimator):
        return hasattr(estimator, "predict")
    return any(callable(getattr(estimator, name, None)) for name in _OF_ROWS) or any(
        name.startswith(("predict", "transform", "forecast")) and callable(getattr(estimator, name, None))
        for name in dir(estimator)
    )


_OF_ROWS = ("score_samples", "decision_function", "kneighbors", "mahalanobis", "apply")
