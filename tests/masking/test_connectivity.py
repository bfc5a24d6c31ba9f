"""A network that is cut through is found; a layer that something goes around does not cut it."""

import keras
import numpy as np
import pytest
from keras import layers

from lth_keras.layers import MaskedDense
from lth_keras.mask import Mask
from lth_keras.masking import check_connected, get_mask, mask_model, set_mask
from tests.few import few
from tests.masking.models import example, outputs, random_mask, sequential, wrapped

X = (4,)


def dense(name, x, units=4):
    return layers.Dense(units, name=name, bias_initializer="ones")(x)


def chain():
    return keras.Sequential([keras.Input(X), layers.Dense(4, name="a"), layers.Dense(4, name="b")])


def graph_chain():
    x = keras.Input(X)
    return keras.Model(x, layers.Softmax()(dense("b", layers.ReLU()(dense("a", x)))))


def parallel():
    x = keras.Input(X)
    both = layers.Concatenate()([dense("left", x), dense("right", x)])
    return keras.Model(x, dense("end", both))


def residual():
    x = keras.Input(X)
    hidden = dense("first", x)
    return keras.Model(x, dense("end", dense("late", dense("early", hidden)) + hidden))


def skip_around_all():
    x = keras.Input(X)
    return keras.Model(x, x + dense("only", x))


def nested():
    return keras.Sequential([keras.Input(X), residual_block(), layers.Dense(2, name="end")])


def residual_block():
    x = keras.Input(X)
    inner = keras.Sequential([keras.Input(X), layers.Dense(4, name="early"), layers.Dense(4, name="late")], name="in")
    return keras.Model(x, layers.Add()([x, inner(x)]), name="block")


def nested_in_graph():
    """A nested model with two outputs: `mixed` reaches the end through both, each has its own way."""
    x = keras.Input(X)
    tower_in = keras.Input(X)
    tower = keras.Model(tower_in, [dense("left", tower_in), dense("right", tower_in)], name="tower")
    left, right = tower(x)
    return keras.Model(x, dense("end", layers.Multiply()([layers.Concatenate()([left, dense("after", right)])] * 2)))


def shared():
    """One layer on two inputs; only one of them has another way."""
    x, y = keras.Input(X), keras.Input(X)
    both = layers.Dense(4, name="both")
    return keras.Model([x, y], dense("end", layers.Concatenate()([both(x), both(y), dense("own", y)])))


def two_outputs():
    x = keras.Input(X)
    trunk = dense("trunk", x)
    return keras.Model(x, {"a": dense("a", trunk), "b": dense("b", trunk)})


def convolutions():
    x = keras.Input((6, 6, 2))
    first = layers.Conv2D(4, 3, padding="same", name="first")(x)
    second = layers.Conv2D(4, 3, padding="same", name="second")(first)
    return keras.Model(x, dense("end", layers.GlobalAveragePooling2D()(layers.Add()([first, second]))))


def words():
    x = keras.Input((5,), dtype="int32")
    embedded = layers.Embedding(9, 4, name="words")(x)
    return keras.Model(x, dense("end", layers.GlobalMaxPooling1D()(layers.Conv1D(4, 2, name="conv")(embedded))))


def timed():
    inner = keras.Sequential([keras.Input(X), layers.Dense(4, name="inner")])
    normed = layers.SpectralNormalization(layers.Dense(4, name="normed"))
    return keras.Sequential([keras.Input((5, 4)), layers.TimeDistributed(inner), normed])


# Model, layers without weights, whether that cuts the network through.
CASES = [
    (chain, ["a"], True),
    (chain, ["b"], True),
    (chain, ["a", "b"], True),
    (chain, [], False),
    (graph_chain, ["a"], True),
    (graph_chain, ["b"], True),
    (parallel, ["left"], False),
    (parallel, ["right"], False),
    (parallel, ["left", "right"], True),
    (parallel, ["end"], True),
    (residual, ["early"], False),
    (residual, ["early", "late"], False),
    (residual, ["first"], True),
    (residual, ["late", "first"], True),
    (skip_around_all, ["only"], False),
    (nested, ["block/in/early"], False),
    (nested, ["block/in/early", "block/in/late"], False),
    (nested, ["end"], True),
    (nested_in_graph, ["tower/left"], False),
    (nested_in_graph, ["tower/right"], False),
    (nested_in_graph, ["tower/right", "after"], False),
    (nested_in_graph, ["tower/left", "after"], True),
    (nested_in_graph, ["tower/left", "tower/right"], True),
    (shared, ["both"], False),
    (shared, ["own"], False),
    (shared, ["both", "own"], True),
    (two_outputs, ["a"], True),
    (two_outputs, ["trunk"], True),
    (convolutions, ["second"], False),
    (convolutions, ["first"], True),
    (words, ["words"], True),
    (words, ["conv"], True),
    (timed, ["time_distributed/sequential/inner"], True),
    (timed, ["spectral_normalization/normed"], True),
]


@pytest.mark.parametrize("build, empty, cut", CASES, ids=lambda value: getattr(value, "__name__", str(value)))
def test_a_cut_is_found_and_only_a_cut(build, empty, cut):
    model = mask_model(build())
    keys = [f"{place}/{'embeddings' if place == 'words' else 'kernel'}" for place in empty]
    mask = Mask({key: np.full(bits.shape, key not in keys) for key, bits in get_mask(model).items()})
    assert set(keys) <= set(mask)
    set_mask(model, mask)
    # What the graph says is what the function does: an output that is cut off is the same for all inputs.
    one, other = outputs(model, example(model)), outputs(model, example(model, seed=1))
    assert any(np.array_equal(a, b) for a, b in zip(one, other, strict=True)) == cut
    if not cut:
        return check_connected(model, mask)
    with pytest.raises(ValueError) as error:
        check_connected(model, mask)
    assert f"no weight left in {', '.join(key for key in mask if key in keys)}, at density {mask.density:.3g}" in str(
        error.value
    )
    assert "Keep min_per_layer at 1, or a higher density." in str(error.value)


def test_the_mask_that_is_handed_in_counts_and_not_the_models_own():
    model = mask_model(chain())
    full, empty = get_mask(model), Mask({"a/kernel": np.ones((4, 4)), "b/kernel": np.zeros((4, 4))})
    with pytest.raises(ValueError, match="cut through"):
        check_connected(model, empty)
    assert get_mask(model) == full
    set_mask(model, empty)
    check_connected(model, full)


def test_one_weight_is_enough():
    model = mask_model(chain())
    check_connected(model, Mask({key: np.arange(16).reshape(4, 4) == 5 for key in get_mask(model)}))


def test_any_model_with_weights_in_every_layer_is_connected(build):
    model = mask_model(build())
    check_connected(model, random_mask(model))


@few("build", [sequential, wrapped], sequential)
def test_every_layer_of_a_chain_cuts_it(build):
    model = mask_model(build())
    full = get_mask(model)
    for empty in full:
        with pytest.raises(ValueError, match=f"no weight left in {empty}, at"):
            check_connected(model, Mask({key: np.full(bits.shape, key != empty) for key, bits in full.items()}))


def test_what_is_not_known_passes():
    class Around(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.inner = MaskedDense(4)

        def call(self, x):
            return x + self.inner(x)

    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.around = Around()

        def call(self, x):
            return self.around(x)

    for model in (keras.Sequential([keras.Input(X), Around()]), Subclassed()):
        model(np.ones((1, 4), "float32"))
        check_connected(model, Mask({key: np.zeros(bits.shape) for key, bits in get_mask(model).items()}))
