"""The code that a recipe runs: whatever its fit runs is in the fingerprint, or it is told what is not watched."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

from job.config.settings import RecipeSettings
from job.fit.recipe import Recipe

FIT = "def fit(frame, key):\n    return None\n"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder whose ``lib`` and ``site`` can be imported from; what is imported from it is forgotten again."""
    for name in ("lib", "site"):
        (tmp_path / name).mkdir()
        monkeypatch.syspath_prepend(str(tmp_path / name))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    importlib.invalidate_caches()


def made(place: Path, **options) -> Recipe:
    options.setdefault("function", "fit.py:fit")
    return Recipe.from_settings(RecipeSettings(**options), base=place)


def identity(place: Path, **options) -> str:
    """All of a fingerprint that code decides."""
    recipe = made(place, **options)
    return json.dumps([recipe.fingerprint_part(), recipe.imports()], sort_keys=True)


def distribution(site: Path, name: str, *, version: str = "0.1", requires: str = "", direct: str = "") -> None:
    """What an installer leaves of a distribution beside its package."""
    info = site / f"{name}-{version}.dist-info"
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    write(info, {"METADATA": text + (f"Requires-Dist: {requires}\n" if requires else ""), "top_level.txt": name})
    write(info, {"RECORD": f"{name}/__init__.py,,\n"})
    if direct:
        write(info, {"direct_url.json": direct})


HELPERS = {
    "a helper of a helper": {
        "fit.py": "import house\n" + FIT,
        "lib/house.py": "import tariffs",
        "lib/tariffs.py": "FACTOR = 1",
    },
    "a helper of a helper of a class": {
        "fit.py": "import house\n" + FIT,
        "lib/house.py": "from deeper import late",
        "lib/deeper.py": "def late():\n    import tariffs",
        "lib/tariffs.py": "FACTOR = 1",
    },
    "a module by its name": {
        "fit.py": "import importlib\ndef fit(frame, key):\n    return importlib.import_module('tariffs')\n",
        "lib/tariffs.py": "FACTOR = 1",
    },
    "a module by its name, by a helper": {
        "fit.py": "import house\n" + FIT,
        "lib/house.py": "def scale(): return __import__('tariffs')",
        "lib/tariffs.py": "FACTOR = 1",
    },
    "a module of a package by a name worked out later": {
        "fit.py": "from importlib import import_module\ndef fit(frame, key):\n    import_module(f'rates.{key}')\n",
        "lib/rates/__init__.py": "",
        "lib/tariffs.py": "FACTOR = 0",
        "lib/rates/a.py": "FACTOR = 1",
    },
    "a module beside a helper by a name worked out later": {
        "fit.py": "import house\n" + FIT,
        "lib/house.py": "import importlib\ndef scale(key): return importlib.import_module('tar' + key)",
        "lib/tariffs.py": "FACTOR = 1",
    },
    "a file that is run by its path": {
        "fit.py": "import house\n" + FIT,
        "lib/house.py": "import runpy\ndef scale(): return runpy.run_path(__file__[:-8] + '/tariffs.py')",
        "lib/tariffs.py": "FACTOR = 1",
    },
    "a data file of a package": {
        "fit.py": "import rates\n" + FIT,
        "lib/rates/__init__.py": "",
        "lib/rates/tariffs.json": "1",
    },
}


@pytest.mark.parametrize("case", HELPERS)
def test_a_change_of_whatever_the_code_reaches_changes_the_fingerprint(place, case):
    write(place, HELPERS[case])
    before = identity(place)
    assert identity(place) == before
    last = list(HELPERS[case])[-1]
    write(place, {last: HELPERS[case][last].replace("1", "100")})
    assert identity(place) != before


EDITABLE = json.dumps({"url": "file:///src/shop2", "dir_info": {"editable": True}})
FOLDER = json.dumps({"url": "file:///src/shop2", "dir_info": {}})
WHEEL = json.dumps({"url": "file:///dist/shop2-0.1-py3-none-any.whl", "archive_info": {}})
CLASS = "from sklearn.linear_model import LinearRegression\nclass Scaled(LinearRegression): factor = 1\n"
OWN = {"function": None, "target": "y", "allow": ["shop2"], "estimator": {"_target_": "shop2.Scaled"}}


@pytest.mark.parametrize(("home", "direct"), [("lib", EDITABLE), ("site", FOLDER), ("site", WHEEL), ("lib", "")])
@pytest.mark.parametrize("options", [OWN, {}], ids=["class", "function"])
def test_a_package_installed_from_a_folder_is_known_by_its_content(place, home, direct, options):
    """Its version stays 0.1 while somebody works on it; the last case is a folder that hides an installed package."""
    write(place, {"fit.py": "import shop2\n" + FIT, f"{home}/shop2/__init__.py": CLASS})
    distribution(place / "site", "shop2", direct=direct)
    before = identity(place, **options)
    write(place, {f"{home}/shop2/__init__.py": CLASS.replace("1", "100")})
    assert identity(place, **options) != before


def test_a_package_from_a_registry_is_known_by_its_version(place):
    write(place, {"fit.py": "import shop2\n" + FIT, "site/shop2/__init__.py": CLASS})
    distribution(place / "site", "shop2")
    recipe = made(place)
    assert recipe.watched.packages == {}
    assert recipe.imports()["shop2"] == "0.1"


def test_a_library_behind_an_own_class_is_known_by_its_version(place):
    write(place, {"lib/shop2/__init__.py": "import calc\n" + CLASS, "site/calc/__init__.py": ""})
    distribution(place / "site", "calc", version="4.2")
    assert made(place, **OWN).imports()["calc"] == "4.2"


def test_what_a_distribution_requires_is_known_by_its_version(place):
    write(place, {"site/shop2/__init__.py": CLASS, "site/calc/__init__.py": ""})
    distribution(place / "site", "shop2", requires="calc>=4 ; python_version >= '3.8'")
    distribution(place / "site", "calc", version="4.2")
    assert made(place, **OWN).imports()["calc"] == "4.2"


def test_what_an_extra_requires_is_not_watched(place):
    write(place, {"site/shop2/__init__.py": CLASS, "site/calc/__init__.py": ""})
    distribution(place / "site", "shop2", requires="calc>=4 ; extra == 'plot'")
    distribution(place / "site", "calc", version="4.2")
    assert "calc" not in made(place, **OWN).imports()


def test_a_recipe_of_scikit_learn_alone_has_the_fingerprint_that_it_always_had(place):
    recipe = made(place, function=None, target="y", estimator={"_target_": "sklearn.linear_model.Ridge"})
    assert recipe.fingerprint_part()["packages"] == {}
    assert sorted(recipe.imports()) == ["joblib", "numpy", "scikit-learn", "scipy"]


def test_a_local_package_of_python_files_has_the_digest_that_it_always_had(place):
    write(place, {"fit.py": "import rates\n" + FIT, "lib/rates/__init__.py": "a = 1\n", "lib/rates/deep/b.py": "b = 1"})
    found = made(place).fingerprint_part()["packages"]
    assert found == {"rates": "a9e27305218df6ada31c813a9f7c2b82f006dd86e9b28b41a1343e3107d46dbf"}


def test_a_data_file_that_the_code_names_is_told_until_the_recipe_lists_it(place):
    write(place, {"fit.py": "import json\nFACTORS = 'factors.json'\n" + FIT, "factors.json": "{}"})
    assert made(place).watched.unwatched == ("factors.json, which fit.py names: list it in recipe.code",)
    assert made(place, code=["factors.json"]).watched.unwatched == ()
