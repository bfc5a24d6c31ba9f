"""Signals in the middle of a compiled call, and where nothing could hear an exception of their handler."""

import gc
import os
import signal
import subprocess
import sys
import threading

import keras
import numpy as np
import pytest

from lth_keras.system import interrupts
from lth_keras.system.interrupts import Stopped, stopped_by_ctrl_c, stopped_by_signals, uninterrupted
from tests.few import few
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
def test_interrupted_within_a_call_the_weights_are_there(monkeypatch):
    """The signal comes after the compiled call has taken the variables' buffers, before they have their new values."""
    import jax

    jit, armed = jax.jit, [True]

    def compile_interrupted(function, **options):
        compiled = jit(function, **options)

        def call(*arguments):
            result = compiled(*arguments)
            if "donate_argnums" in options and armed:
                os.kill(os.getpid(), signal.SIGINT)
            return result

        return call

    model = perceptron()
    with monkeypatch.context() as patch:
        patch.setattr(jax, "jit", compile_interrupted)
        program = make(model)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(program)
    finally:
        signal.signal(signal.SIGINT, before)
    assert all(np.isfinite(value).all() for value in weights(model))
    armed.clear()
    assert np.isfinite(run(program).test_loss[-1])


@pytest.fixture
def default():
    """Signals as Python has them in a terminal, not ignored as in a shell's background."""
    usual = dict.fromkeys(interrupts.STOPPING, signal.SIG_DFL) | {signal.SIGINT: signal.default_int_handler}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        assert signal.signal(number, handler) == usual[number]


@pytest.mark.usefixtures("default")
@few("number", interrupts.STOPPING, signal.SIGTERM)
def test_a_signal_in_a_callback_that_drops_exceptions_is_raised_by_the_next_check(number):
    def collected(phase, information):
        if phase == "start":
            os.kill(os.getpid(), number)

    reached = []
    with pytest.raises(Stopped) as stopped, stopped_by_signals():
        gc.callbacks.append(collected)
        gc.collect()
        gc.callbacks.remove(collected)
        reached.append(1)
        interrupts.check()
        reached.append(2)
    assert reached == [1] and stopped.value.number == number and stopped.value.exit_code == 128 + number


@pytest.mark.usefixtures("default")
def test_a_signal_is_raised_once_and_at_the_latest_at_the_end():
    with pytest.raises(Stopped), stopped_by_signals():
        os.kill(os.getpid(), signal.SIGTERM)
    interrupts.check()
    with pytest.raises(ZeroDivisionError), stopped_by_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        raise ZeroDivisionError
    interrupts.check()


@pytest.mark.usefixtures("default")
def test_in_the_library_the_second_ctrl_c_interrupts_at_once(monkeypatch):
    monkeypatch.setattr(interrupts, "REPEATED", -1.0)
    with pytest.raises(KeyboardInterrupt) as error, stopped_by_ctrl_c():
        os.kill(os.getpid(), signal.SIGINT)
        with uninterrupted():
            os.kill(os.getpid(), signal.SIGINT)
            signal.pause()
    assert not isinstance(error.value, Stopped)
    interrupts.check()


@pytest.mark.usefixtures("default")
def test_handlers_of_others_and_ignored_signals_stay():
    def own(number, frame):
        raise ZeroDivisionError

    for handler in (own, signal.SIG_IGN):
        signal.signal(signal.SIGINT, handler)
        with stopped_by_ctrl_c():
            assert signal.getsignal(signal.SIGINT) is handler
    with stopped_by_signals():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        with stopped_by_ctrl_c():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    signal.signal(signal.SIGINT, signal.default_int_handler)


TWICE = """
import os, signal
from lth_keras.system import interrupts
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
interrupts.REPEATED = -1.0
with interrupts.stopped_by_signals():
    os.kill(os.getpid(), signal.SIGHUP)
    print("first", flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    print("second", flush=True)
"""


def test_a_second_signal_ends_a_command_at_once():
    ended = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (128 + signal.SIGTERM, "first\n")
    assert "SIGHUP: stopping" in ended.stderr


def test_a_process_started_where_a_signal_is_blocked_never_gets_it_and_this_one_does():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    child = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    try:
        with pytest.raises(KeyboardInterrupt):
            with interrupts.blocked(signal.SIGINT):
                assert subprocess.check_output([sys.executable, "-c", child], text=True) == "True\n"
                os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait(60)  # another thread may be about to take it
    finally:
        signal.signal(signal.SIGINT, before)
