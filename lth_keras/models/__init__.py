"""Architectures of the papers, as plain Keras models."""

from lth_keras.models.conv import conv_2, conv_4, conv_6, vgg
from lth_keras.models.lenet import lenet_300_100
from lth_keras.models.newsgroups import LayerSize, newsgroups_end2end, newsgroups_end2end_sizes

__all__ = [
    "LayerSize",
    "conv_2",
    "conv_4",
    "conv_6",
    "lenet_300_100",
    "newsgroups_end2end",
    "newsgroups_end2end_sizes",
    "vgg",
]
