"""Reads the data holders' policies from a YAML file (docs/trust.md describes it).

Read once per process. policies.schema.json beside this module is its JSON Schema.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from functions.trust.policy import Policies, WrittenPolicy
from functions.variables import SettingsError
from functions.workflow.model import Hold
from functions.yaml_files import json_schema, read_list

if TYPE_CHECKING:
    from functions.workflow.environment import Environment


def load(path: str, called: str = "POLICIES_FILE") -> Policies:
    """Return the policies of the file; none without one. Raises SettingsError with the path of the wrong key."""
    if not path:
        return Policies()
    try:
        return Policies(tuple(_read(path)))
    except SettingsError as e:
        raise SettingsError(f"{called}: {e}") from None


def check_named(policies: Policies, environments: Iterable[Environment]) -> None:
    """Raise SettingsError if an environment names a policy that does not exist: nothing would guard its data."""
    for each in environments:
        if each.policy and policies.get(each.policy) is None:
            known = ", ".join(policy.id for policy in policies.written)
            raise SettingsError(
                f"POLICIES_FILE {f'has only {known}' if known else 'is not set'}; "
                f"the environment {each.id!r} names the policy {each.policy!r}"
            )


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the file."""
    return json_schema(WrittenPolicy, "Sluice policies")


def _read(path: str) -> Iterator[WrittenPolicy]:
    taken: set[str] = set()
    for index, policy in enumerate(read_list(path, WrittenPolicy, "policies", "policy", "docs/trust.md")):
        for key, problem in _problems(policy):
            raise SettingsError(f"policies[{index}].{key} {problem}")
        if policy.id in taken:
            raise SettingsError(f"policies[{index}].id {policy.id!r} is taken by an earlier policy")
        taken.add(policy.id)
        yield policy


def _problems(policy: WrittenPolicy) -> Iterator[tuple[str, str]]:
    """Yield what the types cannot say: a key and what is wrong with its value."""
    addresses = {checker.address.lower() for checker in policy.checkers}
    if policy.hold is not Hold.NEVER and not policy.checkers:
        yield "checkers", f"is missing; somebody must decide, as hold is {policy.hold.value}"
    elif policy.hold is not Hold.NEVER and policy.approvals > len(addresses):
        yield "approvals", f"must be at most {len(addresses)}, the number of checkers"
    if len(addresses) < len(policy.checkers):
        yield "checkers", "names one address twice; each must be another person"
    names = [checker.name for checker in policy.checkers]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        yield "checkers", f"names {twice!r} twice; each must be another person, and a person has one key"
    for name, entries in (
        ("algorithms", policy.algorithms),
        ("publisherTrustedAlgorithms", policy.publisher_trusted_algorithms),
    ):
        for number, entry in enumerate(entries or ()):
            if not (entry.sha256 or entry.files_checksum or entry.image or entry.container_section_checksum):
                digest = "sha256" if name == "algorithms" else "filesChecksum"
                yield f"{name}[{number}].{digest}", "is missing; a digest must identify the algorithm"
