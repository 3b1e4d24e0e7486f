"""Boxes and arrows as SVG, for the diagrams of the documents. Colours follow the reader's light or dark setting."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape

STYLE = """
  text { font: 13px system-ui, "Segoe UI", Roboto, sans-serif; fill: #1c2b33 }
  .name { font-weight: 600 } .small { font-size: 11.5px; fill: #4a5b64 } .lane { font-weight: 600; fill: #4a5b64 }
  .box { fill: #ffffff; stroke: #5f7d8c; stroke-width: 1.2 } .main { fill: #d9f0ec; stroke: #00796b }
  .end { fill: #fbe9e7; stroke: #b5533c } .band { fill: #eef2f4 }
  .arrow { fill: none; stroke: #5f7d8c; stroke-width: 1.4 } .head { fill: #5f7d8c } .back { stroke-dasharray: 5 4 }
  .paper { fill: #fafcfc }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf0 } .small, .lane { fill: #a9bac2 }
    .box { fill: #2b3640; stroke: #8aa5b1 } .main { fill: #17443f; stroke: #4db6a5 }
    .end { fill: #4a2b26; stroke: #e08b75 }
    .band { fill: #222b33 } .paper { fill: #1b2229 } .arrow { stroke: #8aa5b1 } .head { fill: #8aa5b1 }
  }
"""


@dataclass(frozen=True, kw_only=True)
class Box:
    """A rectangle with a name and lines below it; positions are those of its centre, in pixels."""

    x: float
    y: float
    name: str
    lines: tuple[str, ...] = ()
    width: float = 230
    kind: str = ""

    @property
    def height(self) -> float:
        """Of the rectangle: it grows with the lines."""
        return 30 + 16 * len(self.lines)

    def svg(self) -> str:
        """The rectangle and its texts."""
        left, top = self.x - self.width / 2, self.y - self.height / 2
        size = f'width="{self.width:g}" height="{self.height:g}" rx="6"'
        parts = [
            f'<rect class="box {self.kind}" x="{left:g}" y="{top:g}" {size}/>',
            f'<text class="name" x="{self.x:g}" y="{top + 20:g}" text-anchor="middle">{escape(self.name)}</text>',
        ]
        for number, line in enumerate(self.lines):
            y = top + 37 + 16 * number
            parts.append(f'<text class="small" x="{self.x:g}" y="{y:g}" text-anchor="middle">{escape(line)}</text>')
        return "\n".join(parts)


@dataclass(kw_only=True)
class Drawing:
    """A picture: elements are drawn in the order in which they were added, arrows below boxes."""

    width: int
    height: int
    title: str
    about: str
    """what the picture shows, for readers who cannot see it"""
    below: list[str] = field(default_factory=list)
    above: list[str] = field(default_factory=list)

    def band(self, y: float, height: float, name: str) -> None:
        """A stripe over the whole width."""
        self.below.insert(0, f'<rect class="band" x="0" y="{y:g}" width="{self.width}" height="{height:g}"/>')
        self.text(12, y + 20, name, "lane")

    def column(self, x: float, width: float, name: str) -> None:
        """A stripe over the whole height."""
        self.below.insert(0, f'<rect class="band" x="{x:g}" y="0" width="{width:g}" height="{self.height}" rx="6"/>')
        self.text(x + width / 2, 22, name, "lane", "middle")

    def text(self, x: float, y: float, text: str, kind: str = "small", anchor: str = "start") -> None:
        """A line of text."""
        self.above.append(f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>')

    def box(self, box: Box) -> Box:
        """Add a box."""
        self.above.append(box.svg())
        return box

    def arrow(self, *points: tuple[float, float], back: bool = False) -> None:
        """A line through the points, with a head at the last one; ``back`` is dashed."""
        path = "M" + " L".join(f"{x:g} {y:g}" for x, y in points)
        kind = "arrow back" if back else "arrow"
        self.below.append(f'<path class="{kind}" d="{path}" marker-end="url(#head)"/>')

    def down(self, upper: Box, lower: Box, at: float = 0.0, to: float = 0.0) -> None:
        """From the bottom of one box to the top of another; ``at`` and ``to`` shift the ends sideways."""
        self.arrow((upper.x + at, upper.y + upper.height / 2), (lower.x + to, lower.y - lower.height / 2 - 2))

    def across(self, one: Box, other: Box, at: float = 0.0) -> None:
        """Between boxes that stand side by side; ``at`` shifts the line down."""
        sign = 1 if other.x > one.x else -1
        start, end = one.x + sign * one.width / 2, other.x - sign * (other.width / 2 + 2)
        self.arrow((start, one.y + at), (end, one.y + at))

    def svg(self) -> str:
        """The file."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" width="{self.width}" '
            f'height="{self.height}" role="img">\n<!-- Written by docs/make/diagrams.py: run `make docs`. -->'
        )
        marker = (
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
            'orient="auto-start-reverse"><path class="head" d="M0 0 L8 4 L0 8 z"/></marker></defs>'
        )
        paper = f'<rect class="paper" width="{self.width}" height="{self.height}" rx="8"/>'
        titles = f"<title>{escape(self.title)}</title>\n<desc>{escape(self.about)}</desc>"
        return "\n".join([head, titles, f"<style>{STYLE}</style>", marker, paper, *self.below, *self.above, "</svg>\n"])
