"""Finds output rows that share cells with one input row each, and judges whether chance explains it.

Three cells of an output row are a triple. A triple that stands in exactly one row of an input identifies that row.
Honest tables have such triples too: among a million rows, some row of that region and sex has exactly the mean as its
weight. So each output row is judged by how many input rows would hold the cells that it shares if the columns were
independent, apart from pairs of cells that often stand together (a tree of Chow and Liu). A table is judged by the
probability that so many of its rows share such cells by chance (Chernoff's bound). If all cells of an output row stand
in one input row, that is stronger evidence than a part of them, so a higher probability is still no coincidence.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from math import comb, exp, log

from msgspec import Struct

MOST_COLUMNS = 12  # of an output row that are combined: those with the most distinct values
MOST_TRIPLES = 400_000  # of all outputs; of a large table fewer columns or rows are combined, and a note says so
MOST_MET = 40  # cells of an input row that are combined: those that the fewest output rows hold
DOUBTFUL = 0.2  # a person should look at a table whose probability is below this
CERTAIN = 0.001  # below this, even if each match were RELATED times as likely, it is no coincidence
WHOLE_CELLS = 4  # cells of the shortest output row that counts as whole if all its cells stand in one input row
WHOLE_CERTAIN = 0.01  # below this, whole rows are no coincidence
RELATED = 5.0  # how much more likely further relations between columns may make a match
_BITS = 21  # of a cell's number within the number of a pair or a triple
_MANY = -1  # instead of the number of an input row: there are several


class Overlap(Struct, frozen=True):
    """`rows` rows of a table share cells with one row each of the input `name`.

    `probability`: that so many match by chance, at most; `certain`: it is no coincidence.
    """

    name: str
    rows: int
    probability: float
    certain: bool


class _Matches(Struct, frozen=True):
    """The rows of one table that share cells with one input row each.

    `expected`: for each set of shared cells, the number of input rows that hold it by chance. `whole`: those of the
    sets that are all cells of a row of the table. `rows`: the number of rows of the table that could match.
    """

    expected: Mapping[frozenset[int], float]
    whole: Collection[frozenset[int]]
    rows: int

    @property
    def chances(self) -> Collection[float]:
        return self.expected.values()

    def are_certain(self) -> bool:
        """Whether the matches are no coincidence."""
        if smallest_probability([RELATED * each for each in self.chances], self.rows)[0] < CERTAIN:
            return True
        return smallest_probability([self.expected[each] for each in self.whole], self.rows)[0] < WHOLE_CERTAIN


class Overlaps:
    """Finds overlaps between the rows of all outputs and one input after another. Cells are numbers."""

    def __init__(self) -> None:
        self.found: dict[int, Overlap] = {}  # of each table, the one with the smallest probability
        self._rows: list[tuple[int, tuple[int, ...]]] = []  # the table and the combined cells of each output row
        self._holders: dict[int, int | list[int]] = {}  # the output rows that hold a triple
        self._triples = 0
        self._combined: Counter[int] = Counter()  # in how many output rows a cell is combined
        self._pairs: dict[int, int] = {}  # in how many rows of the current input the first two cells of a triple stand
        self._cells: Counter[int] = Counter()  # in how many of them a cell stands
        self._met: dict[int, int] = {}  # in which of them a triple stands
        self._seen = 0

    def add(self, table: int, columns: Mapping[int, set[int]], rows: Sequence[Sequence[int]], empty: int) -> str:
        """Remember the rows of a table. `columns`: the distinct cells of each column, by its number.

        Returns a note if only a part of the rows or columns is combined; else an empty text.
        """
        widest = sorted(columns, key=lambda n: -len(columns[n]))[:MOST_COLUMNS]
        room = MOST_TRIPLES - self._triples
        while len(widest) > 3 and len(rows) * comb(len(widest), 3) > room:
            widest = widest[:-1]
        each = comb(len(widest), 3)
        most = max(0, room // each) if each else len(rows)
        self._triples += each * min(most, len(rows))
        for row in rows[:most]:
            self._add_row(table, tuple(sorted({row[n] for n in widest if n < len(row)} - {empty})))
        if len(rows) > most or len(widest) < min(MOST_COLUMNS, len(columns)):
            return f"{min(most, len(rows))} of {len(rows)} rows and {len(widest)} columns were compared in threes"
        return ""

    def _add_row(self, table: int, cells: tuple[int, ...]) -> None:
        number = len(self._rows)
        self._rows.append((table, cells))
        self._combined.update(cells)
        self._pairs.update((a << _BITS | b, 0) for a, b in combinations(cells, 2))
        for a, b, c in combinations(cells, 3):
            known = self._holders.setdefault((a << _BITS | b) << _BITS | c, number)
            if known != number:
                self._hold((a << _BITS | b) << _BITS | c, known, number)

    def _hold(self, triple: int, known: int | list[int], number: int) -> None:
        if isinstance(known, list):
            known.append(number)
        else:
            self._holders[triple] = [known, number]

    def count(self, cells: Iterable[tuple[int, int]]) -> None:
        """Count in how many rows of the input a known cell stands."""
        for cell, times in cells:
            self._cells[cell] += times

    def see(self, row: Sequence[int | None], times: int) -> None:
        """Compare an input row, which the input holds `times` times."""
        self._seen += 1
        here = self._seen if times == 1 else _MANY
        known = self._combined.keys() & row
        if len(known) > MOST_MET:
            known = set(sorted(known, key=self._combined.__getitem__)[:MOST_MET])
        ordered = sorted(known)
        pairs, holders, met = self._pairs, self._holders, self._met
        for at, a in enumerate(ordered, start=1):
            for next_, b in enumerate(ordered[at:], start=at + 1):
                pair = a << _BITS | b
                if pair in pairs:
                    pairs[pair] += times
                    for c in ordered[next_:]:
                        triple = pair << _BITS | c
                        if triple in holders:
                            met[triple] = _MANY if triple in met else here

    def end_input(self, name: str, rows: int) -> None:
        """Judge what each table shares with the input that has passed, and forget the input."""
        judged = self._judge(rows) if any(row != _MANY for row in self._met.values()) else {}
        for table, matches in judged.items():
            probability, count = smallest_probability(matches.chances, matches.rows)
            if probability >= DOUBTFUL:
                continue
            certain = matches.are_certain()
            known = self.found.get(table)
            if known is None or (certain, -probability) > (known.certain, -known.probability):
                self.found[table] = Overlap(name, count, probability, certain)
        self._pairs = dict.fromkeys(self._pairs, 0)
        self._cells.clear()
        self._met.clear()

    def _judge(self, rows: int) -> dict[int, _Matches]:
        """Return the matches of each table with an input of `rows` rows. Key: the table."""
        could: Counter[int] = Counter()
        present = [0] * len(self._rows)
        for number, (table, cells) in enumerate(self._rows):
            present[number] = sum(cell in self._cells for cell in cells)
            could[table] += present[number] >= 3
        expected: dict[int, dict[frozenset[int], float]] = defaultdict(dict)
        best: dict[int, tuple[float, frozenset[int]]] = {}
        for (number, _), shared in self._shared().items():
            chance = comb(present[number], len(shared)) * self._expected(sorted(shared), rows)
            if number not in best or chance < best[number][0]:
                best[number] = chance, frozenset(shared)
        whole: dict[int, set[frozenset[int]]] = defaultdict(set)
        for number, (chance, key) in best.items():  # the same cells in two rows are one coincidence
            table, cells = self._rows[number]
            expected[table][key] = chance
            if len(key) == len(cells) >= WHOLE_CELLS:
                whole[table].add(key)
        return {table: _Matches(each, whole[table], could[table]) for table, each in expected.items()}

    def _shared(self) -> dict[tuple[int, int], set[int]]:
        """The cells that an output row shares with an input row that it identifies. Key: output row, input row."""
        shared: dict[tuple[int, int], set[int]] = defaultdict(set)
        mask = (1 << _BITS) - 1
        for triple, row in self._met.items():
            if row == _MANY:
                continue
            holders = self._holders[triple]
            for number in holders if isinstance(holders, list) else (holders,):
                shared[number, row].update((triple >> 2 * _BITS, triple >> _BITS & mask, triple & mask))
        return shared

    def _expected(self, cells: Sequence[int], rows: int) -> float:
        """How many input rows hold all of these cells by chance."""
        expected = float(rows)
        for cell in cells:
            expected *= self._cells[cell] / rows
        for more in self._related(cells, rows):
            expected *= more
        return expected

    def _related(self, cells: Sequence[int], rows: int) -> Iterator[float]:
        """How much more often pairs stand together than by chance: the pairs of the heaviest tree.

        The input row in question itself is left out: a cell that only it has is related to nothing.
        """
        pairs = []
        for a, b in combinations(cells, 2):
            together = self._pairs.get(a << _BITS | b, 0) - 1
            more = together * rows / (self._cells[a] * self._cells[b])
            if more > 1:
                pairs.append((more, a, b))
        group = {cell: cell for cell in cells}
        for more, a, b in sorted(pairs, reverse=True):
            if group[a] != group[b]:
                yield more
                old, new = group[a], group[b]
                group = {cell: new if each == old else each for cell, each in group.items()}


def smallest_probability(expected: Iterable[float], rows: int) -> tuple[float, int]:
    """The smallest probability that so many of `rows` rows match by chance, and the number of rows that has it.

    `expected`: for each of the rows that share cells, how many input rows would share them by chance.
    """
    probability, count = 1.0, 0
    for number, chance in enumerate(sorted(expected), start=1):
        bound = _tail(number, max(rows, number), chance)
        if bound < probability:
            probability, count = bound, number
    return probability, count


def _tail(number: int, rows: int, chance: float) -> float:
    """An upper bound of the probability that at least `number` of `rows` have something of that chance (Chernoff)."""
    share = number / rows
    if chance >= share:
        return 1.0
    divergence = share * log(share / chance)
    if share < 1:
        divergence += (1 - share) * log((1 - share) / (1 - chance))
    return exp(-rows * divergence)
