from __future__ import annotations

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from functions.results.layout import key_of, url_of
from functions.staging.publish.names import published_name, storage_path

# What Linux allows: any bytes but NUL and `/`, at most 255, and neither `.` nor `..`.
file_names = st.one_of(
    st.binary(min_size=1, max_size=255).map(lambda b: b.replace(b"/", b"_").replace(b"\0", b"_")),
    st.text(min_size=1, max_size=60).map(lambda t: t.replace("/", "_").replace("\0", "_").encode(errors="replace")),
).filter(lambda name: name not in (b".", b".."))
paths = st.lists(file_names, min_size=1, max_size=6).map(lambda app: "/".join(["outputs", *map(published_name, app)]))


@given(file_names)
@example(b"%FF")
@example(b"\xff")
@example("\u2028".encode())
def test_percent_decoding_gives_back_the_bytes_of_the_name(name: bytes) -> None:
    assert unquote_to_bytes(published_name(name)) == name


@given(file_names)
def test_a_published_name_is_one_printable_segment(name: bytes) -> None:
    published = published_name(name)
    assert published not in ("", ".", "..")
    assert "/" not in published
    assert "\\" not in published
    # isprintable() also refuses spaces other than U+0020, which are harmless and kept.
    assert all(char.isprintable() or char.isspace() for char in published)
    assert not any(char in "\r\n\0\x1b\u202e\u200b\u2028" for char in published)


@given(file_names, file_names)
@example(b"%FF", b"\xff")
@example("é".encode(), "e\u0301".encode())
def test_different_names_stay_different(one: bytes, other: bytes) -> None:
    assert (published_name(one) == published_name(other)) == (one == other)


@given(paths)
def test_a_storage_path_fits_everywhere_and_survives_the_url(path: str) -> None:
    key = storage_path(path)
    assert len(key.encode()) <= 700
    assert all(0 < len(part.encode()) <= 255 for part in key.split("/"))
    assert key_of("s3://b/p", url_of("s3://b/p", key)) == key


@given(paths, paths)
def test_different_paths_lie_in_different_places(one: str, other: str) -> None:
    assert (storage_path(one) == storage_path(other)) == (one == other)


def test_no_file_name_can_enter_the_folder_of_long_names() -> None:
    assert storage_path("outputs/" + published_name(b"x" * 255)).startswith("outputs/%long/")
    assert not storage_path("outputs/" + published_name(b"%long")).startswith("outputs/%long")


@pytest.mark.parametrize("name", ["result.csv", "Modèle final.pkl", "図表.svg", "a+b=c & d.txt", ".hidden"])
def test_ordinary_names_are_unchanged(name: str) -> None:
    assert published_name(name.encode()) == name
    assert storage_path(f"outputs/{name}") == f"outputs/{name}"
