"""Architectures of the papers, as plain Keras models."""

from lth_keras.models.lenet import lenet_300_100
from lth_keras.models.newsgroups import LayerSize, newsgroups_end2end, newsgroups_end2end_sizes

__all__ = ["LayerSize", "lenet_300_100", "newsgroups_end2end", "newsgroups_end2end_sizes"]
