"""Kim's convolutional network on Reuters-21578: tickets in a multi-label task, pruned with their embedding."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from datasets.reuters_groups import ALL_DOCUMENTS, SIZES, Size, check_classes, check_group
from experiments.command import main
from experiments.flags import Length
from experiments.texts import Texts

if TYPE_CHECKING:
    from datasets import Splits
    from lth_keras.models import LayerSize
    from lth_keras.search import TicketSearch


@dataclass(frozen=True)
class Config(Texts):
    """Winning tickets in Kim's convolutional network (2014) on Reuters-21578, a multi-label task.

    Data: the first 200 known words of 6,993 / 777 / 3,019 documents of R(90). Network: an embedding of 20,001 x 300;
    convolutions over 3, 4 and 5 words with 100 features each; global max pooling, dropout, a sigmoid for each of 90
    categories. Training: binary cross-entropy, Adam, batches of 50. Every level prunes 20% of the remaining weights of
    the embedding by magnitude, 15% of each convolution and 10% of the output layer, and rewinds the others to their
    initial values. Sizes, batches and dropout are Kim's; he uses Adadelta and limits the norm of the output weights. A
    short run: --levels 1 --epochs 2.
    """

    metric: ClassVar[str] = "micro-F1"
    loss: ClassVar[str] = "binary_crossentropy"

    trials: int = 3
    levels: int = 11
    epochs: Length = 15
    batch_size: int = 50
    group: Literal["R(10)", "R(90)", "R(115)", "10", "90", "115"] = "R(90)"
    """Categories: the ten with the most training documents, those with a training and a test document, or those with a
    training document. 90 is R(90)."""
    keep_negatives: bool = False
    """Keep documents without a category of the group: 9,603 / 3,299 documents in all."""
    validation: float = 0.1
    """Share of the training documents used for validation. 0: the last step is reported as the early-stop step."""
    words: int = 20_000
    """Size of the vocabulary: the most frequent words of the training documents."""
    filters: int = 100
    """Features of each convolution."""
    dropout: float = 0.5
    """Share of the maxima dropped in training."""
    learning_rate: float = 2e-3
    """Adam's learning rate. Of 1, 2 and 3e-3 it has the least validation loss and the highest validation micro-F1."""

    documents = property(lambda self: self.size.train)
    held_out = property(lambda self: round(self.validation * self.documents))

    def __post_init__(self) -> None:
        """Gives the group its full name; ValueError for an unknown group."""
        super().__post_init__()
        object.__setattr__(self, "group", check_group("R" * str(self.group).isdigit() + str(self.group)))

    @property
    def size(self) -> Size:
        """Categories and documents of the group, validation documents included."""
        return SIZES[self.group]._replace(**ALL_DOCUMENTS if self.keep_negatives else {})

    @property
    def shape(self) -> dict[str, int]:
        """The model's arguments but dropout; ValueError for an empty vocabulary."""
        if self.words < 1:
            raise ValueError(f"Expected --words of at least 1. Received: {self.words}.")
        sizes = {name: getattr(self, name) for name in ("dimension", "tokens", "filters")}
        return {"words": self.words + 1, "classes": self.size.classes, **sizes}

    def sizes(self) -> list[LayerSize]:
        """The layers of the model."""
        from lth_keras.models import reuters_cnn_sizes

        return reuters_cnn_sizes(**self.shape)

    def load(self, seed: int) -> Splits:
        """The documents of a trial; ValueError if their categories are not the group's."""
        from datasets import reuters

        names = ("group", "validation", "tokens", "words", "keep_negatives")
        splits = reuters.load(seed=seed, **{name: getattr(self, name) for name in names})
        return check_classes(splits, self.group, self.size.classes)

    def training(self) -> dict[str, str]:
        """The training's parameters for --describe."""
        return {
            **super().training(),
            "loss": "binary cross-entropy",
            "metric": self.metric,
            "categories": f"{self.size.classes}, {self.group}",
            "test documents": f"{self.size.test:,}",
            "dropout": f"{100 * self.dropout:g}%",
        }

    def notes(self) -> Iterable[str]:
        """Weights by kind, documents, categories, vocabulary and metric."""
        yield from super().notes()
        yield (
            f"documents of {self.group}: {self.documents - self.held_out:,} to train on, {self.held_out:,} for "
            f"validation, {self.size.test:,} to test on; {self.size.classes} categories"
        )
        yield f"vocabulary: the {self.words:,} most frequent words of all {ALL_DOCUMENTS['train']:,} training documents"
        yield "multi-label: the metric is micro-F1"


def make_search(config: Config, threads: int) -> TicketSearch:
    """The search with these parameters."""
    from lth_keras.models import reuters_cnn

    return config.search("reuters", lambda: reuters_cnn(**config.shape, dropout=config.dropout), config.load, threads)


if __name__ == "__main__":
    main(Config, make_search, "reuters")
