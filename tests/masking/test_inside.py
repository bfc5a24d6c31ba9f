"""Layers inside custom layers and subclassed models, and layers of the user's own types, are masked like others."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import lth_keras as lth
from lth_keras.layers import MASKED_LAYERS, PLAIN_LAYERS, PRUNABLE, REGISTERED, MaskedLayer
from lth_keras.masking import get_mask, mask_model, prunable_weights, set_mask, strip_masks, walk
from tests.backend import JIT
from tests.few import few
from tests.masking.models import OwnDense, outputs


@keras.saving.register_keras_serializable(package="tests")
class Transformer(layers.Layer):
    """A block as users write it: its layers are made in __init__ and built where they are called."""

    def __init__(self, width=4, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.attention = layers.MultiHeadAttention(2, 3, dropout=0.2)
        self.hidden = [layers.Dense(8, "relu"), layers.Dense(width, kernel_regularizer="l2")]
        self.norm = layers.LayerNormalization()

    def call(self, x, training=None):
        y = self.norm(x + self.attention(x, x, training=training))
        for layer in self.hidden:
            y = layer(y)
        return x + y

    def get_config(self):
        return {**super().get_config(), "width": self.width}


@keras.saving.register_keras_serializable(package="tests")
class Classifier(keras.Model):
    """A subclassed model with a block, a nested Functional model and a recurrent layer."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.block = Transformer()
        inside = keras.Input((6, 4))
        self.inner = keras.Model(inside, layers.Conv1D(4, 2)(inside))
        self.recurrent = layers.Bidirectional(layers.LSTM(3))
        self.last = layers.Dense(2, "softmax")

    def call(self, x, training=None):
        return self.last(self.recurrent(self.inner(self.block(x, training=training))))


def functional():
    x = keras.Input((6, 4))
    y = layers.TimeDistributed(layers.Dense(4))(Transformer(name="block")(x))
    return keras.Model(x, layers.Dense(2, "softmax")(layers.Flatten()(y)))


def subclassed():
    model = Classifier()
    model(X[:1])
    return model


X = np.random.default_rng(0).normal(size=(24, 6, 4)).astype("float32")
Y = np.arange(24) % 2
MODELS = {"functional": functional, "subclassed": subclassed}
INSIDE = ["block/multi_head_attention/query/kernel", "block/dense/kernel", "block/dense_1/kernel"]


def keys(model):
    return [key.replace("transformer", "block") for key in get_mask(model)]


@pytest.mark.parametrize("build", MODELS.values(), ids=MODELS)
def test_masking_changes_no_output_and_names_the_layers_inside(build):
    model = build()
    expected = outputs(model, X)[0]
    masked = mask_model(model)
    assert {*INSIDE} <= {*keys(masked)}
    assert (masked is model) == (build is subclassed)
    # Not to the bit: on PyTorch the last one differs at times.
    np.testing.assert_allclose(outputs(masked, X)[0], expected, rtol=1e-6)
    np.testing.assert_allclose(outputs(mask_model(masked), X)[0], expected, rtol=1e-6)


@few("build", MODELS.values(), functional, ids=MODELS)
def test_masks_hold_through_training_saving_and_loading(build, tmp_path):
    keras.utils.set_random_seed(1)  # of a weight with few that are kept, none may have a gradient
    model = build()
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=JIT)
    model.fit(X, Y, verbose=0)  # a compiled step of before, where the model is masked in place
    pruned = lth.prune(model, 0.3)
    mask = get_mask(pruned)
    assert mask.kept == round(0.3 * mask.size)
    pruned.compile(keras.optimizers.Adam(0.1), "sparse_categorical_crossentropy", jit_compile=JIT)
    start = {w.key: np.array(w.variable) for w in prunable_weights(pruned)}
    pruned.fit(X, Y, epochs=2, verbose=0)
    for weight in prunable_weights(pruned):
        moved = np.array(weight.variable) != start[weight.key]
        assert not moved[~mask[weight.key]].any() and moved[mask[weight.key]].any(), weight.key
    trained = outputs(pruned, X)[0]
    pruned.save(tmp_path / "masked.keras")
    again = keras.models.load_model(tmp_path / "masked.keras")
    assert get_mask(again) == mask
    np.testing.assert_allclose(outputs(again, X)[0], trained, rtol=1e-6)
    again.fit(X, Y, verbose=0)
    assert get_mask(again) == mask
    stripped = strip_masks(pruned)
    assert not any(isinstance(layer, MaskedLayer) for _, layer in walk(stripped))
    np.testing.assert_allclose(outputs(stripped, X)[0], trained, rtol=1e-6)
    stripped.save(tmp_path / "plain.keras")
    assert b"lth_keras" not in (tmp_path / "plain.keras").read_bytes()
    np.testing.assert_allclose(outputs(keras.models.load_model(tmp_path / "plain.keras"), X)[0], trained, rtol=1e-6)


def test_a_mask_set_later_takes_effect_in_a_compiled_step():
    model = subclassed()
    before = model.predict(X, verbose=0)
    masked = mask_model(model)
    np.testing.assert_allclose(masked.predict(X, verbose=0), before, rtol=1e-6)
    mask = get_mask(masked)
    set_mask(masked, {key: np.zeros_like(array) for key, array in mask.items()})
    assert np.ptp(masked.predict(X, verbose=0), axis=0).max() < 1e-6  # nothing but biases is left
    set_mask(masked, mask)
    np.testing.assert_allclose(masked.predict(X, verbose=0), before, rtol=1e-6)


def test_frozen_layers_inside_can_be_left_out():
    model = functional()
    model.get_layer("block").trainable = False
    assert not {*INSIDE} & {*keys(mask_model(model, frozen=False))}
    model = functional()
    model.get_layer("block").hidden[0].trainable = False
    assert {*INSIDE} - {*keys(mask_model(model, frozen=False))} == {"block/dense/kernel"}
    model = subclassed()
    model.block.hidden[0].trainable = False
    assert {*INSIDE} - {*keys(mask_model(model, frozen=False))} == {"block/dense/kernel"}
    assert {*INSIDE} <= {*keys(mask_model(model))}


def test_a_subclassed_model_is_compared_with_its_weights_before_it_was_masked():
    model = subclassed()
    before = model.get_weights()
    changed = lth.prune(model, 0.5, "magnitude_change", initial=[0 * array for array in before])
    again = subclassed()
    again.set_weights(before)
    assert get_mask(changed) == get_mask(lth.prune(again, 0.5))


def test_synaptic_flow_needs_the_inputs_of_a_graph():
    with pytest.raises(ValueError, match="Expected a Sequential or Functional model.*Received: Classifier"):
        lth.prune(subclassed(), 0.5, "synflow")


def test_a_subclassed_model_that_is_not_built_is_refused():
    with pytest.raises(ValueError, match="Call it once on a batch"):
        mask_model(Classifier())


@pytest.fixture
def own():
    """The user's subclass of Dense, registered for the time of a test."""
    masked = lth.register_prunable(OwnDense, weights=["_kernel"])
    yield masked
    forget(masked)


def forget(masked):
    plain = PLAIN_LAYERS.pop(masked)
    del PRUNABLE[plain], MASKED_LAYERS[plain], REGISTERED[plain]


def with_own():
    x = keras.Input((6, 4))
    y = layers.TimeDistributed(OwnDense(5))(OwnDense(4, name="own")(x))
    return keras.Model(x, layers.Dense(2)(layers.Flatten()(y)))


def test_a_registered_type_is_masked_saved_and_loaded(own, tmp_path):
    model = with_own()
    masked = mask_model(model)
    assert list(get_mask(masked)) == ["own/kernel", "time_distributed/own_dense/kernel", "dense/kernel"]
    generator = np.random.default_rng(1)
    set_mask(masked, {key: generator.random(array.shape) < 0.5 for key, array in get_mask(masked).items()})
    assert [row.layer for row in lth.summary(masked).rows] == ["OwnDense", "OwnDense", "Dense"]
    expected = outputs(masked, X)[0]
    assert np.abs(expected - outputs(model, X)[0]).max() > 1e-3
    np.testing.assert_array_equal(outputs(strip_masks(masked), X)[0], expected)
    masked.save(tmp_path / "masked.keras")
    again = keras.models.load_model(tmp_path / "masked.keras")
    np.testing.assert_array_equal(outputs(again, X)[0], expected)
    assert get_mask(again) == get_mask(masked)


def test_a_model_with_a_type_that_is_not_registered_names_the_call(tmp_path):
    masked = lth.register_prunable(OwnDense, weights=["_kernel"])
    mask_model(with_own()).save(tmp_path / "masked.keras")
    forget(masked)
    with pytest.raises(
        ValueError, match=r"call lth_keras.register_prunable\(OwnDense, weights=\{'kernel': '_kernel'\}"
    ):
        keras.models.load_model(tmp_path / "masked.keras")


def test_registering_twice_is_no_error_but_other_weights_are(own):
    assert lth.register_prunable(OwnDense, weights={"kernel": "_kernel"}) is own
    with pytest.raises(ValueError, match="OwnDense, which is already"):
        lth.register_prunable(OwnDense, weights=["_kernel"], kind="conv")
    with pytest.raises(ValueError, match="Dense, which is already"):
        lth.register_prunable(layers.Dense, weights=["bias"])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((OwnDense(3), ["_kernel"]), TypeError, "Expected a class"),
        ((OwnDense, []), ValueError, "at least one weight"),
        ((OwnDense, ["_kernel"], "output"), ValueError, "Expected a kind"),
        ((OwnDense, ["_kernel", "inner.kernel"]), ValueError, "different names"),
        ((OwnDense, None), TypeError, "names of attributes.*Received: None"),
        ((OwnDense, {"kernel": 3}), TypeError, "names of attributes"),
    ],
)
def test_a_registration_that_cannot_be_is_refused(arguments, error, message):
    before = dict(PRUNABLE)
    with pytest.raises(error, match=message):
        lth.register_prunable(*arguments)
    assert before == PRUNABLE


def test_a_registration_of_a_weight_that_is_not_there_is_refused_where_a_model_is_masked():
    masked = lth.register_prunable(OwnDense, weights=["_kernels"])
    try:
        with pytest.raises(ValueError, match="to keep a variable in '_kernels'"):
            mask_model(with_own())
    finally:
        forget(masked)


class Hidden(layers.Layer):
    """Keeps its kernel in an attribute with an underscore, under another name than the variable's."""

    def build(self, shape):
        self._table = self.add_weight(shape=(shape[-1], 3), name="weights")

    def call(self, x):
        return keras.ops.matmul(x, self._table)


class Aside(layers.Dense):
    """Reads its kernel past the attribute that is masked."""

    def call(self, inputs, training=None):
        return keras.ops.matmul(inputs, self._kernel)


def test_a_weight_is_masked_in_the_attribute_that_the_layer_has():
    masked = lth.register_prunable(Hidden, weights=["_table"])
    try:
        x = keras.Input((6, 4))
        model = mask_model(keras.Model(x, Hidden()(x)))
        set_mask(model, {"hidden/weights": np.eye(4, 3, dtype=bool)})
        expected = outputs(model, X)[0]
        np.testing.assert_allclose(
            expected, X[..., :3] * np.diag(keras.ops.convert_to_numpy(model.weights[0])), rtol=1e-5
        )
        np.testing.assert_allclose(outputs(strip_masks(model), X)[0], expected, rtol=1e-5)
    finally:
        forget(masked)


def test_a_forward_pass_that_does_not_read_a_registered_weight_is_named():
    masked = lth.register_prunable(Aside, weights=["_kernel"])
    try:
        x = keras.Input((6, 4))
        model = mask_model(keras.Model(x, Aside(3, name="aside")(x)))
        with pytest.warns(UserWarning, match=r"pass of Aside 'aside' to read .* 'kernel' \(_kernel\) not read so"):
            model(X)
    finally:
        forget(masked)


class Tied(keras.Model):
    """Reads the table of its embedding itself."""

    def __init__(self):
        super().__init__()
        self.words = layers.Embedding(9, 4, name="words")

    def call(self, x):
        return keras.ops.matmul(self.words(x), keras.ops.transpose(self.words.embeddings))


def test_a_masked_weight_that_another_forward_pass_reads_is_named():
    model = Tied()
    model(np.ones((2, 3), "int32"))
    mask_model(model)
    with pytest.warns(UserWarning, match="'embeddings' of the masked layer 'words' .*ReversibleEmbedding"):
        model(np.ones((2, 3), "int32"))


class Twice(layers.Dense):
    """Of a module that worker processes import, but they do not register it."""

    def call(self, inputs, training=None):
        return 2 * super().call(inputs, training=training)


@pytest.mark.slow
def test_worker_processes_prune_registered_types_and_a_run_knows_of_them(tmp_path):
    def search():
        x, y = np.random.default_rng(0).normal(size=(60, 4)).astype("float32"), np.arange(60) % 2
        data = {"train": (x, y), "validation": (x[:20], y[:20]), "test": (x[:20], y[:20])}
        return lth.TicketSearch(
            build=lambda: keras.Sequential([keras.Input((4,)), Twice(6, name="twice"), layers.Dense(2, "softmax")]),
            data=data,
            optimizer=keras.optimizers.Adam,
            loss="sparse_categorical_crossentropy",
            rates=0.2,
            levels=1,
            steps=4,
            batch_size=20,
        )

    with pytest.warns(UserWarning, match="Not masked"):
        before = search().run(1, out=tmp_path)
    masked = lth.register_prunable(Twice, weights=["_kernel"])
    try:
        run = search().run(1, out=tmp_path, workers=2)
        assert run.directory.path != before.directory.path
        assert list(get_mask(run.ticket(trial=0, level=1))) == ["twice/kernel", "dense/kernel"]
        here = search().run(1, out=tmp_path / "here")
        assert get_mask(here.ticket(trial=0, level=1)) == get_mask(run.ticket(trial=0, level=1))
    finally:
        forget(masked)
