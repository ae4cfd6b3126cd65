"""The delays between tries."""

from itertools import pairwise

from hypothesis import given
from hypothesis.strategies import floats, integers

from functions.backoff import Backoff

WAITS = floats(min_value=0.01, max_value=3600)
FACTORS = floats(min_value=1, max_value=10)


def test_delays_grow_by_the_factor_up_to_the_longest() -> None:
    backoff = Backoff(first=5, factor=2, longest=60)
    assert [backoff.delay(failures) for failures in range(1, 7)] == [5, 10, 20, 40, 60, 60]


def test_a_number_too_large_for_a_float_waits_the_longest() -> None:
    assert Backoff(1.0, 2.0, 600.0).delay(100_000) == 600.0
    assert Backoff(0.5, 2, 600).delay(100_000) == 600


@given(WAITS, FACTORS, WAITS, integers(min_value=2, max_value=2000))
def test_delays_never_shrink_and_never_pass_the_longest(
    first: float, factor: float, longest: float, failures: int
) -> None:
    backoff = Backoff(first, factor, longest)
    delays = [backoff.delay(number) for number in (1, 2, failures, failures + 1)]
    assert all(earlier <= later for earlier, later in pairwise(delays))
    assert delays[0] == min(first, longest)
    assert max(delays) <= longest
