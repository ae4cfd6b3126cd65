"""Whether a policy lets an algorithm run: at submission, for the fetched bytes, and for the image that ran. Pure.

A fact that is not known yet counts as a match, because the check is repeated once it is known: that of the bytes before
anything runs, that of the image's digest at the end.
"""

from __future__ import annotations

import hashlib
from datetime import date

from msgspec import Struct

from functions.trust.policy import AllowedAlgorithm, Policy

REASON = "AlgorithmNotAllowed"


class Candidate(Struct, frozen=True):
    """An algorithm that asks to run. `files`: the sha256 of each of its files, None as long as they are not fetched.

    `image` is the digest that the document asks for, or that the Pod ran; empty where a tag is asked for.
    """

    did: str = ""
    image: str = ""
    entrypoint: str = ""
    files: tuple[str, ...] | None = None
    raw: bool = False  # its code came in the request
    custom: bool = False  # data came in the request that change what it does


class Refusal(Struct, frozen=True):
    """The reason why an algorithm may not run. `part`: `rawcode`, `custom`, or `algorithm`."""

    part: str
    text: str


def refusal(policy: Policy, candidate: Candidate, today: date) -> Refusal | None:
    """Return why the policy refuses the algorithm; None if it may run, as far as is known."""
    if candidate.custom and not policy.custom_data:
        return Refusal("custom", f"the policy {_named(policy)} refuses data of the consumer's own")
    if candidate.raw and policy.no_raw_code:
        return Refusal("rawcode", f"the policy {_named(policy)} refuses code that comes in the request")
    for allowed in policy.algorithms:
        near = [entry for entry in allowed if _matches(entry, candidate)]
        if not near:
            return Refusal("algorithm", f"the policy {_named(policy)} does not list this algorithm{_hint(candidate)}")
        valid = [entry for entry in near if entry.until is None or entry.until >= today]
        if not valid:
            last = max(entry.until for entry in near if entry.until is not None)
            return Refusal("algorithm", f"the policy {_named(policy)} listed this algorithm until {last}")
        if candidate.raw and not policy.raw_code and not any(entry.sha256 or entry.files_checksum for entry in valid):
            return Refusal("rawcode", f"the policy {_named(policy)} does not list the sha256 of this code")
    return None


def pinned_image(policy: Policy, candidate: Candidate) -> str:
    """Return the digest of the only image with which the policy lets the algorithm run; empty if it allows any."""
    for allowed in policy.algorithms:
        near = [entry for entry in allowed if _matches(entry, candidate)]
        if near and all(entry.image or entry.container_section_checksum for entry in near):
            return candidate.image.lower()
    return ""


def _matches(entry: AllowedAlgorithm, candidate: Candidate) -> bool:
    """Whether every field of the entry that is given fits."""
    return (
        (not entry.did or entry.did == candidate.did)
        and (entry.entrypoint is None or entry.entrypoint == candidate.entrypoint)
        and (entry.image is None or entry.image.lower() == candidate.image.lower())
        and (entry.container_section_checksum is None or _same(entry.container_section_checksum, _section(candidate)))
        and _matches_files(entry, candidate.files)
    )


def _matches_files(entry: AllowedAlgorithm, files: tuple[str, ...] | None) -> bool:
    if files is None:
        return True
    whole = "".join(files).lower()
    if entry.sha256 is not None and not _same(entry.sha256, whole):
        return False
    return entry.files_checksum is None or entry.files_checksum.lower() == whole


def _section(candidate: Candidate) -> str:
    """Return Ocean's checksum of the container section: over the entrypoint and the image's checksum."""
    return hashlib.sha256((candidate.entrypoint + candidate.image).encode()).hexdigest()


def _same(one: str, other: str) -> bool:
    return one.lower().removeprefix("sha256:") == other.lower().removeprefix("sha256:")


def _named(policy: Policy) -> str:
    return " and ".join(policy.names)


def _hint(candidate: Candidate) -> str:
    if candidate.files:
        return f"; the sha256 of its bytes is {', '.join(candidate.files)}"
    return "" if candidate.image else "; name its image by digest (sha256:…), a tag may change"
