"""Criteria: pure functions of the state; higher scores are kept."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from lth_keras.criteria import CRITERIA, Criterion, State, criterion
from lth_keras.masks import Mask
from lth_keras.pruning import keep_highest

SHAPES = {"b/kernel": (6, 5), "a/kernel": (3, 3, 2)}


def weights(seed: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {key: generator.normal(size=shape).astype("float32") for key, shape in SHAPES.items()}


def state(*, final: int = 1, initial: int | None = 2, draws: int = 3) -> State:
    return State(
        final=weights(final) | {"b/bias": np.zeros(5, "float32")},
        mask=Mask.ones(SHAPES),
        generator=np.random.default_rng(draws),
        initial=None if initial is None else weights(initial),
    )


def next_mask(name: str, seen: State) -> Mask:
    scores = criterion(name)(seen)
    return keep_highest(scores, seen.mask, 20, generator=np.random.default_rng(0))


@pytest.mark.parametrize("name", CRITERIA)
def test_scores_are_one_real_array_per_prunable_weight(name: str) -> None:
    scores = criterion(name)(state())
    assert list(scores) == list(SHAPES)
    for key, shape in SHAPES.items():
        assert scores[key].shape == shape
        assert scores[key].dtype == np.float32
        assert np.isfinite(scores[key]).all()


@pytest.mark.parametrize("name", CRITERIA)
def test_criteria_are_pure(name: str) -> None:
    seen = state()
    assert seen.initial is not None
    before = {key: value.copy() for key, value in seen.final.items()}
    first = criterion(name)(seen)
    for array in first.values():
        array[...] = -1  # what a caller does to its scores must not reach the weights
    assert all(np.array_equal(seen.final[key], value) for key, value in before.items())
    assert all(np.array_equal(seen.initial[key], value) for key, value in weights(2).items())


@pytest.mark.parametrize(
    ("name", "with_final", "with_initial", "with_draws"),
    [
        ("magnitude", True, False, False),
        ("initial_magnitude", False, True, False),
        ("random", False, False, True),
    ],
)
def test_the_mask_changes_with_what_the_criterion_scores_and_with_nothing_else(
    name: str, with_final: bool, with_initial: bool, with_draws: bool
) -> None:
    mask = next_mask(name, state())
    assert (next_mask(name, state(final=11)) != mask) == with_final
    assert (next_mask(name, state(initial=12)) != mask) == with_initial
    assert (next_mask(name, state(draws=13)) != mask) == with_draws


@pytest.mark.parametrize(("name", "seed"), [("magnitude", 1), ("initial_magnitude", 2)])
def test_magnitudes_are_absolute_values(name: str, seed: int) -> None:
    scores = criterion(name)(state())
    for key, value in weights(seed).items():
        assert np.array_equal(scores[key], np.abs(value))


def test_random_scores_are_uniform_and_independent_between_weights() -> None:
    mask = Mask.ones({"a": (100, 100), "b": (100, 100)})
    final = {key: np.zeros((100, 100)) for key in mask}
    scores = criterion("random")(State(final, mask, np.random.default_rng(0)))
    for array in scores.values():
        deciles = np.histogram(array, bins=10, range=(0, 1))[0]
        assert deciles.sum() == 10_000
        assert np.abs(deciles - 1000).max() < 5 * np.sqrt(1000)
    assert abs(np.corrcoef(scores["a"].ravel(), scores["b"].ravel())[0, 1]) < 0.05


def test_initial_magnitude_needs_initial_weights() -> None:
    with pytest.raises(ValueError, match="Expected the initial weights"):
        criterion("initial_magnitude")(state(initial=None))


def test_a_function_is_a_criterion() -> None:
    def own(state: State) -> dict[str, np.ndarray]:
        return dict(state.final)

    as_criterion: Criterion = own
    assert criterion(as_criterion) is own


def test_an_unknown_criterion_is_refused_with_those_known() -> None:
    with pytest.raises(ValueError, match=r"'magnitude', 'initial_magnitude'.*Received: 'snap'"):
        criterion("snap")
    with pytest.raises(TypeError, match="or a function"):
        criterion(3)  # type: ignore[arg-type]


def test_a_state_needs_every_prunable_weight_in_its_shape() -> None:
    seen = state()
    short = {"b/kernel": seen.final["b/kernel"]}
    with pytest.raises(ValueError, match="missing: a/kernel"):
        dataclasses.replace(seen, final=short)
    with pytest.raises(ValueError, match="missing: a/kernel"):
        dataclasses.replace(seen, initial=short)
    with pytest.raises(ValueError, match="shapes: a/kernel"):
        dataclasses.replace(seen, final={**seen.final, "a/kernel": np.zeros((3, 3))})
    with pytest.raises(dataclasses.FrozenInstanceError):
        seen.initial = None  # type: ignore[misc]
