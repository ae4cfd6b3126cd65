"""Commands about proofs: save the crate of a job, and verify one without a server."""

from __future__ import annotations

import json
import zipfile
import zlib
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from functions.cli.command_errors import FAILED, fail, printable
from functions.cli.options import json_option, print_json, read_secret, server_options

if TYPE_CHECKING:
    from functions.cli.api_client import Client
    from functions.trust.verification import Step

_CHUNK = 1 << 20
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_LIMITS = (  # what no verification of a bag can prove
    "that the key belongs to the data holder: get it from another place than the bag",
    "that nothing else left: a proof is about what was recorded",
    "that the algorithm is harmless, or that the checks found everything",
)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_NEW_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("job")
@click.option("--out", type=_NEW_FILE, help="Save the crate here; default: sluice-JOB.zip.")
@click.option("--attestation", type=_NEW_FILE, help="Save the signed statements here.")
@click.option("--proof", type=_NEW_FILE, help="Save the proof of the log here; needs --attestation.")
@click.option(
    "--checkpoint", type=_FILE, help="With --proof: a checkpoint that you have kept; the proof leads from it."
)
@click.option("--consumer", is_flag=True, help="The consumer's edition, also for an operator.")
@click.option(
    "--token-file",
    envvar="SLUICE_TOKEN_FILE",
    type=_FILE,
    help="File with your token, for a task of GA4GH TES; also SLUICE_TOKEN_FILE.",
)
@json_option
@server_options
def crate(
    client: Client,
    job: str,
    out: Path | None,
    attestation: Path | None,
    proof: Path | None,
    checkpoint: Path | None,
    consumer: bool,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Save the crate of a job: what ran on which data, who decided, and what left.

    It is a ZIP of a BagIt bag with an RO-Crate (Five Safes 0.4). Operators and checkers get the data holder's edition,
    the owner of a job the consumer's. JOB may be a task of GA4GH TES. `sluice verify` checks it without a server.

    \b
    Examples:
      sluice crate JOB
      sluice crate JOB --out run.zip --attestation run.intoto.jsonl --proof run.proof.json
      sluice crate TASK --token-file token
    """
    if proof is not None and attestation is None:
        fail("--proof needs --attestation, which names the head of the history")
    since = _size_of(checkpoint) if checkpoint is not None else 0
    if token_file is not None:
        client.carry(read_secret(token_file))
    target = out or Path(f"sluice-{job}.zip")
    saved = {"crate": str(target)}
    edition = "consumer" if consumer else None
    _save(target, client.crate(job, edition))
    if attestation is not None:
        _save(attestation, client.attestation(job))
        saved["attestation"] = str(attestation)
    if proof is not None and attestation is not None:
        found = client.log_proof(_stated_head(attestation.read_text()), since)
        _save(proof, [json.dumps(found).encode()])
        saved["proof"] = str(proof)
    if as_json:
        print_json(saved)
    else:
        click.echo("\n".join(f"{name}: {printable(path)}" for name, path in saved.items()))


@click.command()
@click.argument("bag", type=click.Path(exists=True, path_type=Path))
@click.option("--attestation", type=_FILE, help="The signed statements (sluice crate --attestation).")
@click.option("--key", type=_FILE, help="The data holder's public key (PEM), from another place than the bag.")
@click.option("--proof", type=_FILE, help="The proof of the log (sluice crate --proof).")
@click.option(
    "--checkpoint", type=_FILE, help="A checkpoint of the log that you have kept (sluice crate --checkpoint)."
)
@click.option("--witness", "witnesses", multiple=True, help="NAME+HASH+BASE64 of a witness who must have signed.")
@json_option
def verify(
    bag: Path,
    attestation: Path | None,
    key: Path | None,
    proof: Path | None,
    checkpoint: Path | None,
    witnesses: tuple[str, ...],
    as_json: bool,
) -> None:
    """Verify BAG, a crate as a ZIP or a folder, without a server.

    It says what is proven, what is not checked, and what no proof can show. docs/trust.md shows the same steps with
    sha512sum and openssl alone.

    \b
    Exit codes: 1 if anything is broken or cannot be read, 2 if --key or --witness is not a key.

    \b
    Examples:
      sluice verify run.zip
      sluice verify run.zip --attestation run.intoto.jsonl --key holder.pem
    """
    from functions.trust.verification import Outcome

    steps = _verified(bag, attestation, key, proof, checkpoint, witnesses)
    broken = [step for step in steps if step.outcome is Outcome.BROKEN]
    if as_json:
        print_json({"genuine": not broken, "steps": [{"outcome": s.outcome.value, "text": s.text} for s in steps]})
    else:
        for step in steps:
            click.echo(f"{step.outcome.value:<12} {printable(step.text)}")
        click.echo("\nNo proof shows:\n" + "\n".join(f"  - {limit}" for limit in _LIMITS))
    if broken:
        raise SystemExit(FAILED)


def _verified(
    bag: Path,
    attestation: Path | None,
    key: Path | None,
    proof: Path | None,
    checkpoint: Path | None,
    witnesses: Sequence[str],
) -> list[Step]:
    """Return the steps of a verification. Ends the command if an argument or the bag cannot be read."""
    from functions.trust.checkpoint import CheckpointInvalid, Witness
    from functions.trust.signing import KeyInvalid, read_public
    from functions.trust.verification import Verification

    try:
        cosigners = [Witness.parse(each) for each in witnesses]
    except CheckpointInvalid as e:
        fail(f"--witness: {e}")
    try:
        public = read_public(key.read_bytes()) if key else None
    except KeyInvalid as e:
        fail(f"--key: {e}")
    bundle, held = (_text(path) if path else None for path in (attestation, checkpoint))
    given = _log_proof(proof) if proof else None
    try:
        return list(Verification(_files(bag)).steps(bundle, public, given, held, cosigners))
    except (OSError, ValueError, zipfile.BadZipFile) as e:
        fail(f"{bag} cannot be verified: {e}", FAILED)


def _text(file: Path) -> str:
    """Return the text of a file. Ends the command if the file cannot be read, or is not UTF-8."""
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError):
        fail(f"{file} cannot be read as UTF-8 text", FAILED)


def _log_proof(file: Path) -> dict[str, Any]:
    """Return what `sluice crate --proof` has saved. Ends the command if the file is something else."""
    from functions.untrusted import Malformed, parse_json

    try:
        return parse_json(_text(file), dict[str, Any])
    except Malformed as e:
        fail(f"{file} is not a proof of the log, as `sluice crate --proof` saves it: {e}", FAILED)


def _size_of(checkpoint: Path) -> int:
    """Return the number of leaves that a checkpoint names. Ends the command if it is none."""
    from functions.trust.checkpoint import CheckpointInvalid, parse

    try:
        return parse(checkpoint.read_text(errors="replace")).size
    except CheckpointInvalid as e:
        fail(f"--checkpoint: {e}")


def _stated_head(bundle: str) -> str:
    """Return the head that a statement names. Nothing is verified here."""
    body = json.loads(b64decode(json.loads(bundle.partition("\n")[0])["payload"]))
    return str(body["predicate"]["history"]["head"])


def _save(target: Path, chunks: Iterable[bytes]) -> None:
    """Write a file that appears whole or not at all. Ends the command if it cannot be written."""
    draft = target.with_name(f".{target.name}.part")
    try:
        with open(draft, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
        draft.replace(target)
    except OSError as e:
        fail(f"{target}: cannot be written ({e.strerror or e})", FAILED)
    finally:
        with suppress(OSError):  # it is the target now, or was never made
            draft.unlink()


def _files(bag: Path) -> Mapping[str, Callable[[], Iterable[bytes]]]:
    """Return how to read each file of a bag, by its path below the bag's folder."""
    if bag.is_dir():
        found = [path for path in bag.rglob("*") if path.is_file()]
        return {path.relative_to(bag).as_posix(): _reader(path) for path in found}
    archive = zipfile.ZipFile(bag)
    if any(each.compress_type not in _COMPRESSIONS for each in archive.infolist()):
        raise ValueError("expected files that are stored or deflated")
    names = [name for name in archive.namelist() if not name.endswith("/")]
    folders = {name.partition("/")[0] for name in names}
    if len(folders) != 1 or len(set(names)) != len(names):
        raise ValueError("expected one folder, in which no file comes twice")
    return {name.partition("/")[2]: _member(archive, name) for name in names}


def _reader(path: Path) -> Callable[[], Iterator[bytes]]:
    def read() -> Iterator[bytes]:
        with open(path, "rb") as file:
            yield from _chunks(file)

    return read


def _member(archive: zipfile.ZipFile, name: str) -> Callable[[], Iterator[bytes]]:
    def read() -> Iterator[bytes]:
        try:
            with archive.open(name) as file:
                yield from _chunks(file)
        except (RuntimeError, EOFError, zlib.error) as e:  # encrypted, cut off, damaged
            raise zipfile.BadZipFile(str(e)) from None

    return read


def _chunks(file: Any) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk
