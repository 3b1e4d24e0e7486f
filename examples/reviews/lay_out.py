"""Make customer reviews of five product categories: one json-lines file per category, gzipped, seeded.

    uv run python examples/reviews/lay_out.py FOLDER

The words that praise or blame differ by category ("sharp" is good for knives and bad for toys), so one model per
category beats one for all: that is what the example shows.
"""

from __future__ import annotations

import gzip
import json
import random
import sys
from pathlib import Path

GOOD = {
    "books": ["gripping", "moving", "witty", "unpredictable", "dark"],
    "kitchen": ["sharp", "heavy", "sturdy", "hot", "quick"],
    "toys": ["soft", "colourful", "light", "quiet", "simple"],
    "headphones": ["loud", "clear", "light", "deep", "snug"],
    "garden": ["sturdy", "green", "hardy", "wild", "heavy"],
}
BAD = {
    "books": ["slow", "predictable", "shallow", "heavy", "confusing"],
    "kitchen": ["blunt", "flimsy", "light", "rusty", "slow"],
    "toys": ["sharp", "loud", "heavy", "dark", "fragile"],
    "headphones": ["quiet", "heavy", "tinny", "loose", "hot"],
    "garden": ["brown", "flimsy", "light", "dry", "fragile"],
}
FILLER = [
    "bought",
    "last",
    "week",
    "for",
    "my",
    "sister",
    "delivery",
    "box",
    "really",
    "quite",
    "the",
    "it",
    "was",
    "and",
]


def review(category: str, draw: random.Random) -> dict[str, object]:
    """One review: mostly filler, two or three words that tell, one in twenty labelled wrongly."""
    good = draw.random() < 0.6
    telling = draw.sample((GOOD if good else BAD)[category], draw.choice([2, 3]))
    words = draw.choices(FILLER, k=draw.randint(6, 14)) + telling
    draw.shuffle(words)
    label = good if draw.random() > 0.05 else not good
    return {"review": " ".join(words), "stars": draw.choice([4, 5] if label else [1, 2]), "liked": label}


def lay_out(folder: Path, rows: int = 1500) -> int:
    """Write the files; returns their number."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, category in enumerate(sorted(GOOD)):
        draw = random.Random(number)
        text = "".join(json.dumps(review(category, draw)) + "\n" for _ in range(rows))
        (folder / f"{category}.jsonl.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    return len(GOOD)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: lay_out.py FOLDER")
    print(f"{lay_out(Path(sys.argv[1]))} files in {sys.argv[1]}")
