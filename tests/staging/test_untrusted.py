"""The parsers of text from other machines: no input crashes them, and no odd spelling passes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from functions.results import layout
from functions.store import json_columns
from functions.untrusted import (
    ContentRange,
    HttpUrl,
    Malformed,
    content_range,
    header_number,
    parse_json,
    parse_location,
    parse_url,
    retry_after,
)
from functions.workflow.progress_line import last

NOW = datetime(2026, 11, 27, 12, 0, 0, tzinfo=UTC)
# Any text, lone surrogates included, and texts that look like what is parsed.
any_text = st.text(st.characters(exclude_categories=()), max_size=60)
odd_numbers = st.text("0123456789²٣０ +-_.eEx\t,", max_size=30)
odd_urls = st.text("htps:/@[]%?#\\. \t\n\x00aé²\ud800\udcff09", max_size=40).map(lambda rest: "http://" + rest)
latin = st.text(st.characters(max_codepoint=255), max_size=60)


# --- JSON -----------------------------------------------------------------------------------


@given(st.binary(max_size=200))
@example(b"[" * 200_000)
@example(b'{"a":' * 200_000)
@example(b'"\\ud800"')
@example(b'{"\\udfff": 1}')
@example(b'"\xed\xa0\x80"')
@example(b"1" * 5000)
@example(b"1e999")
@example(b"NaN")
@example(b"\xff\xfe")
@example(b"")
def test_any_bytes_are_json_or_malformed(data: bytes) -> None:
    try:
        value = parse_json(data)
    except Malformed:
        return
    json.dumps(value, ensure_ascii=False).encode()


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_json_that_python_writes_is_read_back(value: Any) -> None:
    assert parse_json(json.dumps(value)) == value


def test_json_of_another_shape_is_malformed() -> None:
    with pytest.raises(Malformed, match="shape"):
        parse_json(b'{"a": "b"}', dict[str, int])


@pytest.mark.parametrize(
    "text", [b"[" * 100_000, b'{"files": ' * 100_000, b'"\xed\xa0\x80"', b'"\\ud800"', b"\xff", b"{}x"]
)
def test_no_stored_or_logged_json_crashes_its_reader(text: bytes) -> None:
    assert layout.decode(text) is None
    assert last([b"progress ", text, b"\n"]) is None
    assert json_columns.decode_files(text.decode("utf-8", "replace")) == ()


# --- URLs -----------------------------------------------------------------------------------


def _is_clean(url: HttpUrl) -> None:
    assert url.scheme in ("http", "https")
    assert url.host
    assert url.host == url.host.lower()
    assert 0 < url.port < 65536
    for text in (url.host, url.path, url.host_header, str(url), url.authorization or "x"):
        assert text.isascii()
        assert text.isprintable()
    assert " " not in url.host + url.path
    assert url.path.startswith("/")
    assert parse_url(str(url)) == HttpUrl(url.scheme, url.host, url.port, url.path)


@given(any_text | odd_urls)
@example("http://[")
@example("http://[::1")
@example("http://]/")
@example("http://a:²/")
@example("http://a:99999/")
@example("http://\ud800/")
@example("http://a/\ud800")
@example("http://u\ud800:p@a/")
@example("http://" + "é" * 300)
@example("http://" + "ä." * 100)
@example("http://℀/")
@example("http://fe80::1%eth0/")
def test_any_text_is_a_clean_url_or_malformed(text: str) -> None:
    try:
        url = parse_url(text)
    except Malformed:
        return
    _is_clean(url)


@given(latin)
@example("http://[")
@example("//[")
@example("http://a/\xff\xfe")
@example("\xff")
@example("?\xe9")
def test_any_location_is_a_clean_url_or_malformed(location: str) -> None:
    try:
        url = parse_location(parse_url("http://data.example/a/b?c"), location)
    except Malformed:
        return
    _is_clean(url)


@pytest.mark.parametrize(
    ("location", "followed"),
    [
        ("/ü/b?q=ü".encode().decode("latin-1"), "http://data.example/%C3%BC/b?q=%C3%BC"),
        ("/\xfc", "http://data.example/%FC"),  # neither ASCII nor UTF-8: the byte as it is
        ("https://bücher.example/".encode().decode("latin-1"), "https://xn--bcher-kva.example/"),
        ("../x", "http://data.example/x"),
        ("//other.example:81/x", "http://other.example:81/x"),
        ("?d", "http://data.example/a/b?d"),
        ("/a b\tc", "http://data.example/a%20bc"),  # urlsplit removes tabs, as browsers do
    ],
)
def test_a_location_may_be_relative_and_may_contain_utf_8(location: str, followed: str) -> None:
    assert str(parse_location(parse_url("http://data.example/a/b?c"), location)) == followed


def test_user_name_and_password_become_a_header_and_are_not_part_of_the_text() -> None:
    url = parse_url("http://us%20er:p%C3%BC@data.example/x")
    assert url.authorization == "Basic dXMgZXI6cMO8"
    assert str(url) == "http://data.example/x"


# --- headers --------------------------------------------------------------------------------


@given(st.none() | any_text | odd_numbers)
@example("²")
@example("٣")
@example("1" * 5000)
@example("+1")
@example("1_0")
@example(" 7\t")
def test_a_header_number_is_ascii_digits_or_none(value: str | None) -> None:
    number = header_number(value)
    if number is not None:
        assert value is not None
        assert value.strip(" \t").lstrip("0") in (str(number), "" if number == 0 else "x")
        assert number < 10**18


@pytest.mark.parametrize(
    ("value", "number"), [("0", 0), ("007", 7), ("9" * 18, 10**18 - 1), ("1" * 19, None), ("", None)]
)
def test_header_numbers(value: str, number: int | None) -> None:
    assert header_number(value) == number


@given(
    st.none() | any_text | st.tuples(odd_numbers, odd_numbers, odd_numbers).map(lambda n: "bytes {}-{}/{}".format(*n))
)
@example("bytes ²-²/²")
@example("bytes 0-1/" + "9" * 5000)
@example("bytes " + "9" * 5000 + "-1/*")
def test_a_content_range_is_consistent_or_none(value: str | None) -> None:
    found = content_range(value)
    if found is not None:
        assert 0 <= found.first <= found.last
        assert found.size is None or found.last < found.size


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes 0-9/10", ContentRange(0, 9, 10)),
        ("bytes 5-5/*", ContentRange(5, 5, None)),
        ("bytes 5-4/10", None),
        ("bytes 0-10/10", None),
        ("bytes */10", None),
        ("items 0-1/2", None),
    ],
)
def test_content_ranges(value: str, expected: ContentRange | None) -> None:
    assert content_range(value) == expected


@given(st.none() | any_text | odd_numbers | st.text("MonFri, 0123456789NovGMT:+-²", max_size=40))
@example("²")
@example("1" * 5000)
@example("Mon, 00 Nov 0000 99:99:99 GMT")
@example("Fri, 31 Dec 9999 23:59:59 GMT")
@example("Mon, 01 Jan 0001 00:00:00 GMT")
def test_retry_after_is_seconds_or_none(value: str | None) -> None:
    seconds = retry_after(value, NOW)
    assert seconds is None or seconds >= 0


@given(st.integers(-(10**6), 10**6))
def test_retry_after_may_be_a_date(seconds: int) -> None:
    at = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert retry_after(at, NOW) == max(0, seconds)


@pytest.mark.parametrize(("value", "expected"), [("7", 7.0), (" 7 ", 7.0), ("soon", None), ("-1", None), ("1.5", None)])
def test_an_invalid_retry_after_is_ignored(value: str, expected: float | None) -> None:
    assert retry_after(value, NOW) == expected
