"""The hash tree of the log: roots and proofs agree with RFC 6962, and nothing forged passes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from functions.trust import merkle

KNOWN = {  # the test vectors of Certificate Transparency: roots of 1 to 8 leaves
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}
LEAVES = [bytes.fromhex(each) for each in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"
)]  # fmt: skip


class Log:
    """A log in memory that counts reads."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.known: dict[merkle.Node, bytes] = {}
        self.size = 0
        self.reads: list[int] = []  # how many nodes each read was about
        self.append(leaves)

    def append(self, leaves: list[bytes]) -> None:
        nodes, root = merkle.append(self.size, leaves, self.nodes)
        self.known.update(nodes)
        self.size += len(leaves)
        assert root == self.root()

    def nodes(self, wanted: Sequence[merkle.Node]) -> dict[merkle.Node, bytes]:
        self.reads.append(len(wanted))
        return {node: self.known[node] for node in wanted}

    def root(self, size: int | None = None) -> bytes:
        return merkle.root(self.size if size is None else size, self.nodes)


def naive_root(leaves: list[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    middle = 1
    while middle * 2 < len(leaves):
        middle *= 2
    return hashlib.sha256(b"\x01" + naive_root(leaves[:middle]) + naive_root(leaves[middle:])).digest()


def test_the_roots_are_those_of_certificate_transparency() -> None:
    for size, expected in KNOWN.items():
        assert Log(LEAVES[:size]).root().hex() == expected
    assert Log([]).root().hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


leaves = st.lists(st.binary(max_size=4), min_size=1, max_size=70)


@given(leaves, st.data())
def test_appending_in_any_portions_gives_the_root_of_the_definition(
    all_leaves: list[bytes], data: st.DataObject
) -> None:
    log, rest = Log([]), list(all_leaves)
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        log.append(rest[:size])
        rest = rest[size:]
    assert log.root() == naive_root(all_leaves)


@given(leaves, st.data())
def test_a_leaf_is_proven_and_no_other_is(all_leaves: list[bytes], data: st.DataObject) -> None:
    log = Log(all_leaves)
    index = data.draw(st.integers(0, log.size - 1))
    path = merkle.inclusion_proof(index, log.size, log.nodes)
    assert merkle.root_of_inclusion(index, log.size, all_leaves[index], path) == log.root()
    assert merkle.root_of_inclusion(index, log.size, all_leaves[index] + b"x", path) != log.root()
    assert merkle.root_of_inclusion(index, log.size, all_leaves[index], [*path, b"\0" * 32]) != log.root()
    if path:
        assert merkle.root_of_inclusion(index, log.size, all_leaves[index], path[1:]) != log.root()
        damaged = [bytes([path[0][0] ^ 1]) + path[0][1:], *path[1:]]
        assert merkle.root_of_inclusion(index, log.size, all_leaves[index], damaged) != log.root()


@given(leaves, st.data())
def test_a_longer_log_is_proven_to_begin_with_the_shorter_and_a_rewritten_one_is_not(
    all_leaves: list[bytes], data: st.DataObject
) -> None:
    log = Log(all_leaves)
    old = data.draw(st.integers(1, log.size))
    proof = merkle.consistency_proof(old, log.size, log.nodes)
    assert merkle.is_consistent(old, log.root(old), log.size, log.root(), proof)
    rewritten = Log([all_leaves[0] + b"x", *all_leaves[1:]])
    forged = merkle.consistency_proof(old, log.size, rewritten.nodes)
    assert not merkle.is_consistent(old, log.root(old), log.size, rewritten.root(), forged)
    assert not merkle.is_consistent(old, log.root(old), log.size, log.root(), [*proof, b"\0" * 32])


def test_appending_and_proving_read_a_logarithmic_number_of_nodes_at_once() -> None:
    log = Log([str(n).encode() for n in range(10_000)])
    log.reads.clear()
    log.append([b"one more"])
    assert log.reads[0] <= 14
    log.reads.clear()
    assert len(merkle.inclusion_proof(1234, log.size, log.nodes)) <= 14
    merkle.consistency_proof(1234, log.size, log.nodes)
    assert len(log.reads) == 2
    assert max(log.reads) <= 2 * 14
