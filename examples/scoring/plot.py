"""Draw by how much each country's line was off in 2007, from the published predictions.

uv run python examples/scoring/plot.py OUTPUT PICTURE.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import pyarrow.parquet as pq
from deltalake import DeltaTable

mpl.use("Agg")


def predictions(output: str) -> pd.DataFrame:
    """The table of predictions; ``off`` is truth less prediction."""
    files = DeltaTable(f"{output.rstrip('/')}/predictions").file_uris()
    rows = pd.concat([pq.read_table(each).to_pandas() for each in files], ignore_index=True)
    return rows.assign(off=rows["lifeExp"] - rows["prediction"]).sort_values("off", ignore_index=True)


def plot(output: str, picture: Path, named: int = 9) -> pd.DataFrame:
    """Draw all countries by their error, and name those at both ends; returns the rows."""
    import matplotlib.pyplot as plt

    rows = predictions(output)
    colours = {name: f"C{number}" for number, name in enumerate(sorted(rows["continent"].unique()))}
    figure, axis = plt.subplots(figsize=(11, 5.5), layout="constrained")
    axis.bar(rows.index, rows["off"], color=[colours[each] for each in rows["continent"]], width=0.9)
    shown = f"worst: {', '.join(rows['country'].head(named))}"
    axis.set_title(f"{len(rows)} lines to 2002, held against 2007. {shown}", fontsize=9, loc="left")
    axis.legend(
        handles=[mpl.patches.Patch(color=colour, label=name) for name, colour in colours.items()], frameon=False
    )
    axis.set_ylabel("truth less prediction, years")
    axis.set_xlabel("country, by its error")
    axis.axhline(0, color="black", lw=0.8)
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(picture, dpi=110)
    return rows


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit("usage: plot.py OUTPUT PICTURE.png")
    print(plot(sys.argv[1], Path(sys.argv[2]))[["country", "lifeExp", "prediction", "off"]].to_string())
