"""The reader: bytes to a table, strictly. Nothing that is damaged, cut or ambiguous may become a table in silence."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import random
import zlib
from dataclasses import replace

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
import pytest

from job.config.settings import InputSettings
from job.errors import ConfigurationError, PartitionError, SkipPartition
from job.keys import HIVE_NULL
from job.outcome import REASONS
from job.reader import KEY_FIELD, ReadSpec, read
from job.reader.decompress import inflate

CSV = b"x,y\n1,2.5\n3,4.5\n"
TABLE = pa.table({"x": [1, 3], "y": [2.5, 4.5]})


def one(data, name="a.csv", **options):
    return read([(name, data)], ReadSpec(**options))


def failure(data, name="a.csv", **options):
    with pytest.raises(PartitionError) as caught:
        one(data, name, **options)
    assert caught.value.reason in REASONS
    return caught.value.reason, caught.value.message


def attempt(data, name):
    try:
        return one(data, name)
    except PartitionError as error:
        return error.reason


def parquet(table, **options):
    stream = io.BytesIO()
    pq.write_table(table, stream, **options)
    return stream.getvalue()


def arrow_stream(*batches, end=True):
    stream = io.BytesIO()
    writer = pa.ipc.new_stream(stream, batches[0].schema)
    for each in batches:
        writer.write_table(each)
    if end:
        writer.close()
    return stream.getvalue()


def arrow_file(table):
    stream = io.BytesIO()
    with pa.ipc.new_file(stream, table.schema) as writer:
        writer.write_table(table)
    return stream.getvalue()


def compressed(data, codec):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


JSON = b'{"x": 1, "y": 2.5}\n{"x": 3, "y": 4.5}\n'


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", CSV),
        ("a.CSV", CSV),
        ("a.txt", CSV),
        ("a.tsv", CSV.replace(b",", b"\t")),
        ("a.csv.gz", gzip.compress(CSV)),
        ("a.csv.zst", compressed(CSV, "zstd")),
        ("a.csv.lz4", compressed(CSV, "lz4")),
        ("a.csv.bz2", bz2.compress(CSV)),
        ("a.csv.xz", lzma.compress(CSV)),
        ("a.jsonl", JSON),
        ("a.json.gz", gzip.compress(JSON)),
        ("a.ndjson.zst", compressed(JSON, "zstd")),
        ("a.parquet", parquet(TABLE)),
        ("a.pq", parquet(TABLE, compression="zstd")),
        ("a.parquet.gz", gzip.compress(parquet(TABLE))),
        ("a.arrow", arrow_file(TABLE)),
        ("a.feather", arrow_file(TABLE)),
        ("a.arrow.gz", gzip.compress(arrow_stream(TABLE))),
        ("a.ipc", arrow_stream(TABLE)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_format_and_compression_gives_the_same_table(name, data):
    assert one(data, name).equals(TABLE)
    assert one(memoryview(bytearray(data)), name).equals(TABLE)


def test_the_format_can_be_declared_whatever_the_name():
    assert one(CSV, "part-0000", type="csv").equals(TABLE)
    assert one(gzip.compress(JSON), "x.gz", type="json").equals(TABLE)
    reason, message = failure(CSV, "part-0000")
    assert reason == "unsupported_format"
    assert "part-0000" in message


def test_several_gzip_members_are_one_file():
    assert one(gzip.compress(b"x,y\n1,2.5\n") + gzip.compress(b"3,4.5\n"), "a.csv.gz").equals(TABLE)


@pytest.mark.parametrize("codec", ["gz", "zst", "bz2", "xz", "lz4"])
def test_a_compressed_object_cut_anywhere_is_corrupt_compression(codec):
    text = b"x,y\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(200))
    data = {
        "gz": gzip.compress(text),
        "zst": compressed(text, "zstd"),
        "bz2": bz2.compress(text),
        "xz": lzma.compress(text),
        "lz4": compressed(text, "lz4"),
    }[codec]
    for size in {1, 2, 5, 20, len(data) // 2, len(data) - 9, len(data) - 4, len(data) - 1}:
        reason, message = failure(data[:size], f"a.csv.{codec}")
        assert reason == "corrupt_compression", (size, message)


def test_a_flipped_bit_in_gzip_is_never_a_table():
    text = b"x,y\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(300))
    data = gzip.compress(text, mtime=0)
    whole = one(data, "a.csv.gz")
    random.seed(0)
    for _ in range(300):
        position, bit = random.randrange(len(data)), random.randrange(8)
        damaged = bytearray(data)
        damaged[position] ^= 1 << bit
        found = attempt(bytes(damaged), "a.csv.gz")
        # The header's time stamp and the last byte's padding carry no data.
        assert found == "corrupt_compression" or found.equals(whole)


def test_a_gzip_member_is_refused_wherever_zlib_refuses_it():
    data = gzip.compress(b"x,y\n" + b"".join(b"%d,%d.5\n" % (each, each) for each in range(40)), mtime=0)
    for bit in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        inflater = zlib.decompressobj(31)
        try:
            inflater.decompress(bytes(damaged))
            good = inflater.eof and not inflater.unused_data
        except zlib.error:
            good = False
        try:
            inflate("a.gz", bytes(damaged), "gzip", max_bytes=1 << 20, max_ratio=1000)
            assert good, bit
        except PartitionError:
            assert not good, bit


@pytest.mark.parametrize("garbage", [b"x", b"\0" * 8, b"\x1f", b"\x1f\x8b", b"trailing text"])
def test_garbage_after_a_gzip_member_is_corrupt_compression(garbage):
    reason, message = failure(gzip.compress(CSV) + garbage, "a.csv.gz")
    assert reason == "corrupt_compression"
    assert "not gzip follow the data" in message or garbage.startswith(b"\x1f")


def test_a_name_that_promises_another_compression_says_what_it_found():
    with pytest.raises(PartitionError, match="look like zstd, not gzip"):
        one(compressed(CSV, "zstd"), "a.csv.gz")
    with pytest.raises(PartitionError, match="is it compressed at all"):
        one(CSV, "a.csv.gz")
    reason, message = failure(gzip.compress(CSV), "a.csv")
    assert (reason, "gzip" in message) == ("corrupt_compression", True)


@pytest.mark.parametrize("codec", ["gz", "zst", "xz", "bz2"])
@pytest.mark.parametrize("limit", [{"max_bytes": 100_000}, {"max_ratio": 50.0}])
def test_a_bomb_ends_at_the_cap(codec, limit):
    bomb = b"x\n" + b"0" * 3_000_000
    data = {
        "gz": gzip.compress(bomb),
        "zst": compressed(bomb, "zstd"),
        "xz": lzma.compress(bomb),
        "bz2": bz2.compress(bomb),
    }[codec]
    reason, message = failure(data, f"a.csv.{codec}", **limit)
    assert reason == "decompression_limit"
    assert "unpacks to more than" in message


def test_many_small_gzip_members_do_not_get_round_the_cap():
    data = gzip.compress(b"0" * 1000) * 50
    assert failure(data, "a.csv.gz", max_bytes=20_000)[0] == "decompression_limit"


def test_what_is_exactly_as_large_as_the_cap_is_read():
    assert one(gzip.compress(CSV), "a.csv.gz", max_bytes=len(CSV)).equals(TABLE)
    assert failure(gzip.compress(CSV), "a.csv.gz", max_bytes=len(CSV) - 1)[0] == "decompression_limit"


def test_a_parquet_file_that_declares_more_than_the_cap_is_not_decoded():
    data = parquet(pa.table({"x": pa.array([7] * 500_000).dictionary_encode()}))
    assert len(data) < 20_000
    assert failure(data, "a.parquet", max_bytes=400_000)[0] == "decompression_limit"


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"\n\r\n\n", b"\xef\xbb\xbf"], ids=["no byte", "newline", "newlines", "byte order mark"]
)
def test_an_object_without_text_is_empty(data):
    for name in ("a.csv", "a.jsonl"):
        with pytest.raises(SkipPartition) as caught:
            one(data, name)
        assert caught.value.reason == "empty"
    with pytest.raises(SkipPartition):
        one(gzip.compress(data), "a.csv.gz")


@pytest.mark.parametrize("data", [b"x,y\n", b"x,y", b"x,y\r\n\r\n", b'"x","y"\n', b'"x","y"'])
def test_a_header_alone_is_a_table_without_rows(data):
    table = one(data)
    assert (table.column_names, table.num_rows) == (["x", "y"], 0)


@pytest.mark.parametrize(
    ("row", "text"), [(b"3,4,5", "line 3 has 3 fields, the header 2"), (b"3", "line 3 has 1 fields, the header 2")]
)
def test_a_ragged_row_is_bad_row_with_its_line(row, text):
    reason, message = failure(b"x,y\n1,2\n" + row + b"\n")
    assert reason == "bad_row"
    assert text in message


def test_one_more_field_in_every_row_does_not_shift_the_columns():
    assert failure(b"x,y\n0,1,2\n1,3,4\n")[0] == "bad_row"


@pytest.mark.parametrize(
    "data",
    [
        b'x,t\n1,"a\n2,b\n3,c\n',
        b'x,t\n1,"a"\n2,"b\n',
        b'x,t\n1,"a"\n2,"b',
        b'x,t\n1,"a\n2,"b\n3,c\n',
        b'"x,t\n1,2\n',
        b't,x\n"a,1\nb,2\n',
        b't,x\na,1\n"b,2\n',
    ],
    ids=["first row", "last row", "no newline", "closed in the next row", "header", "first column", "last row's first"],
)
def test_an_unclosed_quote_is_corrupt_csv_and_swallows_no_row(data):
    reason, message = failure(data)
    assert reason == "corrupt_csv"
    assert "line" in message


def test_quotes_line_breaks_and_delimiters_inside_quoted_fields_are_data():
    table = one(b't,x\n"a ""quoted"", word",1\n"two\nlines",2\n5" pipe,3\n')
    assert table.to_pydict() == {"t": ['a "quoted", word', "two\nlines", '5" pipe'], "x": [1, 2, 3]}


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
def test_all_line_endings_are_read(newline):
    assert one(CSV.replace(b"\n", newline)).equals(TABLE)
    assert one(CSV.rstrip().replace(b"\n", newline)).equals(TABLE)
    assert one(b'x,y\n1,"2.5"\n3,"4.5"\n'.replace(b"\n", newline)).equals(TABLE)


def test_quoted_line_breaks_are_data_wherever_a_large_file_is_cut_into_blocks():
    text = "line\n" * 2000
    table = one(b"x,t\n" + b"".join(b'%d,"%s"\n' % (i, text.encode()) for i in range(3500)))
    assert table["t"].num_chunks > 1
    assert table.num_rows == 3500
    assert set(table["t"].to_pylist()) == {text}


def test_types_come_from_the_whole_file_not_its_beginning():
    table = one(b"x\n" + b"1\n" * 700_000 + b"1.5\n")
    assert table.schema.field("x").type == pa.float64()


def test_a_column_name_twice_is_duplicate_column():
    reason, message = failure(b"x,y,x\n1,2,3\n")
    assert reason == "duplicate_column"
    assert "'x'" in message
    assert failure(b"x,,\n1,2,3\n")[0] == "duplicate_column"
    assert failure(b"x,y,x\n1,2,3\n", needed=("y",))[0] == "duplicate_column"
    assert failure(b'{"x": 1, "x": 2}\n', "a.json")[0] == "duplicate_column"
    twice = pa.table([pa.array([1]), pa.array([2])], names=["x", "x"])
    assert failure(parquet(twice), "a.parquet")[0] == "duplicate_column"
    assert failure(arrow_file(twice), "a.arrow")[0] == "duplicate_column"


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        ("x,t\n1,é\n".encode("latin-1"), "latin-1"),
        ("é,t\n1,2\n".encode("latin-1"), "latin-1"),
        ("x,y\n1,2\n".encode("utf-16"), "utf-16"),
        ("x,y\n1,2\n".encode("utf-16-le"), "utf-16"),
        (b"x,y\n1,2\0\n", "UTF-16"),
    ],
    ids=["latin-1 value", "latin-1 name", "utf-16", "utf-16 without mark", "NUL"],
)
def test_text_that_is_not_utf8_is_encoding_with_the_way_out(data, hint):
    with pytest.raises(PartitionError) as caught:
        one(data)
    assert caught.value.reason == "encoding"
    assert hint.lower() in str(caught.value).lower()
    assert failure(b'{"t": "\xe9"}\n', "a.jsonl")[0] == "encoding"


def test_a_declared_encoding_is_read_and_a_byte_order_mark_is_no_data():
    assert one("t\né\n".encode("latin-1"), encoding="latin-1")["t"].to_pylist() == ["é"]
    assert one(CSV.decode().encode("utf-16"), encoding="utf-16").equals(TABLE)
    assert one(b"\xef\xbb\xbf" + CSV).equals(TABLE)
    assert failure("t\néé\n".encode("latin-1"), encoding="utf-16")[0] == "encoding"


def test_only_declared_texts_mean_missing():
    table = one(b"a,b,c\nNA,None,1\nx,,\n")
    assert table.to_pydict() == {"a": ["NA", "x"], "b": ["None", None], "c": [1, None]}
    assert one(b"a\nNA\n1\n", null_values=("NA",))["a"].to_pylist() == [None, 1]


def test_an_empty_line_is_a_missing_value_where_there_is_one_column_and_nothing_elsewhere():
    assert one(b"a\n1\n\n3\n")["a"].to_pylist() == [1, None, 3]
    assert one(b"a,b\n1,2\n\n3,4\n").num_rows == 2


def test_numbers_quoted_throughout_are_numbers():
    assert one(b'"x","y"\n"1","2.5"\n"3",""\n').to_pydict() == {"x": [1, 3], "y": [2.5, None]}


def test_delimiter_quote_and_decimal_are_as_declared():
    table = one(b"x;t\n1,5;'a;b'\n", delimiter=";", decimal=",", quote="'")
    assert table.to_pydict() == {"x": [1.5], "t": ["a;b"]}


def test_a_wrong_delimiter_that_makes_rows_ragged_says_so():
    with pytest.raises(PartitionError, match=r"is input\.format\.delimiter right"):
        one(b"x;y\n1,5;2,5\n")


def test_a_declared_schema_must_be_the_header_in_any_order():
    schema = (("y", "float64"), ("x", "float64"))
    assert one(CSV, schema=schema).schema.types == [pa.float64(), pa.float64()]
    reason, message = failure(b"x,z\n1,2\n", schema=schema)
    assert reason == "schema_mismatch"
    assert "missing 'y'" in message
    assert "not declared 'z'" in message
    with pytest.raises(PartitionError, match="';'"):
        one(CSV.replace(b",", b";"), schema=schema)
    assert failure(parquet(TABLE), "a.parquet", schema=(("x", "int64"),))[0] == "schema_mismatch"
    assert failure(JSON, "a.json", schema=(("x", "int64"),))[0] == "schema_mismatch"


def test_a_value_that_is_not_of_the_declared_type_is_named_by_line_and_column_only():
    reason, message = failure(b"x,y\n1,2\nsecret,3\n", schema=(("x", "int64"), ("y", "int64")))
    assert reason == "schema_mismatch"
    assert "line 3" in message
    assert "'x'" in message
    assert "secret" not in message
    assert failure(parquet(TABLE), "a.parquet", schema=(("x", "int64"), ("y", "int64")))[0] == "schema_mismatch"


def test_declared_types_keep_what_inference_would_lose():
    table = one(b"id,when\n007,2020-01-01\n", schema=(("id", "string"), ("when", "string")))
    assert table.to_pydict() == {"id": ["007"], "when": ["2020-01-01"]}
    assert one(b"c\na\n", schema=(("c", "category"),)).schema.field("c").type == pa.dictionary(pa.int32(), pa.string())


@pytest.mark.parametrize(
    ("data", "reason", "text"),
    [
        (b'{"x": 1}\n{"x":\n', "bad_row", "row 2"),
        (b"null\n", "bad_row", "line 1 is not a JSON object"),
        (b'{"x": 1}\n\n null\n', "bad_row", "line 3 is not a JSON object"),
        (b'{"x": 1} null\n', "bad_row", "more than one value"),
        (b'{"x":\n1}\n', "bad_row", "line 2"),
        (b'{"x": 1}\n{"x": 2', "bad_row", "row 2"),
        (b'{"x": 1}\nnot json\n', "bad_row", "line 2"),
        (b'[{"x": 1}, {"x": 2}]', "bad_row", "array"),
        (b"1\n2\n", "bad_row", "not a JSON object"),
        (b'{"x": 1}\n{"x": "secret"}\n', "schema_mismatch", "row 2: column 'x' changes from number to string"),
        (b'{"x": 1e999}\n', "bad_row", "row 1"),
    ],
)
def test_bad_json_is_named_by_its_row(data, reason, text):
    found, message = failure(data, "a.jsonl")
    assert (found, text in message, "secret" in message) == (reason, True, False), message


def test_a_name_that_a_json_line_lacks_is_a_missing_value():
    assert one(b'{"x": 1}\n{"y": 2}\n', "a.json").to_pydict() == {"x": [1, None], "y": [None, 2]}


def test_a_parquet_file_cut_or_overwritten_anywhere_is_corrupt_parquet():
    data = parquet(pa.table({"x": list(range(1000)), "t": ["text"] * 1000}))
    for size in (1, 4, 100, len(data) // 2, len(data) - 8, len(data) - 1):
        assert failure(data[:size], "a.parquet")[0] == "corrupt_parquet"
    assert failure(data[: len(data) // 2] + b"\0" * (len(data) - len(data) // 2), "a.parquet")[0] == "corrupt_parquet"
    assert failure(CSV, "a.parquet")[0] == "corrupt_parquet"


def test_with_page_checksums_no_flipped_bit_in_the_data_of_a_parquet_file_goes_unseen():
    whole = pa.table({"x": [float(i) for i in range(500)]})
    data = parquet(whole, write_page_checksum=True, compression="none", use_dictionary=False)
    for position in range(100, 3000, 37):
        damaged = bytearray(data)
        damaged[position] ^= 4
        assert failure(bytes(damaged), "a.parquet")[0] == "corrupt_parquet"


def test_an_arrow_stream_cut_between_two_messages_is_corrupt():
    batch = pa.table({"x": [1, 2, 3]})
    whole = arrow_stream(batch, batch)
    assert one(whole, "a.arrow").num_rows == 6
    assert failure(arrow_stream(batch, end=False), "a.arrow")[0] == "corrupt_parquet"
    for size in (4, 50, len(whole) // 2, len(whole) - 8, len(whole) - 1):
        assert failure(whole[:size], "a.arrow")[0] == "corrupt_parquet"
    file = arrow_file(batch)
    for size in (7, len(file) // 2, len(file) - 1):
        assert failure(file[:size], "a.arrow")[0] == "corrupt_parquet"


def test_a_pandas_index_without_a_name_is_no_column():
    frame = pd.DataFrame({"x": [1, 2, 3]})[lambda each: each.x > 1]
    stream = io.BytesIO()
    frame.to_parquet(stream)
    assert one(stream.getvalue(), "a.parquet").column_names == ["x"]


def test_files_of_one_key_are_joined_by_column_name_and_numbers_are_widened():
    table = read(
        [("a.csv", b"x,y\n1,2\n"), ("b.csv", b"y,x\n0.5,3\n"), ("c.csv", b""), ("d.csv", b"x,y\n")], ReadSpec()
    )
    assert table.to_pydict() == {"x": [1, 3], "y": [2.0, 0.5]}


def test_files_of_one_key_that_differ_are_schema_mismatch_naming_both():
    with pytest.raises(PartitionError) as caught:
        read([("a.csv", b"x,y\n1,2\n"), ("b.csv", b"x,z\n1,2\n")], ReadSpec())
    assert caught.value.reason == "schema_mismatch"
    assert "b.csv lacks 'y'" in caught.value.message
    assert "a.csv lacks 'z'" in caught.value.message
    with pytest.raises(PartitionError, match=r"'y' is int64 in a\.jsonl and string in b\.jsonl"):
        read([("a.jsonl", b'{"x": 1, "y": 2}'), ("b.jsonl", b'{"x": 1, "y": "z"}')], ReadSpec())


def test_a_column_of_csv_has_one_type_over_all_files_of_a_key():
    files = [
        ("a.csv", b"x,y,z\n1,007,1\n2,8,2\n"),
        ("b.csv", b"z,x,y\n3,1.5,A7\n"),
        ("c.csv", b"x,y,z\n"),
        ("d.csv", b""),
    ]
    table = read(files, ReadSpec())
    assert table.to_pydict() == {"x": [1.0, 2.0, 1.5], "y": ["007", "8", "A7"], "z": [1, 2, 3]}
    assert [str(kind) for kind in table.schema.types] == ["double", "string", "int64"]


def test_the_columns_of_directories_are_typed_and_marked():
    folder = f"store=12/rate=0.5/code=a1/none={HIVE_NULL}/long={'9' * 30}/"
    table = one(CSV, folder + "a.csv", hive=True)
    row = table.slice(0, 1).to_pydict()
    assert row == {
        "x": [1],
        "y": [2.5],
        "store": [12],
        "rate": [0.5],
        "code": ["a1"],
        "none": [None],
        "long": ["9" * 30],
    }
    assert table.schema.field("store").metadata == KEY_FIELD
    assert table.schema.field("x").metadata is None


@pytest.mark.parametrize(
    ("name", "data"), [("a.csv", CSV), ("a.parquet", parquet(TABLE)), ("a.arrow", arrow_file(TABLE))]
)
def test_only_needed_columns_are_decoded_unless_one_is_not_there(name, data):
    assert one(data, name, needed=("y",)).column_names == ["y"]
    assert one(data, "store=1/" + name, needed=("y", "store"), hive=True).column_names == ["y", "store"]
    assert one(data, name, needed=("y", "z")).column_names == ["x", "y"]


def test_the_spec_comes_from_the_settings_and_is_hashable_and_picklable():
    settings = InputSettings.model_validate(
        {"uri": "s3://b/p", "format": {"type": "csv", "delimiter": ";"}, "schema": {"x": "float64"}}
    )
    spec = ReadSpec.from_settings(settings)
    assert (spec.delimiter, spec.schema) == (";", (("x", "float64"),))
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert hash(spec)


def test_a_type_of_the_schema_that_does_not_exist_is_a_configuration_error():
    with pytest.raises(ConfigurationError, match=r"input\.schema\.x: no type is called 'flaot64'"):
        ReadSpec.from_settings(InputSettings.model_validate({"uri": "s3://b/p", "schema": {"x": "flaot64"}}))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_optional_columns_may_be_declared_alone_and_be_missing_in_some_files(suffix):
    def file(**columns):
        table = pa.table(columns)
        if suffix == "parquet":
            return parquet(table)
        sink = pa.BufferOutputStream()
        pcsv.write_csv(table, sink, pcsv.WriteOptions(quoting_style="none"))
        return sink.getvalue().to_pybytes()

    files = [(f"a.{suffix}", file(code=[7, 8], x=[1, 2])), (f"b.{suffix}", file(x=[3], promo=[0.5]))]
    alone = ReadSpec(schema=(("code", "string"), ("promo", "float64")), optional=("code", "promo"))
    assert read(files, alone).to_pydict() == {
        "code": ["7", "8", None],
        "x": [1, 2, 3],
        "promo": [None, None, 0.5],
    }
    some = ReadSpec(schema=(*alone.schema, ("x", "int32")), optional=alone.optional)
    assert read(files, some).schema.field("x").type == pa.int32()
    assert read(files, replace(alone, needed=("x", "promo"))).to_pydict() == {
        "x": [1, 2, 3],
        "promo": [None, None, 0.5],
    }
    with pytest.raises(PartitionError, match="missing 'y'") as caught:
        read(files, ReadSpec(schema=(*some.schema, ("y", "int64")), optional=alone.optional))
    assert caught.value.reason == "schema_mismatch"
    with pytest.raises(PartitionError, match="the files of this key differ"):
        read(files, ReadSpec(schema=(("code", "string"),), optional=("code",)))


def test_a_code_is_kept_as_text_by_declaring_it_alone():
    spec = ReadSpec(schema=(("code", "string"),), optional=("code",))
    assert one(b"code,x\n007,1\n07,2\n", schema=spec.schema, optional=spec.optional).to_pydict() == {
        "code": ["007", "07"],
        "x": [1, 2],
    }
