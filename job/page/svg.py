"""Draws Vega-Lite as SVG, offline, by vl-convert; then makes the SVG smaller and adds hover texts.

The only module that imports vl_convert, which writes the description of a mark as ``aria-label``. Browsers show
``<title>`` on hover, so the text moves there. A dot of vl_convert is a path of two hundred bytes; it becomes a circle
here, so that ten thousand dots fit on a page.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from job.words import legible

SVG = "{http://www.w3.org/2000/svg}"
_MOVED = re.compile(r"translate\(([-\d.e]+),([-\d.e]+)\)")
_RADIUS = re.compile(r"^M([\d.e-]+),0A")
_DIGITS = re.compile(r"(\d+\.\d)\d+")
_DROPPED = ("role", "aria-roledescription", "aria-label", "aria-hidden", "pointer-events", "class")


def draw(spec: Mapping[str, Any], title: str) -> str:
    """One picture as an ``<svg>`` element for an HTML page.

    Parameters
    ----------
    spec
        The picture in Vega-Lite.
    title
        The text that a screen reader says instead of the picture.
    """
    import vl_convert

    # vl-convert ends the whole process if a label has a character that XML does not allow: _legible escapes it.
    root = ElementTree.fromstring(vl_convert.vegalite_to_svg(_legible(spec), allowed_base_urls=[]))
    for element in list(root):
        _shrink(element)
    width, height = root.attrib["width"], root.attrib["height"]
    root.attrib.clear()
    root.attrib.update({"viewBox": f"0 0 {width} {height}", "width": width, "height": height, "role": "img"})
    root.set("aria-label", title)
    ElementTree.register_namespace("", SVG.strip("{}"))
    text = ElementTree.tostring(root, encoding="unicode")
    return text.replace(' xmlns="http://www.w3.org/2000/svg"', "", 1)


def _legible(node: Any) -> Any:
    """The spec with the invisible characters of all texts escaped."""
    if isinstance(node, str):
        return legible(node)
    if isinstance(node, Mapping):
        return {name: _legible(each) for name, each in node.items()}
    return [_legible(each) for each in node] if isinstance(node, list | tuple) else node


def _shrink(element: ElementTree.Element) -> None:
    if "role-mark" in element.attrib.get("class", ""):
        _name_marks(element)
    for child in list(element):
        if child.attrib.get("class") in ("background", "foreground") or child.attrib.get("display") == "none":
            element.remove(child)
            continue
        _shrink(child)
        if child.tag == f"{SVG}g" and not len(child):
            element.remove(child)
    for name in _DROPPED:
        element.attrib.pop(name, None)
    for name in ("transform", "d", "x", "y", "x2", "y2"):
        if name in element.attrib:
            element.set(name, _DIGITS.sub(r"\1", element.attrib[name]))
    if element.attrib.get("opacity") == "1":
        del element.attrib["opacity"]


def _name_marks(group: ElementTree.Element) -> None:
    for at, mark in enumerate(list(group)):
        said = mark.attrib.pop("aria-label", None)
        moved, radius = _MOVED.match(mark.attrib.get("transform", "")), _RADIUS.match(mark.attrib.get("d", ""))
        if moved and radius:
            rest = {name: value for name, value in mark.attrib.items() if name not in ("transform", "d")}
            for name in _DROPPED:
                rest.pop(name, None)
            if "opacity" in rest and "stroke" not in rest:
                rest["fill-opacity"] = rest.pop("opacity")  # marks inherit it: _hoist can write it once
            place = {"cx": _DIGITS.sub(r"\1", moved[1]), "cy": _DIGITS.sub(r"\1", moved[2])}
            titles = list(mark)
            mark = ElementTree.Element(f"{SVG}circle", {**place, "r": f"{float(radius[1]):.2g}", **rest})
            mark.extend(titles)
            group[at] = mark
        if said:
            ElementTree.SubElement(mark, f"{SVG}title").text = said
    _hoist(group)


def _hoist(group: ElementTree.Element) -> None:
    """Move attributes that all marks of a group share to the group."""
    marks = list(group)
    if len(marks) < 2:
        return
    for name in ("fill", "stroke", "stroke-width", "fill-opacity"):
        values = {mark.attrib.get(name) for mark in marks}
        if len(values) == 1 and (value := values.pop()) is not None:
            group.set(name, value)
            for mark in marks:
                del mark.attrib[name]
