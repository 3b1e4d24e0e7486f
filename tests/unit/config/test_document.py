"""YAML and JSON become a tree that knows exact text and line; nothing a user can write is more than a mistake."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from job.config.document import Listing, Mapping, Scalar, parse, untyped, value
from job.config.load import load
from job.config.schema import settings
from job.errors import ConfigurationError

TEXT: dict[str, Any] = {"type": "string"}
KEYS: dict[str, Any] = {"type": "array", "items": TEXT}


def tree(text: str) -> Any:
    node, mistakes = parse(text)
    assert mistakes == []
    assert node is not None
    return value(node, {})


def mistakes(text: str) -> list[tuple[str, int | None, int | None]]:
    return [(str(each), each.line, each.column) for each in parse(text)[1]]


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("7", 7), ("-7", -7), ("+7", 7), ("007", 7), ("1_000", 1000), ("0x1F", 31), ("0o17", 15), ("0b1", "0b1"),
        ("1.5", 1.5), ("1.", 1.0), (".5", 0.5), ("1e3", 1000.0), ("1e-3", 0.001), ("1E+3", 1000.0), (".inf", math.inf), ("-.inf", -math.inf),
        ("true", True), ("True", True), ("FALSE", False), ("tRUE", "tRUE"), ("yes", "yes"), ("on", "on"), ("NO", "NO"),
        ("null", None), ("~", None), ("", None), ("None", "None"), ("nan", "nan"), ("1:30", "1:30"), ("2020-01-01", "2020-01-01"),
        ("+", "+"), (".", "."), ("_1", "_1"), ("1__0", "1__0"), ("1.2.3", "1.2.3"), ("0x", "0x"),
    ],
)  # fmt: skip
def test_a_plain_scalar_means_what_yaml_1_2_says(text: str, means: Any) -> None:
    found = untyped(text)
    assert (type(found), found) == (type(means), means)


def test_where_text_is_wanted_a_scalar_is_what_was_written() -> None:
    node, _ = parse("[NO, 007, 2020-01-01, null, 1.50, true, '', \"q\", 0x1F]")
    assert node is not None
    assert value(node, KEYS) == ["NO", "007", "2020-01-01", "null", "1.50", "true", "", "q", "0x1F"]


def test_quotes_make_a_text_of_everything() -> None:
    assert tree("{a: '7', b: \"true\", c: 'null', d: 7}") == {"a": "7", "b": "true", "c": "null", "d": 7}


def test_names_in_a_mapping_of_the_users_own_keep_their_type() -> None:
    """``class_weight`` is looked up by the classes of the data, which are numbers, truth values or texts."""
    for text, means in (
        ("{0: 1.0, 1: 5.0}", {0: 1.0, 1: 5.0}),
        ("{true: 1, false: 2}", {True: 1, False: 2}),
        ("{0.5: 1, -3: 2, 1e3: 3}", {0.5: 1, -3: 2, 1000.0: 3}),
        ("{'0': 1, \"1\": 2}", {"0": 1, "1": 2}),
        ("{no: 1, 007x: 2, null: 3}", {"no": 1, "007x": 2, "null": 3}),
        ("[[{0: 1}], {a: {1: 2}}]", [[{0: 1}], {"a": {1: 2}}]),
        ("&a {0: 1}", {0: 1}),
        ("{1: a, true: b}", {"1": "a", "true": "b"}),  # one name to Python
    ):
        found = tree(text)
        assert same(found, means), text
        if isinstance(found, dict):
            assert [type(name) for name in found] == [type(name) for name in means], text


def test_names_in_a_mapping_with_a_type_are_texts() -> None:
    node, _ = parse("{0: a, true: b}")
    assert node is not None
    assert value(node, {"type": "object", "additionalProperties": {"type": "string"}}) == {"0": "a", "true": "b"}


def test_lines_are_counted_from_one() -> None:
    node, _ = parse("a: 1\nb:\n  - x\n  - y\n")
    assert isinstance(node, Mapping)
    below = node.items["b"]
    assert isinstance(below, Listing)
    assert [item.line for item in below.items] == [3, 4]
    assert isinstance(node.items["a"], Scalar)
    assert node.items["a"].line == 1


def test_anchors_and_merge_keys_work_and_own_names_win() -> None:
    assert tree("base: &b {x: 1, y: 2}\nmade: {<<: *b, y: 3}\n")["made"] == {"x": 1, "y": 3}
    assert tree("a: &a {x: 1}\nb: &b {x: 2, z: 3}\nc: {<<: [*a, *b]}\n")["c"] == {"x": 1, "z": 3}


def test_an_empty_text_is_no_tree() -> None:
    assert parse("") == (None, [])
    assert parse("# only a comment\n") == (None, [])


def test_a_byte_order_mark_is_no_part_of_the_first_name() -> None:
    assert tree("\ufeffa: 1") == {"a": 1}
    assert tree('\ufeff{"a": 1}') == {"a": 1}


def test_every_name_that_is_said_twice_is_reported_and_the_first_kept() -> None:
    assert mistakes("a: 1\na: 2\nb: {c: 1, c: 2}\n") == [
        ("says 'a' twice; the first is in line 1", 2, None),
        ("says 'c' twice; the first is in line 3", 3, None),
    ]
    assert mistakes('{"a": 1, "a": 2}') == [("says 'a' twice", None, None)]


def test_a_bomb_of_aliases_is_refused_before_it_unfolds() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
    )
    (only,) = mistakes(bomb)
    assert "too large, or made so by aliases" in only[0]


def test_deep_nesting_is_a_mistake_and_no_crash() -> None:
    for text in ("[" * 100_000, "a: " + "{a: " * 5000 + "}" * 5000, '{"a": ' * 100_000):
        node, found = parse(text)
        assert node is None or not found
        assert node is not None or found


@given(st.text())
def test_any_text_is_a_tree_or_a_mistake(text: str) -> None:
    node, _ = parse(text)
    if node is not None:
        value(node, {})
    assert (node is None) or isinstance(node, Scalar | Listing | Mapping)


_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=["Cs"]))
_DATA = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8
)
_PRINTED = st.none() | st.booleans() | st.integers() | st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]))
_PATHS = st.sampled_from([path for path, _ in settings()])


def same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), _DATA, max_size=4))
def test_json_is_read_as_python_wrote_it_but_for_names_that_look_like_numbers(data: dict[str, Any]) -> None:
    assert same(tree(json.dumps(data)), typed(data))


def typed(data: Any) -> Any:
    """What JSON cannot tell from texts, numbers and truth values as names, are those, if they differ."""
    if isinstance(data, list):
        return [typed(each) for each in data]
    if not isinstance(data, dict):
        return data
    names = [each if isinstance(each, int | float) else name for name, each in ((name, untyped(name)) for name in data)]
    names = names if len(set(names)) == len(names) else list(data)
    return dict(zip(names, map(typed, data.values()), strict=True))


_NAMES = st.text(st.characters(categories=["L", "N"]), min_size=1)
# Such as 1e5, which is a text in YAML 1.1 and which its library writes without quotes.
_NAMES = _NAMES.filter(lambda name: not isinstance(untyped(name), int | float))


@given(st.dictionaries(_NAMES, _PRINTED, min_size=1, max_size=4))
def test_yaml_is_read_as_its_own_library_wrote_it(data: dict[str, Any]) -> None:
    written = yaml.safe_dump(data, allow_unicode=True)
    read = tree(written)
    # What the library would misread itself it writes in quotes.
    assert same(read, data)


@given(
    _PATHS,
    _DATA,
    st.lists(_PATHS.map(lambda path: f"--{path}") | st.text(), max_size=4),
    st.dictionaries(_PATHS, st.text(), max_size=2),
)
def test_whatever_is_given_is_settings_or_a_list_of_mistakes(
    path: str, item: Any, arguments: list[str], given_env: dict[str, str]
) -> None:
    document: dict[str, Any] = {"input": {"uri": "/in"}, "recipe": {"function": "m:f"}, "output": {"uri": "/out"}}
    *above, last = path.split(".")
    branch = document
    for name in above:
        branch = branch.setdefault(name, {})
    branch[last] = item
    env = {f"MANYFIT_{name.upper().replace('.', '__')}": text for name, text in given_env.items()}
    try:
        found = load(document=json.dumps(document), argv_overrides=arguments, env=env)
    except ConfigurationError as error:
        refused = error
    else:
        again = load(document=json.dumps(found.to_document()), env={})
        assert again.to_document() == found.to_document()
        return
    assert refused.problems
    assert "Input should be" not in str(refused)
