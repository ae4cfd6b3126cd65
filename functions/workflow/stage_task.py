"""The task file: the JSON file that tells the configure and publish programs what to do.

In a Pod it is a file of the workflow's Secret, because input URLs may carry credentials. So it must fit into one.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from functions.workflow.document import Definition
from functions.workflow.model import ResultFile
from functions.workflow.stage_options import ConfigureTask, DeliveryOptions, PublishOptions

# All attempts of release write to one folder of the results: they copy the same files. No attempt of publish has this
# number, so the folder can be removed without the admin logs of publish.
RELEASE_ATTEMPT = 0


class HeldTask(Struct, frozen=True, kw_only=True):
    """The place and the key of held results. For release also the files that leave, and the key that decrypts.

    `quarantine` is a storage URL, `recipient` an age recipient, `identity` the age identity that opens it.
    """

    quarantine: str
    recipient: str
    identity: str = ""
    files: tuple[ResultFile, ...] = ()
    admin_files: tuple[ResultFile, ...] = ()


# Bytes. A Kubernetes Secret holds 1 MiB, of which 4 KiB are left for Ocean's `secret`, for the URLs and keys of the
# storage, and for what an operator adds to the environment after a workflow was accepted.
MAX_SIZE = (1 << 20) - 4096
# Bytes, of those above, for the list of held files: the task of release carries it, and a decision repeats it.
MAX_HELD_LIST = 512 << 10


class Task(ConfigureTask, frozen=True, kw_only=True):
    """The whole task. `results` is the storage URL below which publish writes (see functions/results)."""

    workflow: str
    results: str
    publish: PublishOptions = PublishOptions()
    held: HeldTask | None = None
    deliver: DeliveryOptions = DeliveryOptions()
    owner: str = ""  # of a TES task; stands for `{owner}` in the prefixes of `deliver`

    @property
    def recipient(self) -> str | None:
        """The age recipient to which the consumer wants the outputs encrypted."""
        return self.definition.stage.output.publicKey if isinstance(self.definition, Definition) else None


def encode(task: Task) -> bytes:
    """Return the content of the file."""
    return msgspec.json.encode(task)
