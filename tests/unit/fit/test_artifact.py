"""Model files: deterministic bytes that joblib loads, and nothing unpickled before it was verified."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.ensemble import RandomForestRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from job.config.settings import ArtifactSettings, RecipeSettings
from job.errors import DamageError, PartitionError
from job.fit import artifact
from job.fit.recipe import Recipe

X = pd.DataFrame({"x": [1.0, 2.0, 3.0, 4.0]})
Y = np.array([2.0, 4.0, 6.0, 8.0])
MODEL = LinearRegression().fit(X, Y)
DEFAULT = ArtifactSettings()


def text_model():
    texts = ["good thing", "bad thing", "the good", "the bad"]
    return make_pipeline(TfidfVectorizer(stop_words="english"), LogisticRegression()).fit(texts, [1, 0, 1, 0])


def failure(estimator, settings=DEFAULT, sample=None):
    with pytest.raises(PartitionError) as caught:
        artifact.pack(estimator, settings, sample=sample)
    return caught.value.reason, str(caught.value)


@pytest.mark.parametrize("compress", [0, 3])
def test_a_model_is_loaded_by_joblib_and_named_by_its_digest(compress, tmp_path):
    packed = artifact.pack(MODEL, ArtifactSettings(compress=compress))
    assert packed.digest == hashlib.sha256(packed.data).hexdigest()
    path = tmp_path / "model.joblib"
    path.write_bytes(packed.data)
    assert joblib.load(path).predict(X) == pytest.approx(Y)
    assert artifact.load(packed.data, digest=packed.digest).predict(X) == pytest.approx(Y)


@pytest.mark.parametrize("compress", [0, 3])
def test_a_file_of_joblib_dump_is_loaded_with_the_arrays_that_lie_between_the_parts_of_its_pickle(compress):
    forest = RandomForestRegressor(3, random_state=0).fit(np.arange(40.0).reshape(-1, 1), np.arange(40.0))
    file = io.BytesIO()
    joblib.dump(forest, file, compress=compress)
    data = file.getvalue()

    again = artifact.load(data, digest=hashlib.sha256(data).hexdigest())

    assert np.array_equal(again.predict([[7.0]]), forest.predict([[7.0]]))


def test_what_a_training_has_packed_is_loaded_without_the_slow_unpickler_of_joblib(monkeypatch):
    packed = artifact.pack(MODEL, DEFAULT)
    monkeypatch.setattr(joblib, "load", lambda *_: pytest.fail("joblib unpickles in Python"))

    assert artifact.load(packed.data, digest=packed.digest).predict(X) == pytest.approx(Y)


def test_a_large_compressed_model_is_smaller():
    forest = RandomForestRegressor(20, random_state=0).fit(np.arange(400.0).reshape(-1, 1), np.arange(400.0))
    plain, small = artifact.pack(forest, DEFAULT), artifact.pack(forest, ArtifactSettings(compress=3))
    assert len(small.data) < len(plain.data) / 2
    again = artifact.load(small.data, digest=small.digest)
    assert np.array_equal(again.predict([[7.0]]), forest.predict([[7.0]]))


def test_equal_models_have_equal_bytes_in_every_process():
    """A vectoriser keeps the address of its stop words, which is another one in each process."""
    # By its path: a package among the dependencies brings a `tests` of its own.
    script = (
        "import runpy, sys; t = runpy.run_path(sys.argv[1]);"
        "print(t['artifact'].pack(t['text_model'](), t['DEFAULT']).digest)"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", script, __file__],
            capture_output=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert digests == {f"{artifact.pack(text_model(), DEFAULT).digest}\n".encode()}


@pytest.mark.parametrize("compress", [0, 3])
def test_equal_models_have_equal_bytes_whichever_objects_their_texts_are(compress):
    """Whether two equal names are one object depends on what a process has imported before."""

    def with_texts_of_its_own(model):
        for estimator in (model, *(step for _, step in model.steps)):
            estimator.__dict__ = {own(name): own(value) for name, value in vars(estimator).items()}
        return model

    def own(value):
        return value.encode().decode() if isinstance(value, str) else value

    settings, model = ArtifactSettings(compress=compress), text_model()
    first = artifact.pack(model, settings)
    again = artifact.pack(with_texts_of_its_own(pickle.loads(pickle.dumps(model))), settings)
    assert again.digest == first.digest


def test_a_model_loads_without_manyfit(tmp_path):
    path = tmp_path / "model.joblib"
    path.write_bytes(artifact.pack(text_model(), DEFAULT).data)
    script = (
        "import sys, joblib; model = joblib.load(sys.argv[1]);"
        "print(model.predict(['good'])[0], any(name.split('.')[0] == 'job' for name in sys.modules))"
    )
    found = subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert found.stdout.split() == ["1", "False"]


def test_a_model_that_cannot_be_pickled_is_artifact_error():
    model = make_pipeline(FunctionTransformer(lambda x: x), LinearRegression()).fit(X, Y)
    reason, message = failure(model)
    assert reason == "artifact_error"
    assert "named functions of an importable module" in message


def test_a_model_larger_than_allowed_is_refused():
    reason, message = failure(MODEL, ArtifactSettings(max_bytes=100))
    assert reason == "model_too_large"
    assert "artifact.max_bytes is 100" in message


class Fickle(LinearRegression):
    """Predicts something else once it was loaded."""

    def __setstate__(self, state):
        super().__setstate__(state)
        self.intercept_ = self.intercept_ + 1


class Broken(LinearRegression):
    """Cannot be loaded."""

    def __setstate__(self, state):
        raise ValueError("no")


def test_a_model_that_does_not_load_back_is_artifact_error_unless_unchecked():
    model = Broken().fit(X, Y)
    assert failure(model)[0] == "artifact_error"
    assert artifact.pack(model, ArtifactSettings(check="none")).data


def test_predictions_are_compared_where_that_is_asked_for():
    model = Fickle().fit(X, Y)
    assert artifact.pack(model, DEFAULT, sample=X).digest
    reason, message = failure(model, ArtifactSettings(check="predict"), sample=X)
    assert (reason, "other results" in message) == ("artifact_error", True)
    for good, sample in ((MODEL, X), (text_model(), ["good bad", "the"])):
        assert artifact.pack(good, ArtifactSettings(check="predict"), sample=sample).digest


@pytest.mark.parametrize("check", ["load", "none"])
@pytest.mark.parametrize("where", ["fit.py", "helpers.py"])
def test_a_class_from_a_file_of_the_recipe_is_refused_with_the_way_out(tmp_path, where, check):
    text = "from sklearn.linear_model import LinearRegression\nclass Mine(LinearRegression):\n    pass\n"
    (tmp_path / "helpers.py").write_text(text)
    source = text if where == "fit.py" else "from helpers import Mine\n"
    (tmp_path / "fit.py").write_text(source + "def fit(frame):\n    return Mine().fit(frame, [1, 2, 3, 4])\n")
    settings = RecipeSettings(function="fit.py:fit", code=["helpers.py"])
    model = Recipe.from_settings(settings, base=tmp_path).function.call(X, "k", 1)
    reason, message = failure(model, ArtifactSettings(check=check))
    assert reason == "artifact_error"
    assert "'Mine'" in message
    assert "Put it into an importable module" in message


def test_a_model_that_refers_to_this_package_is_refused():
    model = make_pipeline(FunctionTransformer(artifact.versions), LinearRegression())
    reason, message = failure(model)
    assert (reason, "without manyfit" in message) == ("artifact_error", True)


# ---- loading

PACKED = artifact.pack(MODEL, DEFAULT)


class Bomb:
    """Unpickling it leaves a trace."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def damage(data, digest=None, **options):
    with pytest.raises(DamageError) as caught:
        artifact.load(data, digest=digest or PACKED.digest, **options)
    return str(caught.value)


def test_nothing_is_unpickled_before_its_digest_agrees(tmp_path):
    trace = tmp_path / "trace"
    bomb = pickle.dumps(Bomb(str(trace)))
    assert "not those that were published" in damage(bomb)
    right = hashlib.sha256(bomb).hexdigest()
    damage(bomb, right, max_bytes=len(bomb) - 1)
    damage(bomb, right, versions={"python": "2.7.1"})
    assert not trace.exists()
    artifact.load(bomb, digest=right)  # the trace is one, if it is unpickled
    assert trace.exists()


def test_no_flipped_bit_and_no_cut_is_loaded():
    data = PACKED.data
    for position in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[position] ^= 1
        damage(bytes(damaged))
        damage(data[:position])


def test_any_buffer_is_loaded():
    for data in (PACKED.data, bytearray(PACKED.data), memoryview(PACKED.data)):
        assert artifact.load(data, digest=PACKED.digest, max_bytes=len(PACKED.data)).coef_ == pytest.approx([2.0])


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({}, False),
        ({"scikit-learn": "0.24.2"}, True),
        ({"python": "3.7.1"}, True),
        ({"numpy": "1.20.0"}, True),
        ({"pandas": "0.25.0"}, True),
        ({"pandas": pd.__version__.split(".")[0] + ".0.0"}, False),
        ({"scikit-learn": ".".join(sklearn.__version__.split(".")[:2]) + ".99"}, False),
        ({"somethingelse": "1"}, False),
    ],
)
def test_another_version_is_refused_unless_allowed(changes, refused):
    card = {**artifact.versions(), **changes}
    if refused:
        message = damage(PACKED.data, versions=card)
        name, version = next(iter(changes.items()))
        assert f"{name} {version}" in message
        assert "allow_version_skew" in message
    options = {"versions": card, "allow_version_skew": refused}
    assert artifact.load(PACKED.data, digest=PACKED.digest, **options).coef_ == pytest.approx([2.0])


def test_scikit_learn_s_own_version_in_the_model_is_heeded():
    other = PACKED.data.replace(sklearn.__version__.encode(), b"9" * len(sklearn.__version__))
    digest = hashlib.sha256(other).hexdigest()
    assert "scikit-learn 999" in damage(other, digest)
    with pytest.warns(sklearn.exceptions.InconsistentVersionWarning):
        artifact.load(other, digest=digest, allow_version_skew=True)


def test_a_model_that_needs_a_package_that_is_not_here_names_it():
    stream = io.BytesIO()
    pickle.dump(MODEL, stream)
    data = stream.getvalue().replace(b"sklearn.linear_model._base", b"sklaern.linear_model._base")
    assert "'sklaern'" in damage(data, hashlib.sha256(data).hexdigest())


def test_the_environment_card_names_what_models_depend_on():
    assert artifact.versions().keys() == {"python", "numpy", "scipy", "scikit-learn", "joblib", "pandas"}
    assert artifact.versions()["scikit-learn"] == sklearn.__version__
