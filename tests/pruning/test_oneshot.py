"""Pruning once: how many weights survive in each layer, and what is refused."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest
from keras import layers

from lth_keras.criteria import DATA_AWARE, State
from lth_keras.mask import Mask
from lth_keras.masking import get_mask, mask_model, set_mask, variables
from lth_keras.models import conv_6
from lth_keras.pruning.densities import SCOPES, erk_counts
from lth_keras.pruning.oneshot import prune
from tests.backend import EAGER
from tests.few import few


def chain() -> keras.Model:
    """8-16-1-16-3: 128, 16, 16 and 48 weights, those in the middle the smallest."""
    names = {"first": 16, "narrow": 1, "wide": 16, "last": 3}
    model = keras.Sequential([keras.Input((8,)), *(layers.Dense(units, name=name) for name, units in names.items())])
    return shrunk(model)


def residual() -> keras.Model:
    """The same with a skip connection around the middle."""
    first = layers.Dense(16, name="first")(x := keras.Input((8,)))
    beside = layers.Dense(16, name="wide")(layers.Dense(1, name="narrow")(first))
    return shrunk(keras.Model(x, layers.Dense(3, name="last")(first + beside)))


def shrunk(model: keras.Model) -> keras.Model:
    generator = np.random.default_rng(0)
    for name, low in (("first", 1.0), ("narrow", 0.1), ("wide", 0.1), ("last", 1.0)):
        kernel = model.get_layer(name).kernel
        kernel.assign(generator.uniform(low, 2 * low, kernel.shape))
    return model


@few("build", [chain, residual], residual)
@pytest.mark.parametrize("density", [1.0, 0.5, 0.05])
def test_exactly_that_share_survives_and_weights_are_the_models_own(build, density) -> None:
    model = build()
    pruned = prune(model, density)
    mask = get_mask(pruned)
    assert mask.kept == round(208 * density)
    assert min(mask.counts().values()) >= 1
    for key, value in variables(model).items():
        np.testing.assert_array_equal(variables(pruned)[key], value)
    by_layer = get_mask(prune(model, density, scope="layer")).counts()
    assert by_layer == {f"{name}/kernel": max(1, round(n * density)) for name, n in sizes(model).items()}


def sizes(model: keras.Model) -> dict[str, int]:
    return {layer.name: int(np.prod(layer.kernel.shape)) for layer in model.layers if isinstance(layer, layers.Dense)}


def test_at_least_so_many_are_left_in_every_layer() -> None:
    for scope in ("global", "layer"):
        counts = get_mask(prune(chain(), 0.1, scope=scope, min_per_layer=4)).counts()
        assert min(counts.values()) == 4


def test_a_network_that_is_cut_through_is_an_error() -> None:
    model = chain()
    message = "no weight left in narrow/kernel, wide/kernel, at density 0.25, and no way around.*min_per_layer at 1"
    with (
        pytest.raises(ValueError, match=message),
        pytest.warns(UserWarning, match="Layer collapse: no weight is left in narrow/kernel, wide/kernel"),
    ):
        prune(model, 0.25, min_per_layer=0)
    with (
        pytest.raises(ValueError, match="no weight left in narrow/kernel, wide/kernel, at density 0.0192"),
        pytest.warns(UserWarning, match="Layer collapse"),
    ):
        prune(model, 0.02, scope="layer", min_per_layer=0)
    assert get_mask(prune(model, 0.25)).kept == 52


def test_a_layer_beside_a_skip_connection_may_collapse() -> None:
    with pytest.warns(UserWarning, match="Layer collapse: no weight is left in narrow/kernel, wide/kernel"):
        pruned = prune(residual(), 0.25, min_per_layer=0)
    mask = get_mask(pruned)
    assert mask.kept == 52 and mask.counts()["narrow/kernel"] == mask.counts()["wide/kernel"] == 0
    with warnings.catch_warnings():  # what is gone already is not news
        warnings.filterwarnings("error", message="Layer collapse")
        for scope in ("global", "layer"):
            assert get_mask(prune(pruned, 0.02, scope=scope)).is_subset(mask)


def test_a_model_that_is_cut_through_already_is_refused() -> None:
    model = mask_model(chain())
    mask = get_mask(model)
    set_mask(model, {**mask, "narrow/kernel": np.zeros((16, 1), bool)})
    with pytest.raises(ValueError, match="no weight left in narrow/kernel, at density"):
        prune(model, 0.5)


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_what_is_refused(scope: str) -> None:
    for density in (0, -0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"Expected a density in \(0, 1\]"):
            prune(chain(), density, scope=scope)
    for density in ("0.1", None, {"*": "0.1"}):
        with pytest.raises(ValueError, match="Expected density to be a number"):
            prune(chain(), density, scope=scope)
    with pytest.raises(ValueError, match="Expected min_per_layer to be at least 0. Received: -1"):
        prune(chain(), 0.5, scope=scope, min_per_layer=-1)
    with pytest.raises(ValueError, match="Expected a density that keeps .* narrow/kernel.* Received: 0.001"):
        prune(chain(), 0.001, scope=scope, min_per_layer=0)
    with pytest.raises(ValueError, match="Expected scope"):
        prune(chain(), 0.5, scope="model")
    with pytest.raises(TypeError, match="Expected a mapping of each weight's key to an array. Received: a list"):
        prune(chain(), 0.5, lambda state: [], scope=scope)
    with pytest.raises(ValueError, match="Expected a pattern, 'units' or 'heads', with multiple_of. Received: 4"):
        prune(chain(), 0.5, scope=scope, multiple_of=4)
    with pytest.raises(TypeError, match="Received: the path 'best.keras'; load it first"):
        prune("best.keras", 0.5, scope=scope)  # type: ignore[arg-type]


DATA_AWARE_NAMES = sorted(criterion.__name__ for criterion in DATA_AWARE)
LOSS = "sparse_categorical_crossentropy"
X = np.random.default_rng(0).normal(size=(90, 8)).astype("float32")
Y = np.arange(90) % 3


def classifier() -> keras.Model:
    """8-16-16-3 with weights that are the same on both backends."""
    names = {"first": 16, "second": 16, "last": 3}
    activations = {"first": "relu", "second": "tanh", "last": "softmax"}
    model = keras.Sequential(
        [keras.Input((8,)), *(layers.Dense(n, activation=activations[name], name=name) for name, n in names.items())]
    )
    generator = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(generator.normal(scale=0.3, size=weight.shape))
    return model


def masks_in_shots(criterion: str, scope: str) -> list[Mask]:
    """The same twice, of half of 432 weights in three shots."""
    model = classifier()
    found = []
    for _ in range(2):
        pruned = prune(model, 0.5, criterion, scope, (X, Y), LOSS, shots=3, shot_schedule="linear")
        for key, value in variables(model).items():
            np.testing.assert_array_equal(variables(pruned)[key], value)
        found.append(get_mask(pruned))
    return found


def test_layer_scope_keeps_exactly_that_share_of_many_small_layers() -> None:
    model = keras.Sequential([keras.Input((6,)), *(layers.Dense(6) for _ in range(23)), layers.Dense(4)])
    mask = get_mask(prune(model, 0.1, scope="layer"))
    assert mask.size == 852 and mask.kept == 85
    assert all(abs(mask.counts()[key] - size * 0.1) < 1 for key, size in mask.sizes.items())


@pytest.mark.parametrize("name", ["initial_magnitude", "magnitude_change", "movement"])
def test_criteria_that_compare_with_the_start_take_initial_weights(name: str) -> None:
    model = classifier()
    before = [weight * 0.5 + 0.1 for weight in model.get_weights()]
    first, start = model.get_layer("first").kernel.numpy(), before[0]
    scores = {
        "initial_magnitude": np.abs(start),
        "magnitude_change": np.abs(first) - np.abs(start),
        "movement": first * (first - start),
    }[name]
    kept = get_mask(prune(model, 0.25, name, "layer", initial=before))["first/kernel"]
    assert kept.sum() == kept.size // 4 and scores[kept].min() >= scores[~kept].max()
    with pytest.raises(ValueError, match=f"initial weights for the criterion '{name}'.*initial=.*get_weights"):
        prune(model, 0.25, name)
    with pytest.raises(ValueError, match="what model.get_weights.. gave before training"):
        prune(model, 0.25, name, initial=before[1:])


@few(
    ("criterion", "scope"),
    [(criterion, scope) for criterion in ("magnitude", "synflow", "random", *DATA_AWARE_NAMES) for scope in SCOPES],
    ("magnitude", "layer"),
    ("random", "uniform"),
    ("synflow", "erk"),
    ("grasp", "global"),
)
def test_exactly_that_share_survives_in_every_scope_and_the_same_each_time(criterion: str, scope: str) -> None:
    mask, again = masks_in_shots(criterion, scope)
    assert mask == again and mask.kept == 216
    if scope == "erk":
        assert mask.counts() == erk_counts(Mask.ones(mask.shapes), 216)
    if scope == "uniform":
        assert mask.counts()["first/kernel"] == 128


def test_each_shot_scores_what_the_one_before_left() -> None:
    seen: list[Mask] = []

    def snip(state: State) -> dict[str, np.ndarray]:
        seen.append(state.mask)
        traces.append(state.derivatives.traces)  # type: ignore[union-attr]
        return {key: abs(state.final[key] * state.gradients[key]) for key in state.mask}

    traces: list[int] = []
    pruned = prune(classifier(), 0.1, snip, data=(X, Y), loss=LOSS, shots=5)
    assert [mask.kept for mask in seen] == [432, 273, 172, 109, 68] and get_mask(pruned).kept == 43
    assert all(smaller.is_subset(mask) for mask, smaller in zip(seen, [*seen[1:], get_mask(pruned)], strict=True))
    assert traces[0] == 0 and (EAGER or len(set(traces[1:])) == 1)
    at_once = prune(classifier(), 0.1, snip, data=(X, Y), loss=LOSS)
    assert get_mask(at_once) != get_mask(pruned)


def test_shots_go_on_from_what_a_masked_model_has_left() -> None:
    smaller = prune(classifier(), 0.3, "synflow", shots=3)
    mask = get_mask(prune(smaller, 0.1, "synflow", shots=10))
    assert mask.kept == 43 and mask.is_subset(get_mask(smaller))
    for scope in ("layer", "erk"):
        assert get_mask(prune(smaller, 0.05, "synflow", scope, shots=10)).is_subset(get_mask(smaller))


def test_samples_are_drawn_by_seed_and_all_of_the_data_without() -> None:
    def mask(data: tuple[np.ndarray, np.ndarray] = (X, Y), seed: int = 0, **changes: int) -> Mask:
        return get_mask(prune(classifier(), 0.2, "snip", "global", data, LOSS, seed, **changes))

    some = mask(samples_per_class=4)
    assert some == mask(samples_per_class=4) != mask(samples_per_class=4, seed=1)
    assert mask() == mask(seed=1) == mask((X[::-1], Y[::-1]), samples_per_class=30)
    assert mask() == mask((np.tile(X, (3, 1)), np.tile(Y, 3)))  # 270 examples, in two parts
    with pytest.raises(ValueError, match="no more samples than there are: 30 of class 0. Received: 31"):
        mask(samples_per_class=31)


def test_a_criterion_of_activations_needs_data_but_no_loss() -> None:
    with pytest.raises(ValueError, match=r"Criterion 'wanda': Expected data=\(x, y\).*activations. Received: no data"):
        prune(classifier(), 0.5, "wanda")
    assert get_mask(prune(classifier(), 0.5, "wanda", data=(X, Y))).density == pytest.approx(0.5, abs=0.01)


@few("name", [name for name in DATA_AWARE_NAMES if name != "wanda"], "snip")
def test_a_criterion_without_data_labels_or_a_loss_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"Criterion '{name}': Expected data=\(x, y\).*Received: no data and loss"):
        prune(classifier(), 0.5, name)
    with pytest.raises(ValueError, match=f"Criterion '{name}'.*Received: no loss"):
        prune(classifier(), 0.5, name, data=(X, Y))
    for data in (X, (X,), (X, None)):
        with pytest.raises(ValueError, match=r"Expected data as a pair \(x, y\): examples and their labels"):
            prune(classifier(), 0.5, name, data=data, loss=LOSS)
    with pytest.raises(ValueError, match="Split 'data': Expected labels in 0 ... 2"):
        prune(classifier(), 0.5, name, data=(X, Y + 1), loss=LOSS)


def test_scores_that_are_not_finite_are_refused_by_criterion_and_layer() -> None:
    def broken(state: State) -> dict[str, np.ndarray]:
        return {key: state.final[key] / (0 if "second" in key else 1) for key in state.mask}

    with np.errstate(divide="ignore"), pytest.raises(ValueError, match="in 'second/kernel' by the criterion 'broken'"):
        prune(classifier(), 0.5, broken)


def test_gradients_that_are_all_zero_are_refused_by_criterion() -> None:
    model = classifier()
    model.get_layer("first").bias.assign(np.full(16, -1e4))  # its units are dead: exactly zero on any processor
    model.get_layer("second").bias.assign(np.zeros(16))
    for name in ("snip", "grasp"):
        with pytest.raises(ValueError, match=f"Criterion '{name}': .*zero for all weights of first/kernel, second/ker"):
            prune(model, 0.5, name, data=(X, np.zeros(90, int)), loss=LOSS)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the same network, and a minute of compilation")
@pytest.mark.filterwarnings("ignore:Layer collapse")
@pytest.mark.slow
def test_synflow_in_a_hundred_shots_keeps_a_network_whole_that_magnitude_and_snip_cut_through() -> None:
    # Figure 1 of Tanaka et al. (2020), arXiv:2006.05467, in miniature: Conv-6 without training.
    keras.utils.set_random_seed(0)
    model, generator = conv_6(), np.random.default_rng(0)
    data = generator.normal(size=(100, 32, 32, 3)).astype("float32"), np.arange(100) % 10
    for name in ("magnitude", "snip", "synflow"):
        with pytest.raises(ValueError, match="cut through"):
            prune(model, 1e-4, name, data=data, loss=LOSS, min_per_layer=0)
    counts = get_mask(prune(model, 1e-4, "synflow", shots=100, min_per_layer=0)).counts()
    assert sum(counts.values()) == 226 and min(counts.values()) > 10
