"""Ocean's status codes. As operator-service has them; 2, 41, 51 and 62 follow ocean-node's numbering."""

from __future__ import annotations

from enum import IntEnum


class Code(IntEnum):
    WARMING_UP = 1
    QUEUE_EXPIRED = 2
    JOB_STARTED = 10
    CONFIGURING = 20
    PROVISIONED = 30
    DATA_FAILED = 31
    ALGORITHM_PROVISIONING_FAILED = 32
    RUNNING = 40
    ALGORITHM_FAILED = 41
    FILTERING = 50
    FILTER_REFUSED = 51
    PUBLISHING = 60
    UPLOAD_FAILED = 62
    FINISHED = 70


# operator-engine stores "Running algorithm " with a trailing space and clients compare texts.
TEXTS = {
    Code.WARMING_UP: "Warming up",
    Code.QUEUE_EXPIRED: "Job queue expired",
    Code.JOB_STARTED: "Job started",
    Code.CONFIGURING: "Configuring volumes",
    Code.PROVISIONED: "Provisioning success",
    Code.DATA_FAILED: "Data provisioning failed",
    Code.ALGORITHM_PROVISIONING_FAILED: "Algorithm provisioning failed",
    Code.RUNNING: "Running algorithm ",
    Code.ALGORITHM_FAILED: "Algorithm failed",
    Code.FILTERING: "Filtering results",
    Code.FILTER_REFUSED: "Filtering refused the results",
    Code.PUBLISHING: "Publishing results",
    Code.UPLOAD_FAILED: "Results upload failed",
    Code.FINISHED: "Job finished",
}


def text(status: int) -> str:
    """The text of a status, `Unknown status` for a number nobody defined (as operator-service)."""
    return TEXTS[Code(status)] if status in TEXTS else "Unknown status"


def failed(status: int) -> bool:
    """Whether a workflow that ended with this status has failed."""
    return status in (
        Code.QUEUE_EXPIRED,
        Code.DATA_FAILED,
        Code.ALGORITHM_PROVISIONING_FAILED,
        Code.ALGORITHM_FAILED,
        Code.FILTER_REFUSED,
        Code.UPLOAD_FAILED,
    )
