"""The hash tree of a transparency log (RFC 6962, section 2.1): roots, inclusion proofs, consistency proofs.

The tree is kept as its complete subtrees: node (level, index) covers the leaves from index·2^level on, 2^level of them.
Appending writes only the new nodes. Appending and proving each read a logarithmic number of nodes. Callers pass the
function that reads them, and each computation calls it at most once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

Node = tuple[int, int]  # level, index
ReadNodes = Callable[[Sequence[Node]], Mapping[Node, bytes]]  # returns the hashes of complete subtrees
EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of one leaf."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def append(size: int, leaves: Sequence[bytes], read: ReadNodes) -> tuple[dict[Node, bytes], bytes]:
    """Append `leaves` (data, not hashes) to a log of `size` leaves. Returns the nodes that they complete, and the root.

    The only nodes of the old log that this needs are those of which the old root is computed.
    """
    known = dict(read(_subtrees(0, size))) if size else {}
    new: dict[Node, bytes] = {}
    for number, data in enumerate(leaves, start=size):
        level, index, current = 0, number, leaf_hash(data)
        new[level, index] = known[level, index] = current
        while index % 2:
            current = node_hash(known[level, index - 1], current)
            level, index = level + 1, index // 2
            new[level, index] = known[level, index] = current
    return new, root(size + len(leaves), lambda _: known)


def root(size: int, read: ReadNodes) -> bytes:
    """Return the root over the first `size` leaves."""
    return _range_hashes([(0, size)], read)[0] if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, read: ReadNodes) -> list[bytes]:
    """Return the audit path of leaf `index` in the tree of `size` leaves, from the leaf up."""
    if not 0 <= index < size:
        raise IndexError(f"leaf {index} is not in a log of {size}")
    path: list[tuple[int, int]] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    return _range_hashes(path[::-1], read)


def consistency_proof(old: int, new: int, read: ReadNodes) -> list[bytes]:
    """Return the proof that the first `old` leaves of the tree of `new` leaves are the whole old tree."""
    if not 0 < old <= new:
        raise IndexError(f"a log of {old} is not a beginning of a log of {new}")
    proof: list[tuple[int, int]] = []
    start, end, whole = 0, new, True
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            proof.append((middle, end))
            end = middle
        else:
            proof.append((start, middle))
            start, whole = middle, False
    if not whole:
        proof.append((start, end))
    return _range_hashes(proof[::-1], read)


def root_of_inclusion(index: int, size: int, data: bytes, path: Sequence[bytes]) -> bytes | None:
    """Return the root that the path leads to; None if the path does not fit the index and size (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return None
    first, last, current = index, size - 1, leaf_hash(data)
    for sibling in path:
        if last == 0:
            return None
        if first % 2 or first == last:
            current = node_hash(sibling, current)
            while first % 2 == 0 and first:
                first, last = first // 2, last // 2
        else:
            current = node_hash(current, sibling)
        first, last = first // 2, last // 2
    return current if last == 0 else None


def is_consistent(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the proof shows that the new tree begins with the old one (RFC 9162, section 2.1.4.2)."""
    if not 0 < old <= new:
        return False
    if old == new:
        return not proof and old_root == new_root
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not path:
        return False
    first, last = old - 1, new - 1
    while first % 2:
        first, last = first // 2, last // 2
    one = two = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if first % 2 or first == last:
            one, two = node_hash(sibling, one), node_hash(sibling, two)
            while first % 2 == 0 and first:
                first, last = first // 2, last // 2
        else:
            two = node_hash(two, sibling)
        first, last = first // 2, last // 2
    return last == 0 and one == old_root and two == new_root


def _split(size: int) -> int:
    """Return the largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def _subtrees(start: int, end: int) -> list[Node]:
    """Return the complete subtrees over the leaves from `start` to `end`, the largest first.

    The leaves must be those of one subtree of the log's tree.
    """
    found: list[Node] = []
    while start < end:
        level = (end - start).bit_length() - 1
        found.append((level, start >> level))
        start += 1 << level
    return found


def _range_hashes(ranges: Sequence[tuple[int, int]], read: ReadNodes) -> list[bytes]:
    """Return the hash over the leaves of each range. A range is one subtree of the log's tree."""
    parts = [_subtrees(start, end) for start, end in ranges]
    if not parts:
        return []
    hashes = read([node for part in parts for node in part])
    return [_joined([hashes[node] for node in part]) for part in parts]


def _joined(hashes: Sequence[bytes]) -> bytes:
    """Return the hash over neighbouring subtrees, of which each is larger than the next."""
    *larger, joined = hashes
    for left in reversed(larger):
        joined = node_hash(left, joined)
    return joined
