"""A listing by several requests at once is the same as one page after the other, whatever the keys and the server."""

from __future__ import annotations

import bisect
import contextlib
import random
import threading
import time

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job.errors import UnreachableError
from job.store.base import LISTING
from job.store.list_page import Page, parse_page
from job.store.list_ranges import Fetch, Guess, list_ranges


def server(keys: list[str], *, size: int = 3, honest: bool = True, requests: list[str | None] | None = None) -> Fetch:
    """A bucket with these keys, ``size`` to a page; one that is not honest ignores where to start."""

    def fetch(token: str | None, after: str | None) -> Page:
        if requests is not None:
            requests.append(after)
        time.sleep(0.0002)
        begin = int(token) if token else bisect.bisect_right(keys, after) if after and honest else 0
        found = keys[begin : begin + size]
        objects = pa.RecordBatch.from_pylist(
            [{"name": key, "size": 1, "etag": None, "modified": None} for key in found], schema=LISTING
        )
        more = begin + size < len(keys)
        return Page(objects=objects, prefixes=[], token=str(begin + size) if more else None)

    return fetch


@settings(max_examples=60, deadline=None)
@given(
    keys=st.sets(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), max_size=120), workers=st.integers(2, 6)
)
def test_every_key_is_listed_once_and_in_order(keys: set[str], workers: int) -> None:
    expected = sorted(f"p/{key}" for key in keys)

    table = list_ranges(server(expected), "p/", workers=workers)

    assert table["name"].to_pylist() == expected


@pytest.mark.parametrize(
    "keys",
    [
        [f"p/part-{number:07d}.csv" for number in range(3000)],
        sorted(f"p/store={number // 50}/item={number % 50}/x" for number in range(3000)),
        sorted(f"p/{random.Random(number).getrandbits(128):032x}" for number in range(3000)),
        sorted(f"p/{chr(0x4E00 + number)}" for number in range(3000)),
        sorted(f"p/{'a' * number}" for number in range(500)),
    ],
    ids=["numbered", "hive", "hashed", "unicode", "nested"],
)
def test_usual_layouts_are_listed_exactly_and_without_many_requests_for_nothing(keys: list[str]) -> None:
    requests: list[str | None] = []

    table = list_ranges(server(keys, size=20, requests=requests), "p/", workers=8)

    assert table["name"].to_pylist() == keys
    assert len(requests) < 2.2 * len(keys) / 20 + 40


def test_several_requests_are_under_way_at_once() -> None:
    keys = sorted(f"p/{random.Random(number).getrandbits(128):032x}" for number in range(4000))
    plain = server(keys, size=20)
    together = threading.Barrier(4)
    met = threading.Event()

    def fetch(token: str | None, after: str | None) -> Page:
        if threading.current_thread() is not threading.main_thread() and not met.is_set():
            # Nobody is answered before four have asked, however slow the machine is.
            with contextlib.suppress(threading.BrokenBarrierError):
                together.wait(timeout=30)
                met.set()
        return plain(token, after)

    table = list_ranges(fetch, "p/", workers=8)

    assert met.is_set()
    assert table["name"].to_pylist() == keys


def test_a_server_that_keeps_one_waiting_is_asked_by_many() -> None:
    plain = server([f"p/{number:04d}" for number in range(1000)], size=20)
    threads: set[int] = set()

    def fetch(token: str | None, after: str | None) -> Page:
        threads.add(threading.get_ident())
        time.sleep(0.05)
        return plain(token, after)

    list_ranges(fetch, "p/")

    assert len(threads - {threading.get_ident()}) > 1


@pytest.mark.parametrize("honest", [True, False])
def test_a_server_without_order_or_start_is_listed_page_after_page(honest: bool) -> None:
    keys = [f"p/{number}" for number in range(200)]
    if honest:
        random.Random(7).shuffle(keys)
    else:
        keys.sort()

    table = list_ranges(server(keys, honest=honest), "p/", workers=4)

    assert sorted(table["name"].to_pylist()) == sorted(keys)


def test_an_error_in_one_request_ends_the_listing_with_that_error() -> None:
    keys = [f"p/{number:05d}" for number in range(2000)]
    plain = server(keys, size=10)

    def fetch(token: str | None, after: str | None) -> Page:
        if token and int(token) > 500:
            raise UnreachableError("no answer")
        return plain(token, after)

    with pytest.raises(UnreachableError, match="no answer"):
        list_ranges(fetch, "p/", workers=4)


def test_progress_never_goes_back_and_ends_at_the_number_of_objects() -> None:
    seen: list[int] = []

    list_ranges(server([f"p/{number:05d}" for number in range(1000)]), "p/", workers=4, progress=seen.append)

    assert seen == sorted(seen)
    assert seen[-1] == 1000


@given(low=st.text(max_size=8), high=st.text(max_size=8), alphabet=st.sets(st.characters(min_codepoint=32), min_size=1))
def test_a_midpoint_lies_strictly_between(low: str, high: str, alphabet: set[str]) -> None:
    guess = Guess.of(sorted(alphabet), "")

    middle = guess.midpoint(low, high)
    above = guess.midpoint(low, None)

    assert middle is None or low < middle < high
    assert above is None or low < above


def test_a_page_is_parsed_with_its_names_decoded() -> None:
    page = parse_page(
        b'<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        b"<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><NextContinuationToken>a+b</NextContinuationToken>"
        b"<Contents><Key>a+b%2Bc%25/%C3%A9</Key><Size>5000000000</Size><ETag>&quot;x-2&quot;</ETag>"
        b"<LastModified>2026-11-23T15:14:46.123Z</LastModified><Owner><ID>1</ID></Owner></Contents>"
        b"<Contents><Key>no-etag</Key><Size>0</Size><LastModified>2026-11-23T15:14:46Z</LastModified></Contents>"
        b"<CommonPrefixes><Prefix>d+e/</Prefix></CommonPrefixes></ListBucketResult>"
    )

    assert page is not None
    assert page.objects["name"].to_pylist() == ["a b+c%/é", "no-etag"]
    assert page.objects["size"].to_pylist() == [5_000_000_000, 0]
    assert page.objects["etag"].to_pylist() == ['"x-2"', None]
    assert page.objects["modified"].cast(pa.int64()).to_pylist() == [1795446886123000, 1795446886000000]
    assert (page.token, page.prefixes) == ("a+b", ["d e/"])


def test_an_error_is_no_page() -> None:
    assert parse_page(b"<Error><Code>InternalError</Code></Error>") is None


def test_a_truncated_page_without_a_token_is_refused() -> None:
    with pytest.raises(ValueError, match="without a continuation token"):
        parse_page(b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>")
