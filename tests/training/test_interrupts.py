"""Ctrl-C in the middle of a compiled call."""

import os
import signal
import threading

import keras
import numpy as np
import pytest

from lth_keras.training.interrupts import uninterrupted
from tests.training.programs import make, perceptron, run, weights


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_heard_at_the_end(number):
    def handler(number, frame):
        raise KeyboardInterrupt(number)

    before = signal.signal(number, handler)
    reached = []
    try:
        with pytest.raises(KeyboardInterrupt), uninterrupted():
            os.kill(os.getpid(), number)
            reached.append(1)
        assert reached and signal.getsignal(number) is handler
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
            signal.pause()
    finally:
        signal.signal(number, before)


def test_errors_go_through_and_ignored_signals_stay_ignored():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with pytest.raises(ZeroDivisionError), uninterrupted():
            os.kill(os.getpid(), signal.SIGTERM)
            raise ZeroDivisionError
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_in_other_threads_nothing_happens():
    done = []

    def work():
        with uninterrupted():
            done.append(1)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [1]


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="only JAX takes the buffers of variables away")
def test_interrupted_within_a_call_the_weights_are_there():
    """The signal comes after the compiled call has taken the variables' buffers, before they have their new values."""
    model = perceptron()
    program = make(model)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    compiled = program._advance

    def interrupted(*arguments):
        result = compiled(*arguments)
        os.kill(os.getpid(), signal.SIGINT)
        return result

    program._advance = interrupted
    try:
        with pytest.raises(KeyboardInterrupt):
            run(program)
    finally:
        signal.signal(signal.SIGINT, before)
    assert all(np.isfinite(value).all() for value in weights(model))
    program._advance = compiled
    assert np.isfinite(run(program).test_loss[-1])
