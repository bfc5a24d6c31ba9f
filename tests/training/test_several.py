"""Models with several inputs and outputs: trained as by Keras, in whatever form data and losses are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

import lth_keras as lth
from lth_keras.backends.losses import Losses, loss_function
from lth_keras.callbacks import DynamicSparseTraining, GradualPruning
from lth_keras.data import losses_of
from lth_keras.mask import Mask
from lth_keras.masking import mask_model
from lth_keras.search.identity.as_json import digest
from lth_keras.training.engines import batch_order
from lth_keras.training.network import Network
from tests import several, tiny
from tests.few import few

STEPS = 12


def network_of(build: Callable[[], Any] = several.build, **changes: Any) -> Network:
    given = {"loss": several.LOSS, "loss_weights": several.WEIGHTS, "metric": several.METRIC, **changes}
    return tiny.network_of(build, **given)


def sgd() -> keras.Optimizer:
    """Without moments: on TensorFlow Keras' Adam squares an embedding's gradient before its parts are summed."""
    return keras.optimizers.SGD(0.05)


@few("by_name", (False, True), False)
def test_training_is_that_of_keras(by_name: bool) -> None:
    build = several.build_by_name if by_name else several.build
    splits = several.data()
    (x, y), sample_weight = splits["train"], np.linspace(0, 2, 120).astype(np.float32)
    network = network_of(build, optimizer=sgd)
    network.load({**splits, "train": (x, y, sample_weight)})
    start = network.draw_weights(0)
    network.weights = dict(start)
    curves = network.train(STEPS, seed=0)

    model = build()
    for layer in model.layers:
        layer.set_weights([start[f"{layer.name}/{weight.name}"] for weight in layer.weights])
    model.compile(sgd(), several.LOSS, loss_weights=several.WEIGHTS)
    losses = []
    for batch in batch_order(120, 10, 0).take(STEPS):
        own_x, own_y = (
            parts if by_name else [parts[name] for name in names]
            for names, parts in (
                (several.INPUTS, {name: array[batch] for name, array in x.items()}),
                (several.OUTPUTS, {name: array[batch][:, None] for name, array in y.items()}),  # as `fit` does
            )
        )
        model.reset_metrics()
        losses.append(float(model.train_on_batch(own_x, own_y, sample_weight=sample_weight[batch])[0]))
    for layer in model.layers:
        for weight, value in zip(layer.weights, layer.get_weights(), strict=True):
            np.testing.assert_allclose(network.weights[f"{layer.name}/{weight.name}"], value, atol=1e-5)
    np.testing.assert_allclose(curves.train_loss[0], np.mean(losses[:5]), rtol=1e-4)
    for name, found in (("validation", curves.validation_loss[-1]), ("test", network.evaluate("test")[0])):
        x, y = splits[name]
        given = (x, y) if by_name else ([x[one] for one in several.INPUTS], [y[one] for one in several.OUTPUTS])
        expected = model.evaluate(*given, verbose=0, return_dict=True)["loss"]
        np.testing.assert_allclose(found, expected, rtol=1e-4)
    outputs = model.predict(given[0], verbose=0)
    kind = outputs["kind"] if by_name else outputs[several.OUTPUTS.index("kind")]
    assert network.evaluate("test")[1] == pytest.approx(np.mean(kind.argmax(1) == splits["test"][1]["kind"]))


def test_lists_tuples_and_dicts_are_the_same() -> None:
    network = network_of()
    expected, model = network.checked(several.data()), network.model
    for form in (list, tuple):
        for name, (x, y) in network.checked(several.data(form)).items():
            for found, known in ((x, expected[name][0]), (y, expected[name][1])):
                assert isinstance(found, tuple) and all(map(np.array_equal, found, known))
        assert digest(several.data(form), model) == digest(several.data(), model)
    for which in (0, 1):
        for name in (several.INPUTS, several.OUTPUTS)[which]:
            other = several.data()
            array = other["test"][which][name] = other["test"][which][name].copy()
            array.ravel()[-1] += 1
            assert digest(other, model) != digest(several.data(), model)
    in_order = [several.LOSS[name] for name in several.OUTPUTS], [several.WEIGHTS[name] for name in several.OUTPUTS]
    assert losses_of(model, *in_order) == network.loss == Losses(("mse", several.LOSS["kind"]), (2.0, 0.5))
    assert losses_of(model, "mse") == Losses(("mse", "mse"), (1.0, 1.0))


def test_labels_of_the_measured_output_are_counted() -> None:
    network = network_of()
    network.load(several.data(list))
    curves = network.train(5, seed=0, confusion=True)
    assert network.metric == "accuracy" and curves.test_confusion is not None
    classes = np.bincount(several.data()["test"][1]["kind"], minlength=3)
    np.testing.assert_array_equal(curves.test_confusion[-1].sum(1), classes)
    assert np.trace(curves.test_confusion[-1]) / 30 == pytest.approx(curves.test_metric[-1])
    assert network_of(metric={"size": "r2"}).metric == "r2" and network_of(metric={"size": None}).metric == "mae"


def spoiled(which: int, name: str, change: Callable[[Any], Any]) -> dict[str, Any]:
    splits = several.data()
    splits["train"][which][name] = change(splits["train"][which][name])
    return splits


BAD_DATA: dict[str, tuple[Any, str]] = {
    "too few": ({**several.data(), "train": ([1], [1])}, "Split 'train': Expected x for each of 'word', 'wide'.*1 ent"),
    "one array": (
        {**several.data(), "test": (np.zeros((30, 6)), several.data()["test"][1])},
        "Split 'test': Expected x for each of 'word', 'wide': a list or tuple in this order.*Received: ndarray",
    ),
    "another name": (
        {**several.data(), "train": (several.data()["train"][0], {"kind": 1, "sise": 2})},
        r"Expected y for each of 'size', 'kind'.*Received: a dict of \['kind', 'sise'\]",
    ),
    "words": (spoiled(0, "word", lambda x: x + 1), r"'train', input 'word': Expected row numbers in 0 ... 6"),
    "shape": (spoiled(0, "wide", lambda x: x[:, :5]), r"'train', input 'wide': Expected examples of shape \(6,\)"),
    "labels": (spoiled(1, "kind", lambda y: y + 1), r"'train', output 'kind': Expected labels in 0 ... 2"),
    "not finite": (spoiled(1, "size", lambda y: y * np.nan), r"'train', output 'size': Expected finite y"),
    "lengths": (spoiled(1, "kind", lambda y: y[:7]), "Expected x and y of one length.*120 and 120 and 120 and 7"),
}


def test_data_that_do_not_fit_are_refused() -> None:
    network = network_of()
    for given, message in BAD_DATA.values():
        with pytest.raises(ValueError, match=message):
            network.checked(given)


BAD_NETWORKS: dict[str, tuple[dict[str, Any], str]] = {
    "no output": ({"metric": None}, r"Expected metric=\{output: metric\}.*one of 'size', 'kind'.*Received: None"),
    "another output": ({"metric": {"sise": None}}, r"one of 'size', 'kind'.*Received: \{'sise': None\}"),
    "two metrics": ({"metric": {"size": None, "kind": None}}, "the output to measure"),
    "another loss": ({"loss": {"kind": "mse", "sise": "mse"}}, "Expected a loss for each of 'size', 'kind'"),
    "one loss": ({"loss": ["mse"]}, "Expected a loss for each of 'size', 'kind'.*Received: 1 entries"),
    "no loss": ({"loss": [None, "mse"]}, "Expected loss to be a name.*Received: None"),
    "three weights": ({"loss_weights": [1, 2, 3]}, "Expected loss_weights for each of.*Received: 3 entries"),
    "infinite": ({"loss_weights": [1, np.inf]}, "Expected finite numbers in loss_weights"),
    "one weight": ({"loss_weights": 0.5}, "Expected loss_weights as a list, a tuple or a dict"),
    "batched": ({"engine": "batched:2"}, r"engine='compiled'.*2 inputs and 2 outputs. Received: engine='batched:2'"),
    "compact": ({"engine": "compact"}, "Expected engine='compiled' for a model with 2 inputs and 2 outputs"),
    "rows": ({"engine": "rows"}, "Expected engine='compiled' for a model with 2 inputs and 2 outputs"),
}


def test_networks_that_cannot_be_are_refused() -> None:
    for changes, message in BAD_NETWORKS.values():
        with pytest.raises(ValueError, match=message):
            network_of(**changes)
    with pytest.raises(ValueError, match="loss_weights=None for a model with one output. Received:"):
        tiny.network_of(loss_weights=[1.0])


def test_gradients_are_those_of_the_weighted_sum() -> None:
    x, y = several.split(300, 3)  # more than one part
    x, y = (tuple(part[name] for name in names) for part, names in ((x, several.INPUTS), (y, several.OUTPUTS)))
    network = network_of()
    weights = dict(network.draw_weights(0))
    gradients = network.derivatives.on(lambda: (x, y)).gradients(weights, network.mask)
    total = loss_function(network.loss)
    for key, place in (("hidden/kernel", (0, 1)), ("table/embeddings", (3, 2)), ("size/kernel", (9, 0))):
        found = []
        for change in (0.01, -0.01):
            moved = weights[key].copy()
            moved[place] += change
            network.weights = {**weights, key: moved}
            outputs = tuple(network.model([*map(keras.ops.convert_to_tensor, x)], training=False))
            found.append(float(total(tuple(map(keras.ops.convert_to_tensor, y)), outputs)))
        assert gradients[key][place] == pytest.approx((found[0] - found[1]) / 0.02, rel=0.005, abs=1e-3), key


@few("criterion", ("snip", "grasp", "grasp_magnitude", "synflow", "wanda"), "grasp", "wanda")
def test_criteria_on_data(criterion: str) -> None:
    model, (x, y) = several.build(), several.split(40, 3)
    options = {"data": (x, y), "loss": several.LOSS, "samples_per_class": 5}
    pruned = lth.prune(model, 0.5, criterion, **options)
    assert lth.get_mask(pruned).density == pytest.approx(0.5, abs=0.01)
    in_order = [x[name] for name in several.INPUTS], [y[name] for name in several.OUTPUTS]
    assert lth.get_mask(lth.prune(model, 0.5, criterion, **{**options, "data": in_order})) == lth.get_mask(pruned)


@few("method", ("rigl", "snip"), "rigl")
def test_callbacks_take_the_losses_that_the_model_is_compiled_with(method: str) -> None:
    model, given = mask_model(several.build()), several.split(40, 3)
    x, y = ([part[one] for one in names] for part, names in zip(given, (several.INPUTS, several.OUTPUTS), strict=True))
    model.compile("adam", several.LOSS, loss_weights=several.WEIGHTS)
    callback: Any = DynamicSparseTraining(0.5, method="rigl", end=4, frequency=2, data=given, batch_size=10)
    if method != "rigl":
        callback = GradualPruning(0.5, end=4, frequency=2, criterion=method, data=given)
    model.fit(x, y, batch_size=10, epochs=1, verbose=0, callbacks=[callback])
    assert callback._derivatives._loss == losses_of(model, several.LOSS, several.WEIGHTS)
    mask: Mask = lth.get_mask(model)
    assert mask.density == pytest.approx(0.5, abs=0.01)
