"""Where outputs may go: the environment's URL prefixes, compared part by part after parsing. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from urllib.parse import unquote, urlsplit

from functions.workflow.field_checks import has_controls, place_problem

SCHEMES = frozenset({"s3", "gs", "az", "https", "http", "file"})
READ_WITH_CREDENTIALS = frozenset({"s3", "gs", "az", "file"})
OWNER = "{owner}"
ANY = "*"  # as the whole prefix: for a laptop


class DestinationRefused(ValueError):
    """A URL that outputs may not go to; the text says what would do."""


def check(url: str, allowed: Sequence[str], owner: str) -> None:
    """Raise DestinationRefused unless a prefix allows the URL. `{owner}` in a prefix stands for the owner."""
    wanted = _parts(url)
    for prefix in allowed:
        if prefix == ANY:
            return
        scheme, host, path = _parts(prefix)
        path = tuple(owner if part == OWNER else part for part in path)
        if wanted[:2] == (scheme, host) and wanted[2][: len(path)] == path:
            return
    known = ", ".join(allowed) or "none"
    raise DestinationRefused(f"a URL below one of the environment's prefixes ({known})")


def prefix_problem(prefix: str) -> str:
    """Return what is wrong with a prefix of the environments file; empty if nothing is.

    `{owner}` may not be the bucket. Any other bucket could then be another owner's, so none could be an input.
    """
    if prefix == ANY:
        return ""
    try:
        _, host, path = _parts(prefix)
    except DestinationRefused as e:
        return f"must be {e}, or `*`"
    if (host or next(iter(path), "")) == OWNER:
        return f"must name a bucket, a host or a folder before {OWNER}, such as s3://bucket/{OWNER}/"
    if set(host) & set("{}") or any(set(part) & set("{}") for part in path if part != OWNER):
        return f"must have {OWNER} as a whole part of its path, and no other braces"
    return ""


def is_below(url: str, prefix: str) -> bool:
    """Whether a URL lies below a prefix, or is it. Raises DestinationRefused for what must not be compared."""
    if urlsplit(prefix).scheme not in SCHEMES:
        return False
    scheme, host, path = _parts(prefix)
    wanted = _parts(url)
    return wanted[:2] == (scheme, host) and wanted[2][: len(path)] == path


def belongs_to_another(url: str, allowed: Sequence[str], owner: str, *, folder: bool = False) -> bool:
    """Whether an input at a URL could be the output of another owner, because an allowed prefix has `{owner}` there.

    `folder`: the input is all that is below the URL. A URL that cannot be compared counts as another owner's.
    """
    scheme = urlsplit(url).scheme
    places = list(_owned_places(allowed, scheme)) if scheme in READ_WITH_CREDENTIALS else []
    if not places:
        return False
    try:
        _, host, path = _parts(url)
    except DestinationRefused:
        return True
    wanted = (host if scheme != "file" else "", *path)
    return any(
        wanted[: len(above)] == above[: len(wanted)]
        and (wanted[len(above)] != owner if len(wanted) > len(above) else folder)
        for above in places
    )


def _owned_places(allowed: Sequence[str], scheme: str) -> Iterator[tuple[str, ...]]:
    """Yield the bucket and the folders above the first `{owner}` of each prefix."""
    for prefix in allowed:
        with suppress(DestinationRefused):
            known, host, path = _parts(prefix)
            if known == scheme and OWNER in (host, *path):
                yield (host, *path)[: (host, *path).index(OWNER)]


def target(url: str) -> tuple[str, ...]:
    """Return a key that is equal for two URLs of one place. Raises DestinationRefused if the URL cannot be compared."""
    scheme, host, path = _parts(url)
    return scheme, host, *path, *([f"?{urlsplit(url).query}"] if scheme in ("http", "https") else [])


def _parts(url: str) -> tuple[str, str, tuple[str, ...]]:
    """Scheme, host or bucket, and the parts of the path. Raises DestinationRefused for what must not be compared."""
    try:
        split = urlsplit(url)
        host = split.netloc.lower() if split.scheme in ("http", "https") else split.netloc
    except ValueError:
        raise DestinationRefused("a URL") from None
    if split.scheme not in SCHEMES:
        raise DestinationRefused(f"a URL with one of the schemes {', '.join(sorted(SCHEMES))}")
    if "@" in split.netloc:
        raise DestinationRefused("a URL without a user and a password")
    if not host and split.scheme != "file":
        raise DestinationRefused("a URL with a bucket or a host")
    if problem := place_problem(split):
        raise DestinationRefused(problem)
    host = "" if split.scheme == "file" else host
    path = tuple(unquote(part) for part in split.path.strip("/").split("/") if part)
    # Some servers take `\\` for `/`, and `..;x` for `..`.
    dots = any(part.partition(";")[0] in (".", "..") for part in path)
    if dots or any(set(part) & set("/\\\0") for part in path) or "//" in split.path.strip("/"):
        raise DestinationRefused("a URL whose path has no empty parts, `.`, `..` and `\\`")
    if any(map(has_controls, path)):
        raise DestinationRefused("a URL without control characters")
    return split.scheme, host, path
