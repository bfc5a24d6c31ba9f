"""What a training step needs, against sums written out."""

import keras
import pytest

from benchmarks import flop
from benchmarks.flop import dense_sizes, step_cost, training_flop
from lth_keras.models import conv_6, lenet_300_100, newsgroups_end2end


def test_the_cost_of_lenet_is_that_of_its_sizes():
    model = lenet_300_100()
    cost = step_cost(model, 60)
    assert cost.flop == training_flop(dense_sizes(model), 60) == 67_608_000
    # All weights, kernels and biases: gradients written and read, two slots read and written.
    assert cost.gradients == 2 * 4 * 266_610 and cost.slots == 4 * 4 * 266_610
    assert cost.masks == 2 * 266_200
    first = 784 * 300 + 300
    assert cost.weights == 4 * (4 * 266_610 - first)  # the first layer has no input gradient to read them for
    assert cost.activations == 4 * 60 * (4 * 784 + 5 * (300 + 100 + 10))


def test_a_convolution_is_a_product_at_every_place():
    inputs = keras.Input((6, 5, 3))
    hidden = keras.layers.Conv2D(4, (3, 2), padding="same")(inputs)
    outputs = keras.layers.Conv2D(2, 1)(keras.layers.MaxPooling2D(2)(hidden))
    cost = step_cost(keras.Model(inputs, outputs), 7)
    first, second = 2 * 7 * (6 * 5) * (3 * 2 * 3) * 4, 2 * 7 * (3 * 2) * 4 * 2
    assert cost.forward_flop == first + second
    assert cost.flop == 2 * first + 3 * second
    assert step_cost(conv_6(), 60).forward_flop == pytest.approx(60 * 306.8e6, rel=1e-2)


def test_an_embedding_costs_the_rows_that_are_used():
    model = newsgroups_end2end(500, dimension=4, tokens=40, classes=3)
    by_rows, dense = (step_cost(model, 60, rows) for rows in (20, None))
    assert by_rows.flop == dense.flop and by_rows.activations == dense.activations
    assert dense.gradients - by_rows.gradients == 2 * 4 * 16 * (500 - 20) * 4
    assert dense.masks - by_rows.masks == 2 * 16 * (500 - 20) * 4
    assert step_cost(model, 60, 10_000) == dense
    # Tables are below the convolutions, which therefore have input gradients.
    conv = 2 * 60 * sum(3 * 4 * width * (40 - width + 1) for width in range(1, 23, 3)) * 2
    assert by_rows.flop == 3 * (conv + 2 * 60 * 48 * 3)


def test_the_least_time_is_that_of_the_narrower_limit():
    cost = flop.StepCost(10, 30, 1, 2, 3, 4, 5)
    assert cost.bytes == 15
    assert cost.seconds(10, 100) == 3 and cost.seconds(100, 10) == 1.5


def test_costs_are_written_out():
    costs = {
        name: step_cost(build(), 60, rows) for name, (build, rows) in flop.networks().items() if "News" not in name
    }
    text = flop.markdown(costs)
    assert "| LeNet-300-100 | 67.6 | 3.3 | 2.1 | 4.3 | 0.5 | 1.2 | 11.5 | 5.9 |" in text
    assert len(text.splitlines()) == 2 + 4
