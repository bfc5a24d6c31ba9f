"""Files for LiteRT and ONNX compute what the model computes, are smaller where it is, and say what they need."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import lth_keras as lth
from benchmarks.__main__ import main
from lth_keras.export import models
from tests.backend import BACKEND
from tests.docs.test_readme import ROOT, run


def needs(*packages: str) -> pytest.MarkDecorator:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    off = bool(missing) or BACKEND != "tensorflow"
    return pytest.mark.skipif(off, reason=f"needs TensorFlow and {' and '.join(packages)}: make test-export")


litert, onnx = needs("ai_edge_litert"), needs("tf2onnx", "onnxruntime")
BOTH = [pytest.param(".tflite", marks=litert), pytest.param(".onnx", marks=onnx)]


def convolutional() -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    x = layers.BatchNormalization()(layers.Conv2D(16, 3, padding="same", activation="relu")(inputs))
    x = layers.Dense(32, "relu")(layers.Flatten()(layers.DepthwiseConv2D(3, padding="same")(x)))
    return keras.Model(inputs, layers.Dense(4, "softmax")(x))


def recurrent() -> keras.Model:
    tokens = keras.Input((6,), dtype="int32")
    x = layers.LSTM(8)(layers.Embedding(20, 8)(tokens))
    return keras.Model(tokens, layers.Dense(2)(x))


def attending() -> keras.Model:
    tokens = keras.Input((6,), dtype="int32")
    x = layers.Embedding(20, 8)(tokens)
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 4)(x, x))
    return keras.Model(tokens, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))


def several() -> keras.Model:
    images, words = keras.Input((4, 4, 1), name="images"), keras.Input((5,), dtype="int32", name="words")
    x = layers.Concatenate()([layers.Flatten()(images), layers.Flatten()(layers.Embedding(9, 3)(words))])
    return keras.Model({"words": words, "images": images}, layers.Dense(3)(x))


MODELS = {"convolutional": convolutional, "recurrent": recurrent, "attending": attending, "several": several}


def random_values(model: keras.Model) -> keras.Model:
    generator = np.random.default_rng(0)
    for variable in model.variables:
        if "float" in variable.dtype:
            value = generator.normal(size=variable.shape) * 0.3
            variable.assign(np.abs(value) + 0.3 if "variance" in variable.path else value)
    return model


@pytest.mark.parametrize("ending", BOTH)
@pytest.mark.parametrize("name", MODELS)
def test_a_pruned_model_is_exported_and_the_runtime_computes_the_same(name: str, ending: str, tmp_path: Path) -> None:
    pruned = lth.prune(random_values(MODELS[name]()), 0.5, pattern="channels", scope="layer")
    size = 2 if name == "recurrent" and ending == ".tflite" else None
    lth.export_model(tmp_path / f"model{ending}", pruned, batch_size=size)
    lth.export_model(tmp_path / f"whole{ending}", pruned, compacted=False, batch_size=size)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"model{ending}", f"whole{ending}"]
    small, whole = ((tmp_path / f"{one}{ending}").stat().st_size for one in ("model", "whole"))
    assert small < whole


@pytest.mark.parametrize("ending", BOTH)
def test_outputs_are_in_order_however_many_there_are(ending: str, tmp_path: Path) -> None:
    inputs = keras.Input((4,))
    model = random_values(keras.Model(inputs, [layers.Dense(2)(inputs) for _ in range(12)]))
    lth.export_model(tmp_path / f"model{ending}", model)


@pytest.mark.parametrize("name", MODELS)
def test_the_file_for_keras_has_no_optimizer(name: str, tmp_path: Path) -> None:
    model, path = random_values(MODELS[name]()), tmp_path / "plain.keras"
    model.compile("adam", "mse")
    lth.export_model(path, model)
    loaded = keras.models.load_model(path)
    assert not loaded.compiled and model.compiled
    for own, stored in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(stored, own)


@litert
def test_recurrent_layers_need_a_batch_size_in_litert(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="Expected operations that LiteRT has.*Give batch_size, such as 1"):
        lth.export_model(tmp_path / "model.tflite", recurrent())
    assert not list(tmp_path.iterdir())


@litert
def test_fewer_bits_make_smaller_files(tmp_path: Path) -> None:
    model = random_values(keras.Sequential([keras.Input((256,)), layers.Dense(512, "relu"), layers.Dense(10)]))
    sizes = []
    for values in ("float32", "float16", "int8"):
        lth.export_model(tmp_path / "model.tflite", model, values=values)
        sizes.append((tmp_path / "model.tflite").stat().st_size)
    assert sizes[1] < 0.6 * sizes[0] and sizes[2] < 0.6 * sizes[1]


@pytest.mark.parametrize("ending", BOTH)
def test_other_outputs_are_an_error_and_the_file_that_was_there_stays(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"model{ending}"
    path.write_bytes(b"older")
    form = models.FORMATS[ending]
    wrong = form._replace(load=lambda path, names: lambda x: [np.full((len(x[0]), 4), 9.0)])
    monkeypatch.setitem(models.FORMATS, ending, wrong)
    with pytest.raises(RuntimeError, match="Expected outputs of model.* that differ.*Received: "):
        lth.export_model(path, random_values(convolutional()))
    assert [one.name for one in tmp_path.iterdir()] == [path.name] and path.read_bytes() == b"older"


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("model.pb", {}, "Expected a path that ends in .keras or .tflite or .onnx. Received: 'model.pb'"),
        ("model.tflite", {"values": "int4"}, "values to be one of"),
        ("model.onnx", {"values": "int8"}, "Expected values='float32' in a .onnx file. Received: 'int8'"),
    ],
)
def test_what_cannot_be_is_refused(path: str, options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        lth.export_model(tmp_path / path, convolutional(), **options)


def test_what_is_missing_is_named_with_the_way_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(models.FORMATS, ".onnx", models.FORMATS[".onnx"]._replace(packages=("no_such_package",)))
    if BACKEND != "tensorflow":
        with pytest.raises(ValueError, match=r"Expected KERAS_BACKEND to be tensorflow .* in a process with another"):
            lth.export_model(tmp_path / "model.onnx", convolutional())
        return
    with pytest.raises(ModuleNotFoundError, match=r"no_such_package.*pip install 'lth_keras\[onnx\]'"):
        lth.export_model(tmp_path / "model.onnx", convolutional())
    with pytest.raises(ValueError, match="Expected a built model with known inputs. Received: Sequential"):
        lth.export_model(tmp_path / "model.onnx", keras.Sequential([layers.Dense(2)]))


@litert
@onnx
def test_what_is_said_of_other_runtimes_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(ROOT / "docs" / "deploy.md")
    assert {path.name for path in tmp_path.iterdir()} == {"model.tflite", "model.onnx"}


@litert
@onnx
@pytest.mark.slow
def test_inference_is_measured_in_each_runtime(tmp_path: Path) -> None:
    assert (
        main(["inference_lenet", "--small", "--rounds", "1", "--only", "1%*", "100%: Keras*", "--out", str(tmp_path)])
        == 0
    )
    text = (tmp_path / "inference_lenet.md").read_text()
    assert "1%: LiteRT, int8 / 100%: Keras, dense, ms, batch 64" in text and "| 1%: ticket file |" in text
