"""Plot the countries that a straight line fits worst, from the published models.

uv run python examples/gapminder/plot.py OUTPUT FOLDER PICTURE.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import pandas as pd

from job import ModelSet

mpl.use("Agg")


def plot(output: str, data: Path, picture: Path, worst: int = 6) -> pd.DataFrame:
    """Draw data and model of the countries with the lowest R²; returns their table."""
    import matplotlib.pyplot as plt

    models = ModelSet.open(output)
    table = models.metrics().sort_values("r2").head(worst)
    figure, axes = plt.subplots(2, worst // 2, figsize=(11, 5.5), sharex=True, sharey=True, layout="constrained")
    for axis, country in zip(axes.flat, table.index, strict=True):
        rows = pd.read_csv(data / f"{country}.csv.gz")
        axis.plot(rows["year"], rows["lifeExp"], "o", ms=4, color="#4a7fb5")
        axis.plot(rows["year"], models[country].predict(rows[["year"]]), color="#c4572e")
        axis.set_title(f"{country}   R² = {table.loc[country, 'r2']:.3f}", fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    figure.supylabel("life expectancy, years")
    figure.savefig(picture, dpi=110)
    return table


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit("usage: plot.py OUTPUT FOLDER PICTURE.png")
    print(plot(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])).to_string())
