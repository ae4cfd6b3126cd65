"""Judges whether chance explains that output rows share cells with one input row each. Pure.

Example: an input of 20,000 persons has 500 in the region `r7`, 10,000 men, and 60 who weigh 71.3 kg. If these columns
were independent, 20,000 x 500/20,000 x 10,000/20,000 x 60/20,000 = 0.75 persons would be all three. So it means nothing
that one person is, and an honest row with a mean of 71.3 recognises nobody. If only 6 persons weighed 71.32 kg, 0.075
would be expected, and a table with many such rows is hardly a coincidence.

1. `Frequencies.expected` estimates how many input rows hold some cells by chance. Columns are taken as independent,
   apart from pairs of cells that often stand together, such as a region and its county (a tree of Chow and Liu).
2. `smallest_probability` bounds the probability that so many rows of a table match by chance (Chernoff).
3. `Matches.judge` compares this probability with limits. If all cells of an output row stand in one input row, that is
   stronger evidence than a part of them, so a higher probability is still no coincidence.

Cells are numbers here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from math import exp, log

from msgspec import Struct, field

DOUBTFUL = 0.2  # a person should look at a table whose probability is below this
CERTAIN = 0.001  # below this, even if each match were RELATED times as likely, it is no coincidence
RELATED = 5.0  # how much more likely further relations between columns may make a match
WHOLE_CELLS = 4  # cells of the shortest output row that counts as whole if all its cells stand in one input row
WHOLE_CERTAIN = 0.01  # below this, whole rows are no coincidence
BITS = 21  # of a cell's number within that of a pair
Cells = frozenset[int]


def pair_of(one: int, other: int) -> int:
    """Return the number of a pair of cells; `one` is less than `other`."""
    return one << BITS | other


class Overlap(Struct, frozen=True):
    """`rows` rows of a table share cells with one row each of the input `name`.

    `probability`: that so many match by chance, at most; `certain`: it is no coincidence.
    """

    name: str
    rows: int
    probability: float
    certain: bool


class Frequencies(Struct, frozen=True):
    """The number of rows of an input, and the number of those that hold a cell, or both cells of a pair.

    The keys of `pairs` are those of `pair_of`.
    """

    rows: int
    cells: Mapping[int, int]
    pairs: Mapping[int, int]

    def expected(self, cells: Sequence[int]) -> float:
        """Return how many input rows hold all of these cells by chance. `cells` are sorted."""
        expected = float(self.rows)
        for cell in cells:
            expected *= self.cells[cell] / self.rows
        for factor in self._related(cells):
            expected *= factor
        return expected

    def _related(self, cells: Sequence[int]) -> Iterator[float]:
        """Yield for each pair of the heaviest tree how many times more often its cells stand together than by chance.

        The input row in question itself is left out: a cell that only it has is related to nothing.
        """
        pairs = []
        for one, other in combinations(cells, 2):
            together = self.pairs.get(pair_of(one, other), 0) - 1
            factor = together * self.rows / (self.cells[one] * self.cells[other])
            if factor > 1:
                pairs.append((factor, one, other))
        tree_of = {cell: cell for cell in cells}
        for factor, one, other in sorted(pairs, reverse=True):
            if tree_of[one] != tree_of[other]:
                yield factor
                old, new = tree_of[one], tree_of[other]
                tree_of = {cell: new if tree == old else tree for cell, tree in tree_of.items()}


class Matches(Struct):
    """The rows of one table that share cells with one row each of an input.

    `chances`: for each set of shared cells, how many input rows hold it by chance. Several rows that share the same
    cells are one coincidence. `whole`: those sets that are all cells of a row. `rows`: how many rows could match.
    """

    rows: int
    chances: dict[Cells, float] = field(default_factory=dict)
    whole: set[Cells] = field(default_factory=set)

    def add(self, shared: Cells, chance: float, cells: Sequence[int]) -> None:
        """Add a row with these cells."""
        self.chances[shared] = chance
        if len(shared) == len(cells) >= WHOLE_CELLS:
            self.whole.add(shared)

    def judge(self, name: str) -> Overlap | None:
        """Return what the table shares with the input `name`; None if chance explains it."""
        probability, count = smallest_probability(self.chances.values(), self.rows)
        if probability >= DOUBTFUL:
            return None
        return Overlap(name, count, probability, self._are_certain())

    def _are_certain(self) -> bool:
        """Whether the matches are no coincidence."""
        if smallest_probability([RELATED * chance for chance in self.chances.values()], self.rows)[0] < CERTAIN:
            return True
        return smallest_probability([self.chances[cells] for cells in self.whole], self.rows)[0] < WHOLE_CERTAIN


def smallest_probability(chances: Iterable[float], rows: int) -> tuple[float, int]:
    """The smallest probability that so many of `rows` rows match by chance, and the number of rows that has it.

    `chances`: for each of the rows that match, how many input rows would match it by chance.
    """
    probability, count = 1.0, 0
    for number, chance in enumerate(sorted(chances), start=1):
        bound = tail(number, max(rows, number), chance)
        if bound < probability:
            probability, count = bound, number
    return probability, count


def tail(number: int, rows: int, chance: float) -> float:
    """An upper bound of the probability that at least `number` of `rows` have something of that chance (Chernoff)."""
    share = number / rows
    if chance >= share:
        return 1.0
    divergence = share * log(share / chance)
    if share < 1:
        divergence += (1 - share) * log((1 - share) / (1 - chance))
    return exp(-rows * divergence)
