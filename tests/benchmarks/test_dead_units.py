"""What lives in a mask, and what a search would take without the rest."""

import numpy as np
import pytest

from benchmarks import dead_units
from lth_keras.mask import Mask


def mask(*kernels: list[list[int]]) -> Mask:
    return Mask({f"layer_{i}/kernel": np.array(kernel, bool) for i, kernel in enumerate(kernels)})


def test_what_is_on_no_way_from_an_input_to_an_output_is_dead():
    everything = mask([[1, 1], [1, 1], [1, 1]], [[1, 1], [1, 1]])
    assert dead_units.living(everything) == [3, 2, 2]
    # Unit 1 is not heard, and input 2 is heard by it alone.
    assert dead_units.living(mask([[1, 0], [1, 1], [0, 1]], [[1, 0], [0, 0]])) == [2, 1, 2]
    # Unit 0 of the second layer hears nothing, so it is dead, and with it unit 0 of the third.
    assert dead_units.living(mask([[0, 1]], [[1, 0], [0, 1]], [[1, 1], [0, 1]])) == [1, 1, 1, 2]


def test_a_search_is_the_sum_of_its_levels_and_its_builds():
    flop = {"winning_ticket": {0: 100, 1: 100, 2: 80, 3: 20}, "random_mask": {0: 100, 1: 100, 2: 100, 3: 60}}
    seconds = {0: np.array([10.0, 10.0]), 3: np.array([2.0, 2.0])}
    result = dead_units.work_out(flop, seconds, {0: 19.0, 3: 5.0}, steps=10)
    assert result["seconds_to_build"] == 3
    ways = result["searches"][20_000]
    assert {way: each["builds"] for way, each in ways.items()} == {
        "never": [0, 0],
        "a few times": [2, 3],
        "at every level": [2, 3],
    }
    ticket, random = 20_000 * (1.0 + 1.0 + 0.8 + 0.2), 20_000 * (1.0 + 1.0 + 1.0 + 0.6)
    assert ways["never"]["one"] == 20_000 * 4 and ways["never"]["three"] == 20_000 * 12
    assert ways["at every level"]["one"] == pytest.approx(ticket + 2 * 3)
    assert ways["at every level"]["three"] == pytest.approx(2 * ticket + random + 3 * 3)
    assert result["measured"][3]["times_level_0"]["median"] == 5
    assert dead_units.few(flop["winning_ticket"]) == [2, 3]


@pytest.mark.slow
def test_sizes_are_read_from_the_committed_run():
    sizes = dead_units.sizes_of(dead_units.LEVELS, 0)
    assert sizes["winning_ticket"][20] == [640, 150, 86, 10]
    assert sizes["random_mask"][20] == [683, 170, 75, 10]
    for levels in sizes.values():
        assert levels[0] == [784, 300, 100, 10] and len(levels) == 26
    tickets = sizes["winning_ticket"]
    assert all(a <= b for n in range(25) for a, b in zip(tickets[n + 1], tickets[n], strict=True))
