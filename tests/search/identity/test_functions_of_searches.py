"""Searches that differ in what their functions, layers or objects do have directories of their own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from lth_keras.search.identity import describe, former
from lth_keras.storage import RunDirectory
from lth_keras.training.network import Network
from tests import tiny
from tests.few import few


def focal(gamma: float) -> Callable[[Any, Any], Any]:
    def loss(y: Any, outputs: Any) -> Any:
        chosen = keras.ops.take_along_axis(outputs, keras.ops.cast(y, "int32")[:, None], axis=-1)[:, 0]
        return -((1 - chosen) ** gamma) * keras.ops.log(chosen + 1e-7)

    return loss


def powered(power: float) -> Any:
    return lambda state: {key: np.abs(state.final[key]) ** power for key in state.mask}


class Focal(keras.losses.Loss):
    """Its configuration does not tell `gamma`."""

    def __init__(self, gamma: float) -> None:
        super().__init__()
        self.gamma = gamma

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return focal(self.gamma)(y_true, y_pred)


class Scaled(keras.layers.Layer):
    """Its configuration does not tell `factor`."""

    def __init__(self, factor: float, **others: Any) -> None:
        super().__init__(**others)
        self.factor = factor

    def get_config(self) -> dict[str, Any]:
        return super().get_config()

    def call(self, x: Any) -> Any:
        return x * self.factor


class Decay(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, step: Any) -> Any:
        return self.rate / (1 + step)

    def get_config(self) -> dict[str, Any]:
        return {}


def with_layer(layer: Callable[[], Any]) -> Callable[[], keras.Model]:
    return lambda: keras.Sequential(
        [keras.Input((8,)), layer(), keras.layers.Dense(16, "relu"), keras.layers.Dense(3, "softmax")]
    )


def without_decay(*names: str) -> Callable[[], Any]:
    def make() -> Any:
        optimizer = keras.optimizers.AdamW(0.1)
        optimizer.exclude_from_weight_decay(var_names=list(names))
        return optimizer

    return make


def normalised(mean: float) -> Any:
    layer = keras.layers.StringLookup if mean < 0 else keras.layers.IntegerLookup
    return layer(vocabulary=[1, 2])


PAIRS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "loss": ({"loss": focal(1.0)}, {"loss": focal(2.0)}),
    "loss object": ({"loss": Focal(1.0)}, {"loss": Focal(2.0)}),
    "loss wrapper": tuple({"loss": keras.losses.CategoricalCrossentropy(label_smoothing=s)} for s in (0.0, 0.1)),  # type: ignore[dict-item]
    "criterion": ({"criterion": powered(1.0)}, {"criterion": powered(2.0)}),
    "lambda layer": tuple({"build": with_layer(lambda s=s: keras.layers.Lambda(lambda x: x * s))} for s in (1, 2)),  # type: ignore[dict-item, misc]
    "own layer": ({"build": with_layer(lambda: Scaled(1.0))}, {"build": with_layer(lambda: Scaled(2.0))}),
    "activation": tuple({"build": with_layer(lambda s=s: keras.layers.Dense(4, lambda x: x * s))} for s in (1, 2)),  # type: ignore[dict-item, misc]
    "initialiser": tuple(
        {
            "build": with_layer(
                lambda s=s: keras.layers.Dense(4, kernel_initializer=lambda shape, dtype: s * np.ones(shape))
            )
        }  # type: ignore[misc]
        for s in (1, 2)
    ),  # type: ignore[dict-item]
    "schedule": tuple({"optimizer": lambda r=r: keras.optimizers.SGD(Decay(r))} for r in (0.1, 0.2)),  # type: ignore[dict-item, misc]
    "decay of some": ({"optimizer": without_decay("bias")}, {"optimizer": without_decay("kernel")}),
}


@few("name", PAIRS, "loss", "criterion", "own layer", "schedule")
def test_they_are_described_apart(name: str) -> None:
    one, other = (describe(tiny.make(**changes)) for changes in PAIRS[name])
    assert one != other
    keras.layers.Dense(1), keras.layers.Lambda(lambda x: x), Focal(1.0), Scaled(1.0)  # Keras counts them in names
    assert describe(tiny.make(**PAIRS[name][0])) == one


@pytest.mark.slow
def test_the_second_is_trained(tmp_path: Path) -> None:
    runs = [tiny.make(loss=focal(gamma), levels=0).run(out=tmp_path) for gamma in (0.5, 4.0)]
    assert runs[0].directory.path != runs[1].directory.path
    assert not np.array_equal(runs[0].dataset.train_loss, runs[1].dataset.train_loss)


def unreadable(y: Any, outputs: Any, generator: Any = np.random.default_rng(0)) -> Any:  # noqa: B008
    return keras.ops.mean((y - outputs) ** 2, axis=-1)


def test_what_cannot_be_read_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    search = tiny.make(loss=unreadable)
    with pytest.raises(ValueError, match=r"Received: loss; numpy.random.*`config=`"):
        search.run(out=tmp_path)
    assert not list(tmp_path.iterdir())
    assert tiny.make(loss=unreadable, config={"name": "told"}).identity == {"name": "told"}


def own_criterion(state: Any) -> dict[str, np.ndarray]:
    return {key: np.abs(state.final[key]) for key in state.mask}


def test_a_directory_that_was_named_by_functions_names_is_taken_up(network: Network, tmp_path: Path) -> None:
    search = tiny.make(network, criterion=own_criterion, levels=0)
    before = former(search, search.identity)
    assert before is not None and before["criterion"] == f"{__name__}.own_criterion" and "code" not in before
    old = RunDirectory.open(tmp_path, search.name, before)
    directory = search.run(out=tmp_path).directory
    assert directory.path == old.path and RunDirectory.load(old.path).described == json.loads(
        json.dumps(search.identity)
    )
    assert tiny.make(network, criterion=own_criterion, levels=0).run(out=tmp_path).directory.path == old.path

    def changed(state: Any) -> dict[str, np.ndarray]:
        return {key: -np.abs(state.final[key]) for key in state.mask}

    changed.__qualname__ = "own_criterion"  # as after the function was edited
    changed.__module__ = __name__
    other = tiny.make(network, criterion=changed, levels=0).run(out=tmp_path).directory
    assert other.path != old.path


@pytest.mark.parametrize("changes", [{"loss": focal(1.0)}, {"criterion": powered(1.0)}, {"loss": Focal(1.0)}, {}])
def test_one_that_names_do_not_tell_apart_is_not(changes: dict[str, Any]) -> None:
    search = tiny.make(**changes)
    assert former(search, describe(search)) is None
