"""The entities around the actions of a crate: data sets, people and organisations, images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from functions.trust.crate_names import Entity, Names, image_id
from functions.trust.five_safes import FORMAL_PARAMETER
from functions.trust.requested_work import ImageName
from functions.trust.run_record import Edition


def inputs(names: Names) -> Iterator[Entity]:
    """Yield the data sets: their checksums, never their bytes."""
    for number, (name, sha256, size) in enumerate(names.data):
        known = {"sha256": sha256, "contentSize": str(size)} if sha256 else {}
        yield {
            "@id": f"#input-{number}",
            "@type": ["CreativeWork", "DigitalDocument"],
            "name": name,
            "description": "Data set; only its checksum leaves" if sha256 else "Data set; it was not fetched",
            "exampleOfWork": {"@id": f"#parameter-{number}"},
            "hasDigitalDocumentPermission": {"@id": "#permission"},
            **known,
        }
        yield {
            "@id": f"#parameter-{number}",
            "@type": ["FormalParameter", "Thing"],
            "name": name,
            "additionalType": "File",
            "conformsTo": {"@id": FORMAL_PARAMETER},
        }
    yield {
        "@id": "#permission",
        "@type": "DigitalDocumentPermission",
        "name": "read inside only",
        "permissionType": "http://schema.org/ReadPermission",
        "grantee": {"@id": names.project},
    }


def people(names: Names, checkers: Iterable[str]) -> Iterator[Entity]:
    """Yield who asked, for which project, who holds the data, and who decided."""
    submission = names.run.record.submission
    yield {
        "@id": names.person,
        "@type": "Person",
        "name": f"owner {submission.owner}" if names.person != "#requester" else "the consumer who asked",
        "memberOf": {"@id": names.project},
        "affiliation": {"@id": names.consumer},
    }
    yield {"@id": names.consumer, "@type": "Organization", "name": "The consumer's organisation", "url": names.base}
    yield {
        "@id": names.project,
        "@type": "Project",
        "name": ", ".join(names.policy.names) or f"environment {names.run.record.workflow.environment}",
        "member": {"@id": names.consumer},
        "identifier": {"@id": "#agreement"},
        "funding": {"@id": "#grant"},
    }
    yield {"@id": "#grant", "@type": "Grant", "name": "none recorded"}
    agreement = submission.agreement_id if names.edition is Edition.HOLDER else "known to the consumer"
    yield {"@id": "#agreement", "@type": "PropertyValue", "name": "agreement", "value": agreement}
    yield {"@id": names.base, "@type": "Organization", "name": names.run.holder, "url": names.base}
    yield {
        "@id": names.software,
        "@type": "SoftwareApplication",
        "name": "Sluice",
        "version": names.run.software,
        "url": f"{names.base}software/sluice",
        "provider": {"@id": names.base},
    }
    for address in sorted(checkers):
        yield {
            "@id": f"urn:ethereum:{address}",
            "@type": "Person",
            "name": f"checker {address}",
            "affiliation": {"@id": names.base},
        }


def images(names: Names) -> Iterator[Entity]:
    """Yield the images that ran, and the environment."""
    for reference, digest in names.images:
        image = ImageName.of(reference)
        yield {
            "@id": image_id(reference, digest),
            "@type": ["ContainerImage", "CreativeWork"],
            "name": reference,
            "additionalType": {"@id": "https://w3id.org/ro/terms/workflow-run#DockerImage"},
            "registry": image.registry,
            **({"tag": image.tag} if image.tag else {}),
            "sha256": digest.removeprefix("sha256:"),
        }
    yield {
        "@id": "#environment",
        "@type": "PropertyValue",
        "name": "environment",
        "value": names.run.record.workflow.environment,
    }
