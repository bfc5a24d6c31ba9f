"""Times exported networks in the runtimes that serve them; imports none of them, nor Keras, before it measures."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lth_keras.system import peak_memory_bytes

BATCHES = (1, 64)
SECONDS, LEAST_CALLS = 1.0, 5
"""How long each batch size is timed, and for at least how many calls."""
WARM_UP = 0.25
"""Seconds of calls before."""
THREADS = 2
TICKET, SPARSE = "ticket file", "lth_keras.sparse_forward"
"""What is only stored, not run; and what runs it, if it is a chain of dense layers."""

Call = Callable[[np.ndarray], Any]


def serve(file: str, runtime: str, small: bool, folder: str) -> dict[str, float]:
    """Times a network's forward passes.

    Args:
        file: of the network, in the folder; the inputs and the expected outputs are beside it, as `served` writes them.
        runtime: one of `RUNTIMES`.
        small: whether to make a few calls only.
        folder: of all files.

    Returns:
        The median time of a forward pass by batch size, the size of the file, the process' peak memory, and the largest
        difference between its outputs and those of the masked Keras model.
    """
    path = Path(folder, file)
    size = (path if path.exists() else of_batch(path, BATCHES[0])).stat().st_size
    if runtime == TICKET:
        return {"file, MB": size / 1e6}
    with np.load(path.with_name(path.name.split(".")[0] + ".npz")) as expected:
        x, y = expected["x"], expected["y"]
    call = RUNTIMES[runtime](path)
    found = {f"ms, batch {batch}": milliseconds(call, x[:batch], small) for batch in BATCHES}
    found["file, MB"] = size / 1e6
    found["memory, MB"] = peak_memory_bytes() / 1e6
    found["largest difference"] = float(np.abs(np.asarray(call(x)) - y).max())
    return found


def of_batch(path: Path, batch: int) -> Path:
    """The file for one batch size, where the format needs one for each."""
    return path.with_name(path.name.replace("tflite", f"{batch}.tflite"))


def milliseconds(call: Call, x: np.ndarray, small: bool) -> float:
    """The median time of a call."""
    begin = time.perf_counter()
    call(x)
    while not small and time.perf_counter() - begin < WARM_UP:
        call(x)
    times: list[float] = []
    while len(times) < LEAST_CALLS or (not small and sum(times) < SECONDS):
        before = time.perf_counter()
        call(x)
        times.append(time.perf_counter() - before)
    return float(np.median(times)) * 1e3


def _keras(path: Path) -> Call:
    """A traced function of the model, which is Keras' fastest way: `predict` takes some milliseconds more a call."""
    import keras
    import tensorflow as tf

    model = keras.models.load_model(path)
    run = tf.function(lambda x: model(x, training=False))
    return lambda x: run(tf.constant(x)).numpy()


def _litert(path: Path) -> Call:
    """With its delegate XNNPACK, which it applies by itself. The model is allocated once for each batch size."""
    from ai_edge_litert.interpreter import Interpreter

    interpreters: dict[tuple[int, ...], Any] = {}

    def call(x: np.ndarray) -> np.ndarray:
        if x.shape not in interpreters:
            file = path if path.exists() else of_batch(path, len(x))
            made = Interpreter(str(file), num_threads=THREADS)
            made.resize_tensor_input(made.get_input_details()[0]["index"], x.shape)
            made.allocate_tensors()
            interpreters[x.shape] = made
        interpreter = interpreters[x.shape]
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))

    return call


def _onnx(path: Path) -> Call:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x})[0]


def _openvino(path: Path) -> Call:
    import openvino

    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_NUM_THREADS": THREADS})
    return lambda x: compiled([x])[0]


def _sparse(path: Path) -> Call:
    import lth_keras

    return lth_keras.sparse_forward(lth_keras.load_ticket(path))


RUNTIMES: dict[str, Callable[[Path], Call]] = {
    "Keras, dense": _keras,
    "Keras, compacted": _keras,
    "LiteRT": _litert,
    "LiteRT, int8": _litert,
    "ONNX Runtime": _onnx,
    "OpenVINO": _openvino,
    SPARSE: _sparse,
}
