"""A search of a subclassed model, inside a Functional one."""

import keras
import numpy as np
import pytest

from lth_keras.masking import get_mask
from lth_keras.search import TicketSearch
from tests import tiny


@keras.saving.register_keras_serializable("tests")
class Own(keras.Model):
    """Two layers that its own code connects."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.hidden, self.last = keras.layers.Dense(16, "relu"), keras.layers.Dense(3, "softmax")

    def call(self, x):
        return self.last(self.hidden(x))


def functional():
    x = keras.Input((8,))
    return keras.Model(x, Own(name="own")(x))


def subclassed():
    model = Own()
    model(np.zeros((1, 8)))
    return model


def search(build):
    return TicketSearch(
        build=build,
        data=tiny.data,
        optimizer=lambda: keras.optimizers.Adam(0.01),
        loss="sparse_categorical_crossentropy",
        levels=1,
        rates=0.5,
        steps=20,
        batch_size=20,
        name="subclassed",
    )


@pytest.mark.filterwarnings("ignore:`build:UserWarning")
def test_a_subclassed_model_is_searched_inside_a_functional_one(tmp_path):
    run = search(functional).run(trials=1, out=tmp_path, branches=("winning_ticket",))
    ticket = run.ticket(trial=0, level=1)
    assert get_mask(ticket).densities() == {"own/dense/kernel": 0.5, "own/dense_1/kernel": 0.5}
    kernel = keras.ops.convert_to_numpy(ticket.get_layer("own").hidden.kernel)
    assert (kernel[~get_mask(ticket)["own/dense/kernel"]] == 0).all()


@pytest.mark.filterwarnings("ignore:`build:UserWarning")
def test_alone_it_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(ValueError, match=r"Received: Own. Make one of it: x = keras.Input\(shape\)"):
        search(subclassed).run(trials=1, out=tmp_path, branches=("winning_ticket",))
