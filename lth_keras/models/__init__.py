"""Architectures of the papers, as plain Keras models."""

from lth_keras.models.lenet import lenet_300_100

__all__ = ["lenet_300_100"]
