"""The URLs to which outputs of TES tasks may go, and whose outputs are no inputs."""

from __future__ import annotations

import pytest

from functions.workflow.destinations import DestinationRefused, belongs_to_another, check, is_below, target


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("s3://b/x/y", True),
        ("s3://b/x", True),
        ("s3://b/xy", False),
        ("s3://b/x/../y", False),
        ("s3://b/x/%2e%2e/y", False),
        ("s3://b/x%2Fy", False),
        ("s3://b/", False),
        ("s3://", False),
        ("s3://c/ann/1", True),
        ("s3://c/bob/1", False),
        ("s3://c/{owner}/1", False),
        ("gs://b/x/y", False),
        ("ftp://b/x/y", False),
        ("https://h/up?signature=1", True),
        ("https://me@h/up", False),
        ("//h/up", False),
        ("https://h/up/..;x/y", False),
        ("https://h/up/..%5C..%5Cy", False),
        ("s3://b/x/a%0Ab", False),
        ("https://h/up/%7F", False),
    ],
)
def test_urls_are_compared_part_by_part(url: str, allowed: bool) -> None:
    prefixes = ("s3://b/x/", "s3://c/{owner}", "https://h/")
    if allowed:
        check(url, prefixes, "ann")
    else:
        with pytest.raises(DestinationRefused):
            check(url, prefixes, "ann")


@pytest.mark.parametrize(
    ("url", "folder", "of_another"),
    [
        ("s3://c/ann/1", False, False),
        ("s3://c/ann", True, False),
        ("s3://c/bob/1", False, True),
        ("s3://c/%62ob/1", False, True),
        ("S3://c//bob/1", False, True),
        ("s3://c/ann//1", False, True),
        ("s3://c/bob", True, True),
        ("s3://c", True, True),
        ("s3://c/", False, False),
        ("s3://d/x/bob/1", False, True),
        ("s3://d/y/bob/1", False, False),
        ("s3://d/", True, True),
        ("s3://d/x", False, False),
        ("s3://b/x/bob", False, False),
        ("file:///mnt/bob/1", False, True),
        ("file://localhost/mnt/bob/1", False, True),
        ("file:///mnt/../mnt/bob/1", False, True),
        ("file:///mnt/ann/1", False, False),
        ("file:///", True, True),
        ("https://c/bob/1", False, False),
    ],
)
def test_the_outputs_of_other_owners_cannot_be_inputs(url: str, folder: bool, of_another: bool) -> None:
    prefixes = ("s3://b/x/", "s3://c/{owner}", "s3://d/x/{owner}/out", "file:///mnt/{owner}", "https://c/{owner}/")
    assert belongs_to_another(url, prefixes, "ann", folder=folder) is of_another


def test_a_url_below_another_is_found_by_its_parts() -> None:
    assert is_below("s3://b/results/w", "s3://b/results")
    assert not is_below("s3://b/results2/w", "s3://b/results")
    assert not is_below("s3://b/x", "ipfs://")


def test_another_spelling_of_the_results_place_is_below_it_too() -> None:
    assert is_below("file://localhost/srv/results/w", "file:///srv/results")
    assert target("file://localhost/srv/a") == target("file:///srv/a")


@pytest.mark.parametrize("url", ["s3://b:80/x/y", "s3://b:/x", "gs://b:443/x", "file://host/srv/a", "file:srv/a"])
def test_a_url_that_storages_read_in_another_way_is_no_destination_and_no_input_beside_owned_places(url: str) -> None:
    with pytest.raises(DestinationRefused):
        check(url, ("*", "file:///srv"), "ann")
    assert belongs_to_another(url, ("s3://c/{owner}", "gs://c/{owner}", "file:///mnt/{owner}"), "ann")
