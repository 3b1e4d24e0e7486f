"""Keys as text: what Spark's cast to string gives."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from job.reader.key_text import java_float, key_texts, row_keys


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (0.001, "0.001"),
        (0.0001, "1.0E-4"),
        (9999999.0, "9999999.0"),
        (1e7, "1.0E7"),
        (123456.789, "123456.789"),
        (1.7976931348623157e308, "1.7976931348623157E308"),
        (np.float32(0.1), "0.1"),
        (np.float32(16777216.0), "1.6777216E7"),
        (5e-324, "4.9E-324"),
        (-1e-323, "-9.9E-324"),
        (2e-323, "2.0E-323"),
        (1.5e-322, "1.5E-322"),
        (2.225073858507201e-308, "2.225073858507201E-308"),
        (2e23, "2.0E23"),
        (np.float32(1e-45), "1.4E-45"),
        (np.float32(1e-44), "9.8E-45"),
        (np.float32(2e-40), "2.0E-40"),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
    ],
)
def test_floats_are_written_as_java_writes_them(value: float, text: str) -> None:
    assert java_float(value) == text


def test_time_stamps_are_in_utc_with_all_digits_and_without_zeros_at_the_end() -> None:
    values = pa.array([0, 1_500_000_000, 86_400_000_001_001], pa.int64()).view(pa.timestamp("ns", "Europe/Berlin"))
    assert key_texts(values).to_pylist() == [
        "1970-01-01 00:00:00",
        "1970-01-01 00:00:01.5",
        "1970-01-02 00:00:00.000001001",
    ]


def test_rows_of_two_dictionaries_with_one_text_have_one_key_and_null_is_hives_word() -> None:
    column = pa.DictionaryArray.from_arrays(
        pa.array([0, 1, 2, None], pa.int8()), pa.array(["a", "a", "__HIVE_DEFAULT_PARTITION__"])
    )
    codes, keys = row_keys({"k": column}, 4)
    assert [keys[int(code)].as_py() for code in codes] == ["k=a", "k=a", *["k=__HIVE_DEFAULT_PARTITION__"] * 2]


def test_keys_of_several_columns_are_those_of_each_row() -> None:
    random = np.random.default_rng(0)
    one, two, three = (random.integers(0, 7, 500) for _ in range(3))
    names = pa.array([None if each == 3 else f"n/{each}" for each in one])
    codes, keys = row_keys({"a=": names, "b": pa.array(two), "c": pa.array(three > 3)}, 500)
    wanted = [
        f"a%3D={'__HIVE_DEFAULT_PARTITION__' if a == 3 else f'n%2F{a}'}/b={b}/c={'true' if c > 3 else 'false'}"
        for a, b, c in zip(one.tolist(), two.tolist(), three.tolist(), strict=True)
    ]
    assert keys.take(pa.array(codes)).to_pylist() == wanted
    assert len(set(keys.to_pylist())) == len(keys)
