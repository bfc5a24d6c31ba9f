"""The benchmark of memory runs, and growth is told from noise."""

import json
from functools import partial

import numpy as np
import pytest

from benchmarks import memory, memory_levels, report
from benchmarks.allocator import held_bytes
from benchmarks.growth import growth, t_quantile
from lth_keras.search.tasks import LevelError
from lth_keras.storage import RunDirectory

SIZES = (130, 20, 30)


@pytest.mark.parametrize(
    ("freedom", "quantile", "within"), [(3, 3.1824, 1e-2), (10, 2.2281, 1e-4), (24, 2.0639, 1e-4), (1000, 1.9623, 1e-4)]
)
def test_quantiles_of_students_t_are_the_tables(freedom, quantile, within):
    assert t_quantile(0.975, freedom) == pytest.approx(quantile, rel=within)


def test_growth_of_a_line_is_its_slope_without_doubt():
    used = [10**9] * 5 + [2_000_000 + 3000 * level for level in range(5, 31)]
    found = growth(used, 5)
    assert found["growth_bytes"] == 25 * 3000
    assert found["slope_bytes"] == pytest.approx(3000)
    assert found["interval_bytes"] == pytest.approx([3000, 3000])


def test_the_interval_holds_the_slope_in_95_of_100_cases():
    generator = np.random.default_rng(0)
    levels, held, cases = np.arange(12), 0, 2000
    for _ in range(cases):
        low, high = growth(50.0 + 7.0 * levels + generator.normal(0, 20, 12), 2)["interval_bytes"]
        held += low <= 7 <= high
    assert held / cases == pytest.approx(0.95, abs=0.015)


@pytest.mark.slow
def test_memory_runs_and_writes_what_it_prints(tmp_path, capsys):
    sizes = {name: {"sizes": SIZES} for name in ("lenet", "failures", "fresh", "naive")}
    arguments = ["--levels", "8", "--short", "5", "--steps", "1", "--ways", *sizes, "--backends", "tensorflow"]
    memory.main([*arguments, "--out", str(tmp_path)], sizes)
    result = json.loads((tmp_path / "memory.json").read_text())
    text = (tmp_path / "memory.md").read_text()
    assert text == memory.markdown(result)
    assert text.strip() in capsys.readouterr().out
    assert [len(way["bytes"]) for way in result["ways"].values()] == [9, 6, 6, 9]
    assert [way["first"] for way in result["ways"].values()] == [5, 2, 2, 5]
    for way in result["ways"].values():
        assert growth(way["bytes"], way["first"]).items() <= way.items()


@pytest.mark.skipif(held_bytes() is None, reason="the C library's allocator does not say what it has handed out")
def test_what_the_allocator_has_handed_out_is_counted_until_it_is_given_back():
    before = held_bytes()
    array = np.empty(50_000_000, np.uint8)  # not written to, so hardly any of it is resident
    assert 50_000_000 <= held_bytes() - before < 51_000_000
    del array
    assert abs(held_bytes() - before) < 1_000_000


@pytest.mark.slow
def test_a_search_with_embeddings_is_sampled_after_every_level():
    samples = memory_levels.embeddings(1, 1, words=50, dimension=4)
    assert len(samples) == 2 and all(one.resident > 1e6 for one in samples)


@pytest.mark.parametrize(("ways", "short"), [(("embeddings",), 11), (("fresh",), 5), (("lenet",), 0)])
def test_levels_must_be_enough_for_the_ways_that_are_measured(ways, short):
    assert memory.Config(ways=ways, short=short).short == short
    with pytest.raises(ValueError, match="Expected (levels|short) to be at least (11|8|5)"):
        memory.Config(ways=ways, short=short - 1, levels=7 if ways == ("lenet",) else 100)


@pytest.mark.slow
def test_searches_that_fail_are_told_from_those_that_do_not(monkeypatch):
    samples = memory_levels.failures(2, 1, SIZES)
    assert len(samples) == 3 and all(one.resident > 1e6 for one in samples)
    monkeypatch.setattr(memory_levels, "LevelError", KeyError)
    with pytest.raises(LevelError, match="not finite"):
        memory_levels.failures(1, 1, SIZES)


@pytest.mark.slow
def test_runs_that_differ_in_a_bit_are_told_apart(tmp_path):
    runs = []
    for steps in (1, 2):
        memory_levels.run_with_one_graph(partial(memory_levels.lenet_search, 1, steps, SIZES), tmp_path / str(steps))
        runs.append(RunDirectory.load(next((tmp_path / str(steps)).iterdir())))
    memory_levels.check_same_bits(runs[0], runs[0])
    with pytest.raises(RuntimeError, match="same bits"):
        memory_levels.check_same_bits(*runs)


def test_the_naive_way_is_sampled_after_every_level():
    used = memory_levels.naive(1, 1, SIZES)
    assert len(used) == 2 and all(one.resident > 1e6 for one in used)


def test_memory_of_the_device_is_a_line_of_its_own():
    way = {"asked": 1e5, "first": 2, "bytes": [10**9 + level for level in range(9)]}
    way |= growth(way["bytes"], 2)
    settings = {"steps": 1, "branches": ["a", "b"], "batch_size": 60, "examples": list(SIZES), "left_out": ["jax"]}
    result = {**report.header("memory"), "settings": settings, "ways": {"search": {**way, "device": way}}}
    text = memory.markdown(result)
    assert "| search | 2 to 8 | +0.0 MB | +0 kB | +0 to +0 kB | 100 kB |" in text
    assert (
        f"| search: {'on the GPU' if result['machine']['accelerators'] else 'arrays that JAX holds'} | 2 to 8 |" in text
    )
    assert "JAX is not installed" in text
