"""What tests of commands have in common."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from lth_keras.training.network import Network
from tests import tiny
from tests.registered import register


@pytest.fixture(autouse=True)
def registered(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The figures of experiments, registered; the folder that goes on the path for it."""
    folder = register(tmp_path_factory.mktemp("installation"))
    monkeypatch.syspath_prepend(str(folder))
    return folder


@pytest.fixture(scope="session")
def network() -> Network:
    return tiny.make().network


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A command in this process: what it changes for the whole process is put back."""
    monkeypatch.setattr(
        "lth_keras.search.search.set_threads", lambda threads: None
    )  # TensorFlow has run: too late for it
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    yield
