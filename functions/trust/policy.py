"""A data holder's policy: what may run on the data, what may leave, and who decides. Pure.

A policy names data sets (DIDs, or URL prefixes of inputs). Where several data sets meet in one workflow, `merge` makes
one policy of theirs that is never looser than any of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from functools import lru_cache, reduce
from posixpath import normpath
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec import Meta, Struct

from functions.trust import canonical
from functions.trust.disclosure import Checks
from functions.trust.disclosure import merge as merge_checks
from functions.workflow.model import Hold

WEEK = 7 * 86_400
_Sha256 = Annotated[str, Meta(pattern=r"^(sha256:)?[0-9a-fA-F]{64}$")]
_Image = Annotated[str, Meta(pattern=r"^sha256:[0-9a-fA-F]{64}$")]
_Hex = Annotated[str, Meta(pattern=r"^([0-9a-fA-F]{64})+$")]
_Address = Annotated[str, Meta(pattern=r"^0x[0-9a-fA-F]{40}$")]
_Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]


class _Written(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """A part of the file, in camelCase; unknown keys are refused."""


class AllowedAlgorithm(_Written, frozen=True):
    """One algorithm that may run: every field that is given must match. `until` is the last day.

    `sha256` is that of the fetched bytes, `image` the digest of the container image. `files_checksum` and
    `container_section_checksum` are Ocean's (`publisherTrustedAlgorithms`): the sha256 of each file, concatenated;
    and the sha256 of the entrypoint followed by the image's checksum.
    """

    did: str = ""
    sha256: _Sha256 | None = None
    image: _Image | None = None
    entrypoint: str | None = None
    until: date | None = None
    files_checksum: _Hex | None = None
    container_section_checksum: _Sha256 | None = None
    service_id: str | None = None  # of Ocean's form; not compared


class Checker(_Written, frozen=True):
    """A person who decides about results, by the address of the key that signs."""

    name: _Name
    address: _Address


class Runs(_Written, frozen=True):
    """A budget: at most `per_owner` workflows of one owner in `days` days."""

    per_owner: Annotated[int, Meta(ge=1)]
    days: Annotated[int, Meta(ge=1, le=3660)]


class WrittenPolicy(_Written, frozen=True):
    """One entry of `policies.yaml`."""

    id: _Name
    data: tuple[Annotated[str, Meta(min_length=1)], ...] = ()
    algorithms: tuple[AllowedAlgorithm, ...] | None = None  # None allows any, an empty list none
    publisher_trusted_algorithms: tuple[AllowedAlgorithm, ...] | None = None  # as Ocean writes them
    raw_code: bool = True
    custom_data: bool = True
    hold: Hold = Hold.NEVER
    approvals: Annotated[int, Meta(ge=1)] = 1
    checkers: tuple[Checker, ...] = ()
    hold_seconds: Annotated[int, Meta(ge=60)] = WEEK
    runs: Runs | None = None
    checks: Checks | None = None


class Approval(_Written, frozen=True):
    """The persons of whom `needed` must agree before results are released, by their addresses."""

    checkers: tuple[str, ...]
    needed: int


class Budget(_Written, frozen=True):
    """A `Runs` of one policy."""

    policy: str
    per_owner: int
    days: int


class Policy(_Written, frozen=True):
    """The policy of one workflow: one written policy, or several merged. Its order is canonical.

    `algorithms`: lists of which each must hold the algorithm; no list allows any. `approvals`: each must be met.
    """

    names: tuple[str, ...] = ()
    algorithms: tuple[tuple[AllowedAlgorithm, ...], ...] = ()
    raw_code: bool = True
    no_raw_code: bool = False  # a part refuses it and lists nothing: the list of another cannot vouch for it
    custom_data: bool = True
    hold: Hold = Hold.NEVER
    approvals: tuple[Approval, ...] = ()
    hold_seconds: int | None = None
    budgets: tuple[Budget, ...] = ()
    checks: Checks | None = None

    @property
    def checkers(self) -> frozenset[str]:
        """The addresses of all who may decide."""
        return frozenset(address for approval in self.approvals for address in approval.checkers)


NO_POLICY = Policy()


def of_written(written: WrittenPolicy) -> Policy:
    """Return what one written policy asks of a workflow."""
    lists = [each for each in (written.algorithms, written.publisher_trusted_algorithms) if each is not None]
    held = written.hold is not Hold.NEVER
    checkers = tuple(sorted({checker.address.lower() for checker in written.checkers}))
    checks = written.checks or (Checks() if written.hold is Hold.ON_FINDINGS else None)
    return Policy(
        names=(written.id,),
        algorithms=(_ordered({each for entries in lists for each in entries}),) if lists else (),
        raw_code=written.raw_code,
        no_raw_code=not written.raw_code and not lists,
        custom_data=written.custom_data,
        hold=written.hold,
        approvals=(Approval(checkers=checkers, needed=written.approvals),) if held else (),
        hold_seconds=written.hold_seconds if held else None,
        budgets=_budgets(written),
        checks=merge_checks(checks, checks),
    )


def _budgets(written: WrittenPolicy) -> tuple[Budget, ...]:
    if written.runs is None:
        return ()
    return (Budget(policy=written.id, per_owner=written.runs.per_owner, days=written.runs.days),)


def merge(one: Policy, other: Policy) -> Policy:
    """Return the policy that is as strict as both: commutative, associative, never looser than a part."""
    seconds = [each for each in (one.hold_seconds, other.hold_seconds) if each is not None]
    return Policy(
        names=_ordered({*one.names, *other.names}),
        algorithms=_ordered({*one.algorithms, *other.algorithms}),
        raw_code=one.raw_code and other.raw_code,
        no_raw_code=one.no_raw_code or other.no_raw_code,
        custom_data=one.custom_data and other.custom_data,
        hold=max(one.hold, other.hold, key=list(Hold).index),
        approvals=_ordered({*one.approvals, *other.approvals}),
        hold_seconds=min(seconds) if seconds else None,
        budgets=_ordered({*one.budgets, *other.budgets}),
        checks=merge_checks(one.checks, other.checks),
    )


def _ordered(values: set[Any]) -> tuple[Any, ...]:
    return tuple(sorted(values, key=msgspec.json.encode))


Names = Sequence[str]  # all that one data set is called: its DID, its URLs
_PORTS = frozenset({("https", 443), ("http", 80)})


class Policies(Struct, frozen=True):
    """The policies of one file, by id and by the data sets that they name."""

    written: tuple[WrittenPolicy, ...] = ()

    def get(self, id: str) -> WrittenPolicy | None:
        """Return the policy with this id."""
        return next((policy for policy in self.written if policy.id == id), None)

    def of(self, data: Names) -> list[WrittenPolicy]:
        """Return the policies that name the data set: by its DID, or by a prefix of a URL of it."""
        return [
            policy for policy in self.written if any(covers_data(entry, name) for entry in policy.data for name in data)
        ]

    def for_workflow(self, data: Sequence[Names], default: str = "") -> Policy:
        """Return the merged policy of a workflow's data sets.

        `default` is the id of the environment's policy. It counts for each data set that no policy names, and for a
        workflow without data sets.
        """
        fallback = [policy] if (policy := self.get(default)) else []
        parts = [each for names in data or ((),) for each in self.of(names) or fallback]
        return reduce(merge, map(of_written, parts), NO_POLICY)


def covers_data(entry: str, name: str) -> bool:
    """Whether a policy's entry names this data set, or a part of it.

    A URL prefix ends at a `/`: `…/a` does not cover `…/ab`. A name that ends with `/` is a folder with all below it.
    """
    if "://" not in entry:
        return entry.lower() == name.lower()
    prefix, url = _plain_url(entry).rstrip("/"), _plain_url(name).rstrip("/")
    return f"{url}/".startswith(f"{prefix}/") or (name.endswith("/") and f"{prefix}/".startswith(f"{url}/"))


@lru_cache(4096)  # the entries of the policies, again and again
def _plain_url(url: str) -> str:
    """Return one spelling of a URL: lower-case scheme and host, no escapes, no dot segments, no query.

    The host of a file: URL and the port of a bucket's do not count: they lead to the same data.
    """
    try:
        parts = urlsplit(url)
        has_port = parts.scheme in ("http", "https") and parts.port
        port = f":{parts.port}" if has_port and (parts.scheme, parts.port) not in _PORTS else ""
    except ValueError:
        return url
    path = normpath(f"/{unquote(parts.path)}").lstrip("/")
    host = "" if parts.scheme == "file" else _plain_host(parts.hostname or "")
    return f"{parts.scheme}://{host}{port}/{path}"


def _plain_host(host: str) -> str:
    """Return the one name that is looked up: other letters and full-width ones are mapped as the resolver does."""
    name = unquote(host).rstrip(".")
    with suppress(UnicodeError):
        name = name.encode("idna").decode().rstrip(".")
    return _plain_address(name.lower())


def _plain_address(name: str) -> str:
    """Return one spelling of an IP address, and any other name as it is: 0x7f.1 is 127.0.0.1 to the resolver."""
    import socket

    with suppress(OSError, ValueError):
        name = socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, name)).removeprefix("::ffff:")
    with suppress(OSError, ValueError):
        name = socket.inet_ntoa(socket.inet_aton(name))
    return name


# Prepares the type at import, in one thread: msgspec crashes if two threads prepare one type at the same time.
_POLICY = msgspec.json.Decoder(Policy)


def encode(policy: Policy) -> str:
    """Return the canonical JSON of a policy; empty for one that asks for nothing."""
    return "" if policy == NO_POLICY else canonical.encode(msgspec.to_builtins(policy)).decode()


def decode(text: str) -> Policy:
    """Return the policy that `encode` wrote."""
    return _POLICY.decode(text) if text else NO_POLICY


def digest(policy: Policy) -> str:
    """Return the version of a policy: the sha256 of its canonical JSON, as 64 hex digits."""
    return canonical.digest(msgspec.to_builtins(policy))
