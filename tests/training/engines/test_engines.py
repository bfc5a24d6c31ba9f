"""What every engine does, on every backend that it is for."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import keras
import numpy as np
import pytest

from lth_keras.backends import backend
from lth_keras.masking import large_tables
from lth_keras.training.engines import (
    Callbacks,
    Trained,
    check_spelling,
    engine_named,
    identity_of,
    recorded_spelling,
    width_of,
)
from lth_keras.training.network import Network
from tests.backend import BACKEND
from tests.training.engines.cases import (
    ON_JAX,
    adam,
    assert_same_bits,
    assert_same_within_rounding,
    chain,
    data,
    jax_only,
    network_of,
    table,
    take,
    ticket,
    trained,
)

SPELLINGS = {
    "compiled": (1, {}),
    "fit": (1, {}),
    "batched:2": (2, {}),
    "batched:3": (3, {}),
    "rows": (1, {}),
    "rows:lazy": (1, {"embeddings": "lazy"}),
    "compact": (1, {"compact": True}),
    "compact:native": (1, {"compact": True, "fused": True}),
    "native": (1, {"fused": True}),
}
"""Engine to its width and its part of a run's identity."""


def build_for(engine: str) -> Callable[[], keras.Model]:
    return table if engine.startswith("rows") else chain


QUICK = "batched:3" if ON_JAX else "compact"
"""The engine that `make test` runs the suite on; `make test-all` runs it on all."""
rows_only = pytest.mark.skipif(not backend().trains_by_rows, reason="it has no program for large embedding tables")


def marks_of(engine: str) -> list[Any]:
    needed = [jax_only] * ("batched" in engine) + [rows_only] * ("rows" in engine)
    return needed + [pytest.mark.slow] * (engine != QUICK)


@pytest.fixture(scope="module", params=[pytest.param(name, marks=marks_of(name)) for name in SPELLINGS])
def made(request: pytest.FixtureRequest) -> Network:
    """One network for all tests of an engine: what one of them trains must change no bit of the others."""
    return network_of(request.param, build_for(request.param))


@pytest.fixture
def network(made: Network) -> Network:
    take(made, 0, 1)
    return made


def has_tables(network: Network) -> bool:
    return bool(large_tables(network.model))


def tickets_of(network: Network) -> list[Any]:
    """Of two trials; where the engine allows it, with a count of updates that goes on, and weights to score on the way.

    Rows of large tables are behind within a training, and their count of updates begins at 0.
    """
    on_the_way: dict[str, Any] = {} if has_tables(network) else {"updates": 7, "score_at": 10}
    tickets = [ticket(network, 0), ticket(network, 1, **on_the_way), ticket(network, 0, "b"), ticket(network, 3)]
    return tickets[: 2 if has_tables(network) else 4]


@cache
def compiled(build: Callable[[], keras.Model]) -> list[Trained]:
    """What the compiled engine makes of the tickets."""
    network = network_of("compiled", build)
    take(network, 0, 1)
    return trained(network, tickets_of(network), confusion=True)


def test_it_trains_as_the_compiled_engine_does(network: Network) -> None:
    tickets = tickets_of(network)
    results = trained(network, tickets, confusion=True)
    assert len(results) == len(tickets) and len({result.curves.train_loss[0] for result in results}) == len(tickets)
    for start, result, expected in zip(tickets, results, compiled(build_for(network.engine.spelling)), strict=True):
        if network.engine.spelling != "rows:lazy":  # another optimiser
            assert_same_within_rounding(result, expected)
        for key, kept in start.mask.items():
            assert not result.weights[key][~kept].any() and (result.weights[key] != start.weights[key])[kept].any()


def test_no_bit_depends_on_what_else_is_trained(network: Network) -> None:
    tickets = tickets_of(network)
    first = trained(network, tickets)
    for alone, expected in zip(trained(network, tickets[1:2]), first[1:2], strict=True):
        assert_same_bits(alone, expected)
    for again, expected in zip(trained(network, tickets[::-1]), first[::-1], strict=True):
        assert_same_bits(again, expected)
    take(network, 1)  # and its data alone
    (alone,) = trained(network, tickets[1:2])
    assert_same_bits(alone, first[1])


def test_nothing_is_compiled_twice(network: Network) -> None:
    def traces() -> list[int]:
        programs = [network.engine.program(network)]
        for other in network.programs.values():
            programs.append(other.engine.program(other) if isinstance(other, Network) else other)
        return [program.traces for program in programs if hasattr(program, "traces")]

    trained(network, tickets_of(network))
    before = traces()
    take(network, 0, 1)
    trained(network, [ticket(network, seed, "n") for seed in (1, 2)], 11)
    assert traces() == before


def test_without_validation_split_the_last_step_is_the_early_stop(network: Network) -> None:
    splits = data(0, words=has_tables(network))
    nothing = tuple(part[:0] for part in splits["validation"])
    network.take({0: network.checked({**splits, "validation": nothing, "without_validation": True})})
    (result,) = trained(network, [ticket(network)], 12)
    assert np.isnan(result.curves.validation_loss).all() and result.curves.early_stop_step == 12
    assert result.test_metric_at_early_stop == result.curves.test_metric[-1]


def test_a_training_that_patience_ends_is_one_of_fewer_steps_and_the_others_go_on(network: Network) -> None:
    tickets = [ticket(network, seed) for seed in range(3)]
    results = trained(network, tickets, 60, patience=1)
    ends = [int(result.curves.step[-1]) for result in results]
    assert len(set(ends)) > 1 and min(ends) < 60, ends
    first = int(np.argmin(ends))
    (shorter,) = trained(network, tickets[first : first + 1], ends[first])
    np.testing.assert_array_equal(shorter.curves.validation_loss, results[first].curves.validation_loss)
    for key, value in shorter.weights.items():
        np.testing.assert_array_equal(value, results[first].weights[key])


def test_weights_are_scored_at_the_start_on_the_way_or_at_the_end(network: Network) -> None:
    at_start, on_the_way, at_end = (ticket(network, score_at=step) for step in (0, 10, None))
    results = trained(network, [at_start, on_the_way, at_end], 15)
    (shorter,) = trained(network, [at_end], 10)
    for key, value in at_start.weights.items():
        started = value * at_start.mask[key] if key in at_start.mask else value
        np.testing.assert_array_equal(results[0].scored[key], started)
        np.testing.assert_array_equal(results[2].scored[key], results[2].weights[key])
        if not has_tables(network):
            np.testing.assert_array_equal(results[1].scored[key], shorter.weights[key])


def test_a_loss_that_is_not_finite_is_its_own_tickets(network: Network) -> None:
    good, bad = ticket(network, 0), ticket(network, 1)
    broken = bad._replace(weights={key: value * np.nan for key, value in bad.weights.items()})
    (expected,) = trained(network, [good], 12)
    failed, result = trained(network, [broken, good], 12)
    assert failed.failure is not None and failed.failure.step == 1 and result.failure is None
    assert_same_bits(result, expected)
    (failed,) = trained(network, [broken], 12)
    assert failed.failure is not None


def test_a_training_that_is_interrupted_leaves_nothing_behind(network: Network) -> None:
    def interrupt(done: int, steps: int) -> None:
        raise KeyboardInterrupt

    one, other = ticket(network, 0), ticket(network, 1)
    (expected,) = trained(network, [one], 12)
    with pytest.raises(KeyboardInterrupt):
        trained(network, [other], 12, after=Callbacks(interrupt))
    (result,) = trained(network, [one], 12)
    assert_same_bits(result, expected)


def test_callbacks_hear_of_steps_and_change_no_bit(network: Network) -> None:
    heard: list[Any] = []
    callbacks = Callbacks(lambda *done: heard.append(done), {n: lambda n=n: heard.append(n) for n in (0, 3, 12)})
    (expected,), (result,) = (
        trained(network, [ticket(network)], 12, after=after) for after in (Callbacks(), callbacks)
    )
    assert_same_bits(result, expected)
    assert [step for step in heard if isinstance(step, int)] == [0, 3, 12] and heard[-2:] == [(12, 12), 12]


def test_a_network_trains_by_its_engine(network: Network) -> None:
    start = ticket(network)
    (expected,) = trained(network, [start], 12)
    network.rewind(start.weights, start.mask)
    curves = network.train(12, seed=start.seed, names=start.names)
    assert network.test_metric_at_early_stop(curves) == expected.test_metric_at_early_stop
    assert_same_bits(expected._replace(curves=curves, weights=network.weights), expected)


def test_a_count_of_updates_that_goes_on_is_refused_by_rows(network: Network) -> None:
    if not has_tables(network):
        pytest.skip("others take it")
    with pytest.raises(ValueError, match=r"starts at 0 .* by rows\. Received: 7 updates before the level"):
        trained(network, [ticket(network, updates=7)])


# What engines refuse


def convolutional() -> keras.Model:
    layers = [keras.layers.Conv1D(4, 3), keras.layers.Flatten(), keras.layers.Dense(3, "softmax")]
    return keras.Sequential([keras.Input((6, 8)), *layers])


REFUSALS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "rows without tables": (
        "rows",
        "embedding tables of at least 4 million weights .*Received: none, engine='rows'",
        {},
    ),
    "rows of an optimiser": (
        "rows:lazy",
        "trained densely.*RMSprop.*no closed form",
        {"build": table, "optimizer": lambda: keras.optimizers.RMSprop(0.01)},
    ),
    "no chain": ("compact", "Expected a chain of Dense layers", {"build": convolutional}),
    "no chain for native": (
        "native",
        "Expected a chain of Dense layers",
        {"build": convolutional, "jit_compile": None},
    ),
    "weight decay": (
        "compact",
        "without weight decay.*AdamW.*another engine than compact",
        {"optimizer": lambda: keras.optimizers.AdamW(0.01)},
    ),
    "an inner engine's": (
        "compact:native",
        "Adam or SGD",
        {"optimizer": lambda: keras.optimizers.RMSprop(0.01, name="named"), "jit_compile": None},
    ),
    "a metric of another name": (
        "native",
        "metric=None with engine='native'",
        {"metric": "sparse_categorical_accuracy", "jit_compile": None},
    ),
}
if ON_JAX:
    REFUSALS["tables in a batch"] = (
        "batched:2",
        "without large embedding tables.*engine='batched:2'",
        {"build": table},
    )
else:
    REFUSALS["a batch"] = ("batched:2", rf"Expected Keras on JAX.*Received: {BACKEND}, engine='batched:2'", {})
if backend().compiles:
    REFUSALS["XLA beside the native kernel"] = (
        "native",
        "jit_compile=None with engine='native'",
        {"jit_compile": True},
    )
if not backend().trains_by_rows:
    REFUSALS["rows where they are not written"] = (
        "rows",
        "trained densely.*not written for Keras on torch",
        {"build": table},
    )


@pytest.mark.parametrize("what", REFUSALS)
def test_what_it_cannot_train_is_refused_before_anything_is_trained(what: str) -> None:
    engine, sentence, changes = REFUSALS[what]
    plain = network_of("compiled", **changes)
    said = engine_named(engine).refusal(plain, None)
    assert said is not None and re.search(sentence, said)
    with pytest.raises(ValueError) as refused:
        network_of(engine, **changes)
    assert str(refused.value) == said


@pytest.mark.skipif(backend().compiles, reason="it can be compiled")
def test_xla_is_refused_where_there_is_none() -> None:
    with pytest.raises(ValueError, match=r"Expected jit_compile=None or False with Keras on torch.*Received: True"):
        network_of("compiled", jit_compile=True)


@pytest.mark.skipif(backend().trains_by_rows, reason="large tables are trained by rows")
def test_large_tables_are_trained_densely_with_a_warning_where_rows_are_not_written() -> None:
    with pytest.warns(UserWarning, match="trained densely.*not written for Keras on torch"):
        assert network_of("auto", build=table).engine.spelling == "compiled"


def test_an_optimiser_that_all_networks_would_share_is_refused() -> None:
    one = adam()
    with pytest.raises(ValueError, match=r"Expected optimizer\(\) to return a new optimiser.*Received: the same Adam"):
        network_of("compact", optimizer=lambda: one)


# Names


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_an_engine_is_known_by_its_spelling(spelling: str) -> None:
    engine = engine_named(spelling)
    width, identity = SPELLINGS[spelling]
    assert (engine.spelling, check_spelling(spelling)) == (spelling, spelling)
    assert engine.width == width_of(spelling) == width and engine.identity == identity_of(spelling) == identity


def test_auto_is_decided_by_the_model() -> None:
    assert (check_spelling("auto"), width_of("auto"), identity_of("auto")) == ("auto", 1, {})


@pytest.mark.parametrize(
    "spelling",
    ["fast", "", "batched", "batched:1", "batched:-2", "batched:x", "compiled:2", "rows:x", "native:2"]
    + ["compact:batched:2", "compact:compact", "compact:x", None, 1, True],
)
def test_other_spellings_are_refused(spelling: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(f"compact:native or native. Received: {spelling!r}")):
        check_spelling(spelling)


@pytest.mark.parametrize(
    ("made_with", "tickets", "spelling"),
    [
        (None, 1, None),
        (None, 6, None),
        ({}, 1, "auto"),
        ({}, 6, "batched:6"),
        ({"engine": "compact:native"}, 1, "compact:native"),
        ({"engine": "compiled"}, 6, "compiled"),
    ],
)
def test_older_directories_say_how_many_tickets_were_trained_at_once(
    made_with: Any, tickets: int, spelling: str | None
) -> None:
    assert recorded_spelling(made_with, tickets) == spelling
