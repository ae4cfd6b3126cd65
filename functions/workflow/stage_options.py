"""An environment's options for fetching, publishing and delivering. The stage programs read them in the task file.

They are in a module of their own, so that configure imports neither the whole environment nor the whole task.
Defaults are left out of the file. So an image of another version reads the tasks that use none of its unknown options.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Raw, Struct

from functions.workflow.document import Scheme
from functions.workflow.tes_task import Document

GIB = 1 << 30
_LONGEST = 10**9  # seconds; a sum of such times with today's date is still a date


def above_zero(description: str) -> Meta:
    return Meta(gt=0, description=description)


def duration(description: str, least: int = 0) -> Meta:
    return Meta(ge=least, le=_LONGEST, description=description)


def described(description: str) -> Meta:
    return Meta(description=description)


class FetchOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    """The sources that configure may fetch from, and the amount."""

    schemes: Annotated[tuple[Scheme, ...], described("URL schemes of data and algorithms")] = (
        "https",
        "s3",
        "gs",
        "az",
        "ipfs",
        "ar",
    )
    allow_private_addresses: Annotated[
        bool, described("For a closed network or a laptop: turns the guard against internal addresses off")
    ] = False
    max_bytes: Annotated[int, above_zero("Bytes of all files of a workflow together")] = 100 * GIB
    max_files: Annotated[int, above_zero("Files of a workflow")] = 10_000
    seconds: Annotated[int, duration("Time for all files of a workflow together", 1)] = 3600
    ipfs_gateway: Annotated[str, described("Base URL of a gateway, or a node's API ending in /api/v0")] = (
        "https://ipfs.io"
    )
    arweave_gateway: Annotated[str, described("Base URL of an Arweave gateway")] = "https://arweave.net"
    providers: Annotated[
        tuple[str, ...], described("URLs of the Ocean Providers that get signed requests, as in `serviceEndpoint`")
    ] = ()
    metadata_uri: Annotated[
        str,
        described("The operator's metadata service (Aquarius). Providers that its DDOs name get signed requests too"),
    ] = ""
    buckets: Annotated[
        tuple[str, ...], described("`s3://name`: read with the operator's credentials; all others are read anonymously")
    ] = ()
    endpoints: Annotated[
        dict[str, str], described("By scheme: the URL of a storage other than the cloud provider's own")
    ] = {}


class PublishOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    """The amount that may be published."""

    max_bytes: Annotated[int, above_zero("Bytes of all files of a workflow together")] = 100 * GIB
    max_files: Annotated[int, above_zero("Files of a workflow; each is listed in every status of the job")] = 10_000
    max_file_bytes: Annotated[int, above_zero("Bytes of one file")] = 50 * GIB
    max_log_bytes: Annotated[int, above_zero("Bytes of one log; a longer log is cut")] = 10 * (1 << 20)


class DeliveryOptions(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"
):
    """Where the outputs of GA4GH TES tasks may go."""

    outputs: Annotated[
        tuple[str, ...],
        described("URL prefixes that outputs may go to; `{owner}` in one stands for the task's owner; `*` allows all"),
    ] = ()
    endpoints: Annotated[
        dict[str, str], described("By scheme: the URL of a storage other than the cloud provider's own")
    ] = {}


class ConfigureTask(Struct, frozen=True, kw_only=True):
    """The part of the task file that configure reads. The whole is functions/workflow/stage_task.py.

    `policy` is what a data holder asks for, as `functions/trust/policy.py` spells it; empty without a policy.
    """

    definition: Document
    fetch: FetchOptions = FetchOptions()
    policy: Raw = Raw(b"{}")
