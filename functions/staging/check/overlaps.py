"""Finds output rows that share cells with one input row each.

Three cells of an output row are a triple. A triple that stands in exactly one row of an input identifies that row.
Example: a table among the outputs has the row `r7, m, 71.3, 250`, and the input has the row `44, m, r7, 71.3, 180.2`.

1. `add` combines the cells of each output row: `r7 m 71.3`, `r7 m 250`, `r7 71.3 250`, `m 71.3 250`.
2. `compare_row` looks in each input row for such triples. It finds `r7 m 71.3` in the one above. If it finds it in no
   other row, the output row identifies that person. Otherwise it identifies nobody.
3. `end_input` collects the cells that an output row shares with the row that it identifies: `r7`, `m` and `71.3`.
   coincidence.py judges whether chance explains so many rows with such cells. Honest tables have some: among a million
   persons, one of that region and sex weighs exactly the mean.

The outputs are kept in memory and the input passes by once. So each cell is a number, and each pair and triple of cells
is one too: the numbers of its cells in ascending order, each of BITS bits.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from math import comb

from functions.staging.check.coincidence import BITS, Frequencies, Matches, Overlap, pair_of

MOST_COLUMNS = 12  # of an output row that are combined: those with the most distinct values
MOST_TRIPLES = 400_000  # of all outputs; of a large table fewer columns or rows are combined, and a note says so
MOST_MET = 40  # cells of an input row that are combined: those that the fewest output rows hold
LEAST = 3  # cells of a triple; an output row of fewer identifies nobody
_CELL = (1 << BITS) - 1
_SEVERAL = -1  # instead of the number of an input row


class Overlaps:
    """Finds overlaps between the rows of all outputs and one input after another."""

    def __init__(self) -> None:
        self.found: dict[int, Overlap] = {}  # of each table, the one that is the least likely by chance
        # Of the outputs:
        self._rows: list[tuple[int, tuple[int, ...]]] = []  # the table and the combined cells of each row
        self._holders: dict[int, int | list[int]] = {}  # the rows that hold a triple
        self._combined: Counter[int] = Counter()  # in how many rows a cell is combined
        self._triples = 0
        # Of the current input:
        self._cells: Counter[int] = Counter()  # in how many rows a cell stands
        self._pairs: dict[int, int] = {}  # in how many rows the first two cells of a triple stand
        self._met: dict[int, int] = {}  # in which row a triple stands
        self._compared = 0  # the number of the last row

    def add(self, table: int, columns: Mapping[int, set[int]], rows: Sequence[Sequence[int]], empty: int) -> str:
        """Remember the rows of a table. `columns`: the distinct cells of each column, by its number.

        Returns a note if only a part of the rows or columns is combined; else an empty text.
        """
        room = MOST_TRIPLES - self._triples
        widest = sorted(columns, key=lambda n: -len(columns[n]))[:MOST_COLUMNS]
        while len(widest) > LEAST and len(rows) * comb(len(widest), LEAST) > room:
            widest = widest[:-1]
        triples = comb(len(widest), LEAST)  # of each row
        most = min(len(rows), max(0, room // triples)) if triples else len(rows)
        self._triples += triples * most
        for row in rows[:most]:
            self._add_row(table, tuple(sorted({row[n] for n in widest if n < len(row)} - {empty})))
        if most < len(rows) or len(widest) < min(MOST_COLUMNS, len(columns)):
            return f"{most} of {len(rows)} rows and {len(widest)} columns were compared in threes"
        return ""

    def _add_row(self, table: int, cells: tuple[int, ...]) -> None:
        number = len(self._rows)
        self._rows.append((table, cells))
        self._combined.update(cells)
        self._pairs.update((pair_of(a, b), 0) for a, b in combinations(cells, 2))
        for a, b, c in combinations(cells, LEAST):
            triple = pair_of(a, b) << BITS | c
            holder = self._holders.setdefault(triple, number)
            if isinstance(holder, list):
                holder.append(number)
            elif holder != number:
                self._holders[triple] = [holder, number]

    def count_cells(self, cells: Iterable[tuple[int, int]]) -> None:
        """Count in how many rows of the input a known cell stands."""
        for cell, times in cells:
            self._cells[cell] += times

    def compare_row(self, row: Sequence[int | None], times: int) -> None:
        """Look for triples in an input row, which the input holds `times` times. None: no output holds that cell."""
        self._compared += 1
        here = self._compared if times == 1 else _SEVERAL
        known = self._combined.keys() & row
        if len(known) > MOST_MET:
            known = set(sorted(known, key=self._combined.__getitem__)[:MOST_MET])
        cells = sorted(known)
        pairs, holders, met = self._pairs, self._holders, self._met
        # Most pairs stand in no output, so this is faster than `combinations` of three.
        for after_a, a in enumerate(cells, start=1):
            for after_b, b in enumerate(cells[after_a:], start=after_a + 1):
                pair = a << BITS | b
                if pair not in pairs:
                    continue
                pairs[pair] += times
                for c in cells[after_b:]:
                    triple = pair << BITS | c
                    if triple in holders:
                        met[triple] = _SEVERAL if triple in met else here

    def end_input(self, name: str, rows: int) -> None:
        """Judge what each table shares with the input of `rows` rows that has passed, and forget the input."""
        for table, matches in self._matches(rows).items():
            overlap = matches.judge(name)
            if overlap is not None and _is_stronger(overlap, self.found.get(table)):
                self.found[table] = overlap
        self._pairs = dict.fromkeys(self._pairs, 0)
        self._cells.clear()
        self._met.clear()

    def _matches(self, rows: int) -> dict[int, Matches]:
        """The output rows that identify an input row, by their table."""
        if all(row == _SEVERAL for row in self._met.values()):
            return {}
        present = [sum(cell in self._cells for cell in cells) for _, cells in self._rows]
        could_match = Counter(table for (table, _), known in zip(self._rows, present, strict=True) if known >= LEAST)
        matches: dict[int, Matches] = {}
        for number, (chance, shared) in self._least_likely(rows, present).items():
            table, cells = self._rows[number]
            matches.setdefault(table, Matches(could_match[table])).add(shared, chance, cells)
        return matches

    def _least_likely(self, rows: int, present: Sequence[int]) -> dict[int, tuple[float, frozenset[int]]]:
        """Of each output row that identifies input rows, the cells that it shares with one, and how likely that is.

        If it identifies several, it is the one that is the least likely by chance. `present`: how many cells of each
        output row stand in the input at all; any choice of as many of them as are shared would have been a match.
        """
        frequencies = Frequencies(rows, self._cells, self._pairs)
        least: dict[int, tuple[float, frozenset[int]]] = {}
        for (number, _), shared in self._shared().items():
            chance = comb(present[number], len(shared)) * frequencies.expected(sorted(shared))
            if number not in least or chance < least[number][0]:
                least[number] = chance, frozenset(shared)
        return least

    def _shared(self) -> dict[tuple[int, int], set[int]]:
        """The cells that an output row shares with an input row that it identifies. Key: output row, input row."""
        shared: dict[tuple[int, int], set[int]] = defaultdict(set)
        for triple, row in self._met.items():
            if row == _SEVERAL:
                continue
            cells = (triple >> 2 * BITS, triple >> BITS & _CELL, triple & _CELL)
            for number in self._holders_of(triple):
                shared[number, row].update(cells)
        return shared

    def _holders_of(self, triple: int) -> Iterator[int]:
        """The output rows that hold a triple."""
        holders = self._holders[triple]
        yield from holders if isinstance(holders, list) else (holders,)


def _is_stronger(overlap: Overlap, known: Overlap | None) -> bool:
    return known is None or (overlap.certain, -overlap.probability) > (known.certain, -known.probability)
