"""Models as files for Keras, LiteRT and ONNX, by Keras' own exporters, checked with the runtime."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from lth_keras.backends import as_called
from lth_keras.compacting import compact
from lth_keras.layers import MaskedLayer
from lth_keras.masking import has_graph, strip_masks, walk
from lth_keras.system import integer, one_of

VALUES = {"float32": 1e-4, "float16": 1e-2, "int8": 0.2}
"""How a file can store weights; the difference of an output to the model's that may be, as a share of the largest."""

Outputs = list[np.ndarray]
Run = Callable[[Sequence[np.ndarray]], Outputs]


class Format(NamedTuple):
    """A kind of file.

    Attributes:
        extra: of lth_keras, with the exporter and the runtime.
        packages: that both need, as they are imported.
        backends: on which Keras exports it.
        values: that it can store.
        write: (path, model, values, batch size) -> None.
        load: (path, names of the inputs) -> a function of inputs, in the model's order.
    """

    extra: str
    packages: tuple[str, ...]
    backends: tuple[str, ...]
    values: tuple[str, ...]
    write: Callable[[str, keras.Model, str, int | None], None]
    load: Callable[[str, list[str]], Run]


def export_model(
    path: str | os.PathLike[str],
    model: keras.Model,
    *,
    values: str = "float32",
    compacted: bool = True,
    batch_size: int | None = None,
) -> None:
    """Writes a model to serve: `.keras` for Keras, `.tflite` for LiteRT, `.onnx` for ONNX Runtime and others.

    The model is exported by Keras' own exporters, without masks, and compacted if its graph is known, since runtimes
    compute pruned weights like others. Then the runtime loads the file, and its outputs are compared with the model's
    on random inputs of two batch sizes. Optimizer and losses are left out.

    Args:
        path: of the file, which is replaced; its ending says the format.
        model: a built model, masked or plain, with inputs of float or integer numbers.
        values: how weights are stored: `float32`; in LiteRT files also `float16` or `int8`, whose activations stay
            float32 (dynamic range).
        compacted: whether to remove what pruning has cut off, see `compact`; of subclassed models nothing is.
        batch_size: examples of each call; None for any number, which LiteRT does not do with recurrent layers. Files
            for Keras take any number.

    Raises:
        ValueError: for another ending, values that the format does not have, a backend that Keras does not export
            it on, or a model that is not built.
        ModuleNotFoundError: without the packages of the extra `litert` or `onnx`.
        RuntimeError: if the runtime's outputs differ from the model's; the file is removed.

    Example:
        >>> pruned = lth.prune(model, 0.5, pattern="channels")
        >>> lth.export_model("model.tflite", pruned, values="int8")
    """
    path = Path(path)
    form = FORMATS.get(path.suffix)
    if form is None:
        raise ValueError(f"Expected a path that ends in {' or '.join(FORMATS)}. Received: {path.name!r}.")
    one_of("values", values, tuple(VALUES))
    if values not in form.values:
        raise ValueError(f"Expected values={form.values[0]!r} in a {path.suffix} file. Received: {values!r}.")
    _check(form, path, model)
    size = None if batch_size is None else integer("batch_size", batch_size, 1)
    plain = strip_masks(model) if any(isinstance(layer, MaskedLayer) for _, layer in walk(model)) else model
    smaller = compact(plain) if compacted and has_graph(plain) else plain
    written = path.with_name(f"{path.stem}.partial{path.suffix}")
    compared = list(_expected(smaller, plain, (1, 3) if size is None else (size,)))
    try:
        own = {type(layer).__name__: type(layer) for _, layer in walk(plain)}
        with keras.saving.custom_object_scope(own):
            form.write(str(written), smaller, values, size)
            run = form.load(str(written), [one.name for one in plain.inputs])
        for x, expected in compared:
            _compare(expected, run(x), values, path.name)
        os.replace(written, path)
    finally:
        written.unlink(missing_ok=True)


def _check(form: Format, path: Path, model: Any) -> None:
    if not isinstance(model, keras.Model) or not model.built or not model.inputs:
        raise ValueError(
            f"Expected a built model with known inputs. Received: {type(model).__name__}. Call it once on a batch; a "
            "subclassed model is exported inside keras.Model(inputs, own(inputs))."
        )
    if keras.backend.backend() not in form.backends:
        raise ValueError(
            f"Expected KERAS_BACKEND to be {' or '.join(form.backends)} to write {path.suffix} files. Received: "
            f"{keras.backend.backend()!r}. Save the model as .keras, and export it in a process with another backend."
        )
    missing = [name for name in form.packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(
            f"Expected {' and '.join(missing)} to be installed for {path.suffix} files. Received: no such module. "
            f"Install them with: pip install 'lth_keras[{form.extra}]'."
        )


def _expected(smaller: keras.Model, model: keras.Model, batches: Sequence[int]) -> Iterator[tuple[Outputs, Outputs]]:
    """Random inputs, and a model's outputs. Calls the smaller one, too, as Keras exports none that was never called."""
    generator = np.random.default_rng(0)
    for batch in batches:
        x = [_random(one, batch, generator) for one in model.inputs]
        given = tuple(x) if len(x) > 1 else x[0]
        smaller(as_called(smaller, given), training=False)
        made = keras.tree.flatten(model(as_called(model, given), training=False))
        yield x, [np.asarray(keras.ops.convert_to_numpy(y)) for y in made]


def _compare(expected: Outputs, found: Outputs, values: str, name: str) -> None:
    """Raises RuntimeError if a runtime's outputs are not the model's."""
    for one, other in zip(expected, found, strict=True):
        difference = float(np.abs(one - other).max()) if one.shape == other.shape else np.inf
        largest = max(float(np.abs(one).max()), 1e-6)
        if not difference <= VALUES[values] * largest:
            raise RuntimeError(
                f"Expected outputs of {name} that differ from the model's by at most {VALUES[values]:g} of the "
                f"largest, {largest:.3g}, with values={values!r}. Received: {difference:.3g}. The file was removed."
            )


def _random(tensor: Any, batch: int, generator: np.random.Generator) -> np.ndarray:
    """A batch of random inputs; integers are 0 or 1, which every table has."""
    shape = (batch, *(size or 8 for size in tensor.shape[1:]))
    if "float" in str(tensor.dtype):
        return generator.normal(size=shape).astype(tensor.dtype)
    if "int" in str(tensor.dtype):
        return generator.integers(0, 2, shape).astype(tensor.dtype)
    raise ValueError(f"Expected inputs of float or integer numbers. Received: {tensor.name!r} of {tensor.dtype}.")


def _signature(model: keras.Model, batch_size: int | None) -> list[Any]:
    def spec(one: Any) -> keras.InputSpec:
        return keras.InputSpec(dtype=one.dtype, shape=(batch_size, *one.shape[1:]), name=one.name)

    return [keras.tree.map_structure(spec, model.inputs[0] if isinstance(model, keras.Sequential) else model.input)]


def _write_litert(path: str, model: keras.Model, values: str, batch_size: int | None) -> None:
    import tensorflow as tf

    options: dict[str, Any] = {}
    if values != "float32":
        options["optimizations"] = [tf.lite.Optimize.DEFAULT]
    if values == "float16":
        options["target_spec"] = {"supported_types": [tf.float16]}
    signature = _signature(model, batch_size)
    model.export(path, format="litert", verbose=False, input_signature=signature, **options)


def _load_litert(path: str, names: list[str]) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    run_signature = Interpreter(path).get_signature_runner()
    given = run_signature.get_input_details()

    def run(x: Sequence[np.ndarray]) -> Outputs:
        named = dict(zip(given if len(x) == 1 else names, x, strict=True))
        try:
            outputs = run_signature(**named)
        except RuntimeError as error:
            raise RuntimeError(
                "Expected operations that LiteRT has. Received, as with recurrent layers and batches of any size: "
                f"{str(error).splitlines()[0]} Give batch_size, such as 1."
            ) from error
        return [np.asarray(outputs[name]) for name in sorted(outputs, key=lambda name: (len(name), name))]

    return run


def _write_onnx(path: str, model: keras.Model, values: str, batch_size: int | None) -> None:
    model.export(path, format="onnx", verbose=False, input_signature=_signature(model, batch_size))


def _load_onnx(path: str, names: list[str]) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    given = [one.name for one in session.get_inputs()]
    return lambda x: [np.asarray(y) for y in session.run(None, dict(zip(given, x, strict=True)))]


def _write_keras(path: str, model: keras.Model, values: str, batch_size: int | None) -> None:
    if model.compiled and has_graph(model):  # the optimizer's moments are twice its weights
        weights, model = model.get_weights(), type(model).from_config(model.get_config())
        model.set_weights(weights)
    model.save(path)


def _load_keras(path: str, names: list[str]) -> Run:
    model = keras.saving.load_model(path, compile=False, safe_mode=False)  # it was written a moment ago

    def run(x: Sequence[np.ndarray]) -> Outputs:
        outputs = model(as_called(model, tuple(x) if len(x) > 1 else x[0]), training=False)
        return [np.asarray(keras.ops.convert_to_numpy(y)) for y in keras.tree.flatten(outputs)]

    return run


FORMATS = {
    ".keras": Format("", (), ("tensorflow", "jax", "torch"), ("float32",), _write_keras, _load_keras),
    ".tflite": Format(
        "litert", ("ai_edge_litert",), ("tensorflow",), ("float32", "float16", "int8"), _write_litert, _load_litert
    ),
    ".onnx": Format("onnx", ("tf2onnx", "onnxruntime"), ("tensorflow",), ("float32",), _write_onnx, _load_onnx),
}
"""Formats by the ending of a path."""
