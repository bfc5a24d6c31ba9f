"""Every backend has what `Backend` says; the active one does it."""

from __future__ import annotations

import importlib
import inspect

import keras
import numpy as np
import pytest

from lth_keras.backends import BACKENDS, Backend, ProgramParts, backend
from lth_keras.backends.skipped import skipped
from lth_keras.masking import large_tables, mask_model, using_rows, variables
from lth_keras.training import make_metric
from tests.training.programs import BATCH, EVERY, LOSS, OPTIMIZERS, TEST, TRAIN, VALIDATION, order, perceptron

SPLITS = {"train": TRAIN, "validation": VALIDATION, "test": TEST}


def training(model: keras.Model) -> ProgramParts:
    return ProgramParts(
        model,
        OPTIMIZERS["adam"](),
        LOSS,
        list(variables(model).values()),
        batch_size=BATCH,
        evaluate_every=EVERY,
        evaluation_batch_size=7,
        metric=make_metric(LOSS, model.output_shape),
        jit_compile=backend().compiles,
    )


@pytest.mark.parametrize("name", BACKENDS)
def test_every_installed_backend_has_all_members(name: str) -> None:
    pytest.importorskip(name)
    kind = getattr(importlib.import_module(f"lth_keras.backends.{name}"), BACKENDS[name])
    for member in Backend.__annotations__:
        assert hasattr(kind, member), member
    for member, expected in inspect.getmembers(Backend, inspect.isfunction):
        if member.startswith("_"):
            continue
        asked, had = (inspect.signature(function).parameters for function in (expected, getattr(kind, member)))
        takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in had.values())
        assert takes_any or list(asked) == list(had), member


def test_the_active_backend_is_that_of_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(backend()).__name__ == BACKENDS[keras.backend.backend()] and backend() is backend()
    monkeypatch.setattr(keras.backend, "backend", lambda: "unknown")
    with pytest.raises(RuntimeError, match="Expected the Keras backend to be one of .* Received: 'unknown'"):
        backend()


def test_it_assigns_by_value() -> None:
    variable, values = keras.Variable(np.zeros((2, 3), np.float32)), np.ones((2, 3), np.float32)
    backend().assign(variable, values)
    values[:] = 7
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), np.ones((2, 3)))


def test_it_names_its_device() -> None:
    kind, free = backend().device()
    assert kind in ("cpu", "gpu", "tpu") and (free is None or free > 0)


@pytest.mark.parametrize("tickets", [1, 3])
def test_its_programs_train_and_measure_tickets(tickets: int) -> None:
    most = backend().most_tickets
    if most is not None and tickets > most:
        pytest.skip(f"it trains at most {most} at once")
    model = perceptron()
    program = backend().program(training(model), tickets)
    assert program.tickets == tickets and program.every == EVERY and program.capacity >= 1 and program.advice
    program.load([SPLITS])
    values = {id(variable): variable.numpy() for variable in model.variables}
    program.begin([values] * tickets, [0] * tickets, [0] * tickets)
    before = program.evaluate("validation").loss
    evaluations, first_bad = program.advance(np.stack([order().take(12)] * tickets), 0, 12)
    assert first_bad == [None] * tickets and [part.step.tolist() for part in evaluations] == [[5, 10, 12]] * tickets
    after = program.evaluate("validation", outputs=True)
    assert after.loss.shape == after.metric.shape == (tickets,) and after.outputs is not None
    assert after.outputs.shape == (tickets, len(VALIDATION[0]), 3) and (after.loss < before).all()
    np.testing.assert_allclose([part.validation_loss[-1] for part in evaluations], after.loss, rtol=1e-5)
    best = program.evaluate("validation", best=True).loss
    np.testing.assert_allclose(best, [part.validation_loss.min() for part in evaluations], rtol=1e-5)
    kernel = model.trainable_variables[0]
    trained = program.value(tickets - 1, kernel)
    assert (trained != values[id(kernel)]).any()
    program.begin([values] * tickets, [0] * tickets, [0] * tickets)
    np.testing.assert_array_equal(program.value(tickets - 1, kernel), values[id(kernel)])
    program.unload()


def test_its_program_by_rows_says_that_it_keeps_no_best_weights() -> None:
    layers = [keras.layers.Embedding(50, 4), keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(3, "softmax")]
    model = mask_model(keras.Sequential([keras.Input((6,), dtype="int32"), *layers]))
    made, tables = training(model), large_tables(model, at_least=1)
    rule = skipped(made.optimizer, [table.variable for table in tables])
    if not backend().trains_by_rows:
        with pytest.raises(NotImplementedError, match="Expected Keras on TensorFlow or JAX.*Received: torch"):
            backend().rowwise_program(made, tables, using_rows, rule)
        return
    program = backend().rowwise_program(made, tables, using_rows, rule)
    assert program.tickets == 1 and not program.keeps_best


def test_threads_cannot_change_once_it_has_run() -> None:
    keras.ops.zeros(1)
    threads = 0
    if keras.backend.backend() == "torch":
        import torch

        threads = torch.get_num_threads()
        backend().set_threads(threads + 1)  # it can
        assert torch.get_num_threads() == threads + 1
        backend().set_threads(threads)
        return
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        threads = tf.config.threading.get_intra_op_parallelism_threads()
        backend().set_threads(threads)
    with pytest.raises(RuntimeError, match="to be uninitialised"):
        backend().set_threads(threads + 1)
