"""Verifies a crate offline: the bag, the statement, the history, and its place in the log. Callers pass the bytes in.

Each step reports what it has proven. A step whose input was not given reports what therefore remains unchecked.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any
from urllib.parse import unquote

from msgspec import Struct, convert

from functions.trust import attestation, canonical, chain, checkpoint, merkle, statements
from functions.trust.bag import BAG_INFO, BAGIT, MANIFEST, PAYLOAD, TAG_MANIFEST, decoded
from functions.trust.checkpoint import CheckpointInvalid, Witness
from functions.trust.run_record import FILTERED
from functions.trust.signing import key_id
from functions.untrusted import parse_json
from functions.workflow.model import WorkflowId

Read = Callable[[], Iterable[bytes]]
_LINE = re.compile(r"([0-9a-f]{128})  ([^\n]+)\n")
_METADATA = f"{PAYLOAD}ro-crate-metadata.json"
_DELIVERED = f"{PAYLOAD}delivered.jsonl"
_HISTORY = f"{PAYLOAD}history.jsonl"
_RELEASED = (f"{PAYLOAD}outputs/", f"{PAYLOAD}logs/")


class Outcome(StrEnum):
    """How one step ended."""

    PROVEN = "proven"
    OPEN = "not checked"
    BROKEN = "BROKEN"


class Step(Struct, frozen=True):
    """One step of a verification, in plain words."""

    outcome: Outcome
    text: str


class NotGenuine(ValueError):
    """A part of the bag contradicts another, or the proof. The message says which."""


@dataclass
class Verification:
    """Verifies one bag. `files`: how to read each file, by its path below the bag's folder."""

    files: Mapping[str, Read]

    def __post_init__(self) -> None:
        self.digests: dict[str, tuple[str, str]] = {}  # sha256 and sha512 of each file
        self.head = ""  # of the history, as far as it is known
        self.stated = ""  # the head that the signed statement names

    def steps(
        self,
        bundle: str | None,
        key: bytes | None,
        proof: Mapping[str, Any] | None,
        held: str | None,
        witnesses: Sequence[Witness] = (),
    ) -> Iterator[Step]:
        """Yield all steps. `bundle`: the statements; `proof`: of the log; `held`: an earlier checkpoint."""
        yield _step(self.bag)
        yield _step(self.graph)
        yield (
            _step(self.history)
            if _HISTORY in self.files
            else _open("the history: this edition has none; the statement names its last digest")
        )
        if bundle is None or key is None:
            missing = "--attestation" if bundle is None else "--key"
            yield _open(f"who signed this: {missing} is not given, so anybody could have made this bag")
        else:
            yield _step(lambda: self.statement(bundle, key))
        if proof is None or key is None:
            yield _open("the log: this needs both --proof and --key, or the whole history could have been rewritten")
        else:
            yield _step(lambda: self.inclusion(proof, key))
            if held is None:
                yield _open("whether all see one log: --checkpoint is not given; use one that others have kept")
            else:
                yield _step(lambda: self.consistency(proof, key, held))
        notes = [str(proof.get("checkpoint")) if proof else "", held or ""]
        yield from (_step(partial(_witnessed, witness, notes)) for witness in witnesses)

    # --- the bag --------------------------------------------------------------------------------

    def bag(self) -> str:
        """Compare every file with the manifests. Raises NotGenuine."""
        for path, read in self.files.items():
            self.digests[path] = _digests(read)
        if self._text(BAGIT) != "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n":
            raise NotGenuine(f"{BAGIT} is not that of a BagIt 1.0 bag")
        payload = self._listed(MANIFEST)
        tags = self._listed(TAG_MANIFEST)
        if set(tags) != {BAGIT, BAG_INFO, MANIFEST}:
            raise NotGenuine(f"{TAG_MANIFEST} does not name exactly {BAGIT}, {BAG_INFO} and {MANIFEST}")
        for path, sha512 in {**payload, **tags}.items():
            if path not in self.digests:
                raise NotGenuine(f"{path} is missing")
            if self.digests[path][1] != sha512:
                raise NotGenuine(f"{path} does not have the sha512 that its manifest names")
        if unlisted := sorted(self.files.keys() - payload.keys() - tags.keys() - {TAG_MANIFEST}):
            raise NotGenuine(f"{unlisted[0]} is in no manifest")
        return f"the bag is whole: {len(payload)} files have the bytes that its manifest names"

    def _listed(self, manifest: str) -> dict[str, str]:
        text, found = self._text(manifest), {}
        for match in _LINE.finditer(text):
            found[decoded(match[2])] = match[1]
        if "".join(match[0] for match in _LINE.finditer(text)) != text or not found:
            raise NotGenuine(f"{manifest} has a line that is not `<sha512>  <path>`")
        return found

    def graph(self) -> str:
        """Compare the digests in the crate's graph with the files. Raises NotGenuine."""
        try:
            entities = parse_json(self._text(_METADATA))["@graph"]
            files = {f"{PAYLOAD}{unquote(each['@id'])}": each["sha256"] for each in entities if each["@type"] == "File"}
        except (ValueError, KeyError, TypeError):
            raise NotGenuine(f"{_METADATA} is not the graph of a crate") from None
        for path, sha256 in files.items():
            if path not in self.digests:
                raise NotGenuine(f"{path}, which the crate describes, is missing")
            if self.digests[path][0] != sha256:
                raise NotGenuine(f"{path} does not have the sha256 that the crate names")
        return f"the crate's graph describes {len(files)} files, and each has the sha256 that it names"

    # --- the history ----------------------------------------------------------------------------

    def history(self) -> str:
        """Verify the chain of the history. Raises NotGenuine."""
        raw = self._text(_HISTORY).splitlines(keepends=True)
        try:
            lines = [parse_json(line) for line in raw]
            if any(canonical.encode(line).decode() + "\n" != text for line, text in zip(lines, raw, strict=True)):
                raise NotGenuine("a line of the history is not canonical JSON")
            self.head = chain.verify(WorkflowId(str(lines[0]["job"])), lines)
        except (ValueError, IndexError, TypeError, KeyError) as e:
            raise NotGenuine(f"the history is not one unbroken chain: {e}") from None
        told = f"the history is one unbroken chain of {len(lines)} lines; its last digest is {self.head}"
        return "; ".join((told, *filter(None, map(_filtered, lines))))

    # --- the statement ----------------------------------------------------------------------------

    def statement(self, bundle: str, key: bytes) -> str:
        """Verify the statement, and that it is about this bag. Raises NotGenuine."""
        *lines, rest = bundle.split("\n")
        if not lines or rest:
            raise NotGenuine("the attestation holds no statement, or does not end with a line break")
        found = [_statement(line, key) for line in lines]
        release = next((each for each in found if each["predicateType"] == statements.RELEASE), None)
        if release is None:
            raise NotGenuine(f"the attestation holds no statement of the type {statements.RELEASE}")
        known = {each["digest"]["sha256"] for statement in found for each in statement["subject"]}
        released = self._released()
        for path, digest in {**released, **{each: self._sha256(each) for each in (_METADATA, MANIFEST)}}.items():
            if digest not in known:
                raise NotGenuine(f"the statement is not about {path} of this bag")
        predicate = release["predicate"]
        self.stated = str(predicate["history"]["head"])
        if self.head and self.stated != self.head:
            raise NotGenuine("the statement names another history than the one in this bag")
        what = f"job {predicate['job']}, {predicate['verdict']}, files withheld: {predicate['withheld']}"
        return f"the holder of the key states this bag and each of its {len(released)} released files: {what}"

    def _released(self) -> dict[str, str]:
        """Return the sha256 of each released file. Those of a TES task are not in the bag. Raises NotGenuine."""
        found = {path: self._sha256(path) for path in sorted(self.files) if path.startswith(_RELEASED)}
        try:
            lines = self._text(_DELIVERED).splitlines() if _DELIVERED in self.files else ()
            return found | {str(each["path"]): str(each["sha256"]) for each in map(parse_json, lines)}
        except (ValueError, KeyError, TypeError):
            raise NotGenuine(f"{_DELIVERED} is not a list of files") from None

    def _sha256(self, path: str) -> str:
        return self.digests.get(path, ("", ""))[0]

    # --- the log ----------------------------------------------------------------------------------

    def inclusion(self, proof: Mapping[str, Any], key: bytes) -> str:
        """Verify that the history's head is in the log that the checkpoint covers. Raises NotGenuine."""
        head = self.stated or self.head
        if not head:
            raise NotGenuine("the head of the history is unknown: give --attestation, or the holder's edition")
        try:
            signed = checkpoint.open_note(str(proof["checkpoint"]), key)
            path = [bytes.fromhex(each) for each in proof["inclusion"]]
            root = merkle.root_of_inclusion(convert(proof["index"], int), signed.size, bytes.fromhex(head), path)
        except (KeyError, TypeError, ValueError) as e:
            raise NotGenuine(f"the proof of the log cannot be used: {e}") from None
        if root != signed.root:
            raise NotGenuine("the log of the checkpoint does not have this head at the index that the proof names")
        return f"the history is leaf {proof['index']} of the log {signed.origin}, signed at size {signed.size}"

    def consistency(self, proof: Mapping[str, Any], key: bytes, held: str) -> str:
        """Verify that the log of the proof begins with the log of an earlier checkpoint. Raises NotGenuine."""
        try:
            new = checkpoint.open_note(str(proof["checkpoint"]), key)
            old = checkpoint.open_note(held, key)
            path = [bytes.fromhex(each) for each in proof.get("consistency", ())]
        except (KeyError, TypeError, ValueError) as e:
            raise NotGenuine(f"the checkpoints cannot be compared: {e}") from None
        if old.origin != new.origin:
            raise NotGenuine(f"the checkpoints are of two logs: {old.origin} and {new.origin}")
        if old.size > new.size:
            sizes = f"your checkpoint has {_leaves(old.size)} and the proof {new.size}"
            raise NotGenuine(f"{sizes}: save a newer proof; if there is none, the log has lost leaves")
        if 0 < old.size < new.size and not path:
            how = f"save it with `sluice crate … --proof FILE --checkpoint FILE` (/log/proof?…&from={old.size})"
            raise NotGenuine(f"the proof does not lead from your checkpoint of {_leaves(old.size)}: {how}")
        if old.size and not merkle.is_consistent(old.size, old.root, new.size, new.root, path):
            raise NotGenuine("the log does not begin with the log of your checkpoint, so it was changed since")
        return f"the log begins with the {_leaves(old.size)} of your checkpoint: nothing in it was changed since"

    def _text(self, path: str) -> str:
        if path not in self.files:
            raise NotGenuine(f"{path} is missing")
        try:
            return b"".join(self.files[path]()).decode()
        except UnicodeDecodeError:
            raise NotGenuine(f"{path} is not UTF-8 text") from None


def _statement(line: str, key: bytes) -> dict[str, Any]:
    """Return one statement of a bundle. Raises NotGenuine if any byte was changed, even of spacing or the key id."""
    try:
        value = parse_json(line)
        statement = attestation.open_envelope(value, key)
        hints = [each["keyid"] for each in value["signatures"]]
        spelled = json.dumps(value, separators=(",", ":"))
    except attestation.SignedByAnother as e:
        raise NotGenuine(f"the statement is {e}; is --key the right one?") from None
    except (ValueError, KeyError, TypeError) as e:
        raise NotGenuine(f"the statement is not genuine: {e}") from None
    if spelled != line or set(value) != {"payload", "payloadType", "signatures"} or key_id(key) not in hints:
        raise NotGenuine("the envelope of the statement was changed")
    if not attestation.is_exact(value):
        raise NotGenuine("the envelope of the statement was changed")
    return statement


def _witnessed(witness: Witness, notes: Iterable[str]) -> str:
    """Verify that a witness has signed one of the checkpoints. Raises NotGenuine."""
    try:
        found = [(checkpoint.parse(note), witness.saw(note)) for note in notes if note]
    except CheckpointInvalid as e:
        raise NotGenuine(str(e)) from None
    for signed, at in found:
        if at is not None:
            return f"the witness {witness.name} signed the log {signed.origin} of {_leaves(signed.size)} at {at:%F %TZ}"
    raise NotGenuine(f"no checkpoint that was given has a cosignature of the witness {witness.name}")


def _leaves(number: int) -> str:
    return "1 leaf" if number == 1 else f"{number} leaves"


def _filtered(line: Mapping[str, Any]) -> str:
    """What a line of the history says about the operator's filter; empty if nothing."""
    facts = line.get("facts")
    if not isinstance(facts, dict) or "unfiltered" not in facts:
        return ""
    counts = ", ".join(f"{name} {facts.get(name)}" for name in FILTERED)
    return f"it records that the operator's filter {counts}"


def _digests(read: Read) -> tuple[str, str]:
    sha256, sha512 = hashlib.sha256(), hashlib.sha512()
    for chunk in read():
        sha256.update(chunk)
        sha512.update(chunk)
    return sha256.hexdigest(), sha512.hexdigest()


def _step(action: Callable[[], str]) -> Step:
    try:
        return Step(Outcome.PROVEN, action())
    except NotGenuine as e:
        return Step(Outcome.BROKEN, str(e))


def _open(text: str) -> Step:
    return Step(Outcome.OPEN, text)
