"""YAML and JSON text as a tree that keeps the exact text and the line of each value. Pure.

A plain YAML scalar has no type in the tree; `value` gives it a type that the setting allows. So a key ``007``, ``NO``
or ``2020-01-01`` stays a text where the setting takes texts, and ``1e-3`` becomes a number where it takes any value.
Untyped values follow YAML 1.2's core schema: ``yes`` and ``on`` are texts, ``012`` is twelve, and there are no dates.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

_ALIASED = 10_000
_PLAIN = "plain"
_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq")}
_TEXT = "tag:yaml.org,2002:str"
_INTEGER = re.compile(r"[-+]?[0-9](_?[0-9])*")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9](_?[0-9])*(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = {"null": None, "~": None, "": None, "true": True, "false": False}
_ODD = {".inf": float("inf"), "+.inf": float("inf"), "-.inf": float("-inf"), ".nan": float("nan")}


@dataclass(frozen=True, kw_only=True, slots=True)
class Scalar:
    """One value."""

    text: str
    """exactly as written"""
    plain: bool = True
    """not in quotes: may be a number, a boolean or null"""
    line: int | None = None
    """counted from 1"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """A list of values."""

    items: list[Node]
    """in order"""
    line: int | None = None
    """counted from 1"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mapping:
    """Named values."""

    items: dict[str, Node] = field(default_factory=dict)
    """in order"""
    line: int | None = None
    """counted from 1"""
    plain: frozenset[str] = frozenset()
    """names that are not in quotes; in a mapping of the user's own they may be numbers or booleans"""


Node = Scalar | Listing | Mapping


class SyntaxMistake(ValueError):
    """A mistake in the text itself: invalid YAML, or a name that comes twice. ``line`` and ``column`` count from 1."""

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


def parse(text: str) -> tuple[Node | None, list[SyntaxMistake]]:
    """Parse a YAML or JSON text.

    Returns
    -------
    Node or None
        The tree; None if the text is empty or cannot be read.
    list of SyntaxMistake
        All mistakes. Reading goes on after a mistake where it can.
    """
    mistakes: list[SyntaxMistake] = []
    text = text.removeprefix("\ufeff")
    if text.lstrip().startswith(("{", "[")):
        try:
            return _from_json(text, mistakes), mistakes
        except (json.JSONDecodeError, RecursionError):
            mistakes.clear()
    try:
        node = yaml.compose(text, Loader=_Loader)
        return (None if node is None else _Converter(mistakes, most=_ALIASED + 4 * len(text)).convert(node)), mistakes
    except SyntaxMistake as error:
        mistakes.append(error)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        mistakes.append(SyntaxMistake(_explain(error), *((mark.line + 1, mark.column + 1) if mark else ())))
    except yaml.reader.ReaderError as error:
        mistakes.append(SyntaxMistake(f"is not text: character {error.position} cannot stand in YAML"))
    except RecursionError:
        mistakes.append(SyntaxMistake("is nested too deeply"))
    return None, mistakes


def value(node: Node, schema: dict[str, Any]) -> Any:
    """The Python value of a node.

    Parameters
    ----------
    node
        A node of the tree.
    schema
        JSON schema of the setting, without references; it decides the types of plain scalars.
    """
    if isinstance(node, Listing):
        each: dict[str, Any] = next((branch["items"] for branch in branches(schema) if "items" in branch), {})
        return [value(item, each) for item in node.items]
    if isinstance(node, Mapping):
        named: dict[str, Any] = {}
        rest: Any = {}
        for branch in branches(schema):
            named |= branch.get("properties", {})
            rest = branch.get("additionalProperties") or rest
        rest = rest if isinstance(rest, dict) else {}
        values = {name: value(item, named.get(name, rest)) for name, item in node.items.items()}
        return values if schema else _typed(values, node.plain)
    if not node.plain:
        return node.text
    guess = untyped(node.text)
    if allows(schema, guess) or (guess is None and not node.text):
        return guess
    # Where the schema allows a text, keep the text as written. A boolean stays text too: it must not pass for a number.
    return node.text if allows(schema, "") or isinstance(guess, bool) else guess


def _typed(values: dict[str, Any], plain: frozenset[str]) -> dict[Any, Any]:
    """Convert names of a user's own mapping to numbers and booleans: ``class_weight: {0: 1.0, 1: 5.0}``."""
    names = {name: untyped(name) if name in plain else name for name in values}
    typed = {name: each if isinstance(each, int | float) else name for name, each in names.items()}
    if len(set(typed.values())) < len(typed):  # 1, 1.0 and true are equal keys of a Python dict
        return values
    return {typed[name]: item for name, item in values.items()}


def untyped(text: str) -> Any:
    """The value of a plain scalar by YAML 1.2's core schema."""
    if text.lower() in _SPECIAL and text in (text.lower(), text.upper(), text.title()):
        return _SPECIAL[text.lower()]
    if text.lower() in _ODD:
        return _ODD[text.lower()]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text[2:], 8 if text[1] == "o" else 16)
    return float(text) if _FLOAT.fullmatch(text) else text


def branches(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The alternatives (``anyOf``, ``oneOf``) of a schema, as one flat sequence; the schema itself if it has none."""
    inner = schema.get("anyOf") or schema.get("oneOf")
    if not inner:
        yield schema
    for each in inner or ():
        yield from branches(each)


_TYPES: dict[str, Any] = {
    "null": type(None),
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "string": str,
    "array": list,
    "object": dict,
}


def allows(schema: dict[str, Any], example: Any) -> bool:
    """Whether a schema admits values of the type of ``example``."""
    for branch in branches(schema):
        wanted = branch.get("type")
        if wanted is None or (
            isinstance(example, _TYPES[wanted]) and (wanted == "boolean" or not isinstance(example, bool))
        ):
            return True
    return False


class _Loader(yaml.SafeLoader):
    """Builds nodes without values. Plain scalars get the tag ``plain`` instead of a guessed type."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        if kind is yaml.ScalarNode:
            return _PLAIN if implicit[0] else _TEXT
        return super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]


class _Converter:
    """Converts YAML nodes to `Node`, and collects mistakes. Raises if aliases unfold to more than ``most`` nodes."""

    def __init__(self, mistakes: list[SyntaxMistake], *, most: int) -> None:
        self.mistakes = mistakes
        self.above: list[int] = []
        self.left = most

    def convert(self, node: yaml.Node) -> Node:
        """Convert a node and all nodes below it."""
        line = node.start_mark.line + 1
        self.left -= 1
        if id(node) in self.above or self.left < 0:
            raise SyntaxMistake(
                "contains itself by an alias" if self.left >= 0 else "is too large, or made so by aliases", line
            )
        if node.tag not in _TAGS and node.tag != _PLAIN:
            self.mistakes.append(SyntaxMistake(f"has the tag {node.tag}: tags are not allowed", line))
            return Scalar(text="", line=line)
        if isinstance(node, yaml.ScalarNode):
            return Scalar(text=node.value, plain=node.tag != _TEXT, line=line)
        self.above.append(id(node))
        if isinstance(node, yaml.SequenceNode):
            made: Node = Listing(items=[self.convert(item) for item in node.value], line=line)
        else:
            items, plain = self._pairs(node)
            made = Mapping(items=items, line=line, plain=plain)
        self.above.pop()
        return made

    def _pairs(self, node: yaml.Node) -> tuple[dict[str, Node], frozenset[str]]:
        own: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        plain: set[str] = set()
        for key, item in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                self.mistakes.append(
                    SyntaxMistake("has a list or mapping as a name: are quotes missing around braces?", line)
                )
            elif key.value == "<<" and key.tag == _PLAIN:
                tree = self.convert(item)
                for each in tree.items if isinstance(tree, Listing) else [tree]:
                    if isinstance(each, Mapping):
                        merged = {**each.items, **merged}
                        plain |= each.plain
            elif key.value in own:
                first = own[key.value].line
                self.mistakes.append(SyntaxMistake(f"says {key.value!r} twice; the first is in line {first}", line))
            else:
                own[key.value] = self.convert(item)
                (plain.add if key.tag == _PLAIN else plain.discard)(key.value)
        return {**merged, **own}, frozenset(plain)


def _from_json(text: str, mistakes: list[SyntaxMistake]) -> Node:
    def pairs(found: list[tuple[str, Any]]) -> Mapping:
        items: dict[str, Node] = {}
        for name, item in found:
            if name in items:
                mistakes.append(SyntaxMistake(f"says {name!r} twice"))
            items[name] = _json_node(item)
        # All names of JSON are in quotes. They count as plain, so that a name that looks like a number is one.
        return Mapping(items=items, plain=frozenset(items))

    def token(text: str) -> Scalar:
        return Scalar(text=text)

    return _json_node(json.loads(text, object_pairs_hook=pairs, parse_int=token, parse_float=token))


def _json_node(item: Any) -> Node:
    if isinstance(item, list):
        return Listing(items=[_json_node(each) for each in item])
    if isinstance(item, str):
        return Scalar(text=item, plain=False)
    if item is None or isinstance(item, bool):
        return Scalar(text="null" if item is None else str(item).lower())
    if isinstance(item, float):  # NaN and Infinity are not JSON, but Python writes them
        return Scalar(text=".nan" if item != item else f"{'-' if item < 0 else ''}.inf")
    return item  # type: ignore[no-any-return]


def _explain(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "cannot be read"
    if error.context and "alias" in error.context:
        return 'is not valid YAML: a text that starts with * must be in quotes, for example match: "*.csv"'
    if "character '\\t'" in problem or "'\\t'" in problem:
        return "is not valid YAML: a tab where only spaces may indent"
    if "expected a single document" in (error.context or ""):
        return "holds several YAML documents; a job is one"
    where = f" {error.context}" if error.context else ""
    return f"is not valid YAML:{where}: {problem}" if where else f"is not valid YAML: {problem}"
