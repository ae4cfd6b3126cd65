"""The words of the Five Safes RO-Crate profile, as a table. Another version of the profile is another table.

Version 0.4 stands on RO-Crate 1.2; the graph meets Process Run Crate 0.5 too.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

CRATE_1_1 = "https://w3id.org/ro/crate/1.1"
CRATE_1_2 = "https://w3id.org/ro/crate/1.2"
WORKFLOW_CRATE = "https://w3id.org/workflowhub/workflow-ro-crate/1.0"
WORKFLOW_RUN_TERMS = "https://w3id.org/ro/terms/workflow-run/context"
FORMAL_PARAMETER = "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"
LICENSE = "https://creativecommons.org/publicdomain/zero/1.0/"
_SHP = "https://w3id.org/shp#"


class Words(Struct, frozen=True):
    """How one version of the profile spells a crate.

    `profiles`: what the crate conforms to: the name and version of each IRI. `actions`: type, and additional type if
    it has one, of each kind of action. `statuses`: the spelling of each status of an action.
    """

    base: str
    context: tuple[str, ...]
    profiles: Mapping[str, tuple[str, str]]
    actions: Mapping[str, tuple[str, str]]
    statuses: Mapping[str, str]


FIVE_SAFES_0_4 = Words(
    base=CRATE_1_2,
    context=(f"{CRATE_1_2}/context", WORKFLOW_RUN_TERMS),
    profiles={
        "https://w3id.org/5s-crate/0.4": ("Five Safes RO-Crate profile", "0.4"),
        "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    },
    actions={
        "run": ("CreateAction", ""),
        "fetch": ("DownloadAction", ""),
        "checksums": ("AssessAction", f"{_SHP}CheckValue"),
        "sign-off": ("AssessAction", f"{_SHP}SignOff"),
        "disclosure": ("AssessAction", f"{_SHP}DisclosureCheck"),
    },
    statuses={
        "potential": "http://schema.org/PotentialActionStatus",
        "active": "http://schema.org/ActiveActionStatus",
        "completed": "http://schema.org/CompletedActionStatus",
        "failed": "http://schema.org/FailedActionStatus",
    },
)
# Entities that many crates name, and that must be described in each.
DESCRIBED: Mapping[str, Mapping[str, str | list[str]]] = {
    LICENSE: {
        "@type": "CreativeWork",
        "name": "CC0 1.0",
        "description": "Public domain dedication",
        "identifier": LICENSE,
    },
    WORKFLOW_CRATE: {"@type": ["CreativeWork", "Profile"], "name": "Workflow RO-Crate Profile", "version": "1.0"},
    "https://w3id.org/ro/crate": {"@type": ["CreativeWork", "Profile"], "name": "RO-Crate", "version": "1"},
    FORMAL_PARAMETER: {"@type": ["CreativeWork", "Profile"], "name": "FormalParameter", "version": "1.0"},
    "https://www.iana.org/assignments/named-information#sha-256": {
        "@type": "DefinedTerm",
        "name": "sha-256 algorithm",
    },
}
