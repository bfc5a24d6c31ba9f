"""Kim's convolutional network on Reuters-21578: tickets in a multi-label task, pruned with their embedding."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

import tyro

from experiments.command import Length, Options, main
from experiments.described import weight_notes, weights_by_kind

if TYPE_CHECKING:
    from datasets import Splits
    from lth_keras.models import LayerSize
    from lth_keras.search.search import TicketSearch


class Size(NamedTuple):
    """Of a group of categories in the ModApte split."""

    classes: int
    train: int
    test: int


SIZES = {"R(10)": Size(10, 6_490, 2_545), "R(90)": Size(90, 7_770, 3_019), "R(115)": Size(115, 7_775, 3_019)}
"""What each group has, as published (Debole & Sebastiani, 2005)."""
ALL_DOCUMENTS = (9_603, 3_299)
"""Training and test documents with those of no category."""

Group = Literal["R(10)", "R(90)", "R(115)", "10", "90", "115"]
Cadence = Annotated[int | None, tyro.conf.arg(metavar="INT")]


@dataclass(frozen=True)
class Config(Options):
    """Winning tickets in Kim's convolutional network (2014) on Reuters-21578: any number of topics a document.

    The first 200 known words of 6,993 / 777 / 3,019 documents of R(90); one embedding of 20,001 x 300, convolutions
    over 3, 4 and 5 words of 100 features each, their maxima, dropout, and a sigmoid for each of 90 categories; binary
    cross-entropy, Adam, batches of 50. Every level prunes 20% of the weights that are left in the embedding by
    magnitude, 15% in each convolution and 10% in the output layer, and rewinds the rest to their initial values. It is
    measured by micro-F1. Sizes, batches and dropout are Kim's; he has Adadelta, and limits the norm
    of the output's weights.
    A short run on real data: --levels 1 --epochs 2 --branches winning_ticket.
    """

    metric: ClassVar[str] = "micro-F1"

    trials: int = 3
    """Number of trials: whole searches, each with its own seed. More extend the run."""
    levels: int = 11
    """Number of prunings; level 0 is the dense network, so one training more. More extend the run. 11 leave 9%."""
    steps: Length = None
    """Optimiser updates per training."""
    epochs: Length = 15
    """Passes over the training examples per training, in full batches. Instead of --steps. The dense network has its
    least validation loss after 6 or so."""
    batch_size: int = 50
    """Examples per step."""
    evaluate_every: Cadence = None  # type: ignore[assignment]  # wider than in other experiments
    """Steps between evaluations on the validation split, which decide the early-stop step. Default: an epoch."""
    test_every: Cadence = None  # type: ignore[assignment]
    """Steps between evaluations on the test split: as --evaluate-every, its default, since no copy of the best
    weights is kept. They decide nothing."""
    group: Group = "R(90)"
    """Categories: the ten with the most training documents, those with a training and a test document, or those with a
    training document. 90 is R(90)."""
    keep_negatives: bool = False
    """Keep the documents of none of the group's categories, among all 9,603 / 3,299."""
    validation: float = 0.1
    """Share of the training documents taken out for validation. 0 trains on all of them: then nothing decides an early
    stop, and the last step is reported as such."""
    tokens: int = 200
    """Known words of a document that are kept, from its start."""
    words: int = 20_000
    """Words that are known: the most frequent ones of the training documents."""
    dimension: int = 300
    """Columns of the embedding."""
    filters: int = 100
    """Features of each convolution."""
    dropout: float = 0.5
    """Share of the maxima dropped in training."""
    learning_rate: float = 2e-3
    """Adam's learning rate: of 1, 2 and 3e-3 that with the least validation loss and the most validation micro-F1."""
    embedding_rate: float = 0.2
    """Share of the remaining weights of the embedding that a level prunes."""
    conv_rate: float = 0.15
    """The same for a convolution."""
    output_rate: float = 0.1
    """The same for the output layer. Half of the embedding's, as in the lottery ticket paper: rare categories have few
    documents to learn their 300 weights from."""

    def __post_init__(self) -> None:
        """Gives the group its full name.

        Raises:
            ValueError: where there is no such group, or as `Options`.
        """
        from datasets.reuters_groups import check_group

        super().__post_init__()
        group = str(self.group)
        object.__setattr__(self, "group", check_group(f"R{group}" if group.isdigit() else group))

    @property
    def size(self) -> Size:
        """Categories and documents of the group, validation documents included."""
        size = SIZES[self.group]
        return Size(size.classes, *ALL_DOCUMENTS) if self.keep_negatives else size

    @property
    def held_out(self) -> int:
        """Validation documents."""
        return round(self.validation * self.size.train)

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in the training documents.

        Raises:
            ValueError: where there is not one.
        """
        documents = self.size.train - self.held_out
        if not 0 <= self.validation < 1 or not 1 <= self.batch_size <= documents:
            raise ValueError(
                f"Expected --validation in [0, 1), and at least one batch in the {self.size.train:,} documents without "
                f"those. Received: --validation {self.validation} --batch-size {self.batch_size}."
            )
        return documents // self.batch_size

    @property
    def rates(self) -> dict[str, float]:
        """Share pruned per level, by kind of layer."""
        return {"embedding": self.embedding_rate, "conv": self.conv_rate, "output": self.output_rate}

    @property
    def shape(self) -> dict[str, int]:
        """What the model is built with, beside dropout.

        Raises:
            ValueError: where no word is known.
        """
        if self.words < 1:
            raise ValueError(f"Expected --words of at least 1. Received: {self.words}.")
        sizes = {name: getattr(self, name) for name in ("dimension", "tokens", "filters")}
        return {"words": self.words + 1, "classes": self.size.classes, **sizes}

    def sizes(self) -> list[LayerSize]:
        """The layers of the model."""
        from lth_keras.models import reuters_cnn_sizes

        return reuters_cnn_sizes(**self.shape)

    def identity(self) -> dict[str, Any]:
        """The parameters, and the weights by kind."""
        return {**super().identity(), "weights": weights_by_kind(self.sizes())}

    def load(self, seed: int) -> Splits:
        """The documents of a trial.

        Raises:
            ValueError: where they have other categories than the group.
            DataUnavailable: where they cannot be had, or are damaged.
        """
        from datasets import reuters

        names = ("group", "validation", "tokens", "words", "keep_negatives")
        splits = reuters.load(seed=seed, **{name: getattr(self, name) for name in names})
        if len(splits.classes) != self.size.classes:
            raise ValueError(
                f"Expected the {self.size.classes} categories of {self.group}. Received: {len(splits.classes)} in "
                f"{splits.provenance['read_from']}, which is another Reuters than Distribution 1.0."
            )
        return splits

    def training(self) -> dict[str, str]:
        """How it is trained, for people."""
        held_out = f"{self.held_out:,}" if self.held_out else "none (the last step is reported as early stop)"
        return {
            "length of a training": self.length,
            "steps per epoch": f"{self.steps_per_epoch:,}",
            "batch size": str(self.batch_size),
            "categories": f"{self.size.classes}, {self.group}",
            "training documents": f"{self.size.train - self.held_out:,}",
            "validation documents": held_out,
            "test documents": f"{self.size.test:,}",
            "loss": "binary cross-entropy",
            "metric": "micro-F1",
            "optimiser": f"Adam, learning rate {self.learning_rate:g}",
            "dropout": f"{100 * self.dropout:g}%",
            "criterion": self.criterion,
        }

    def notes(self) -> Iterable[str]:
        """Weights by kind, documents, categories and vocabulary, and what is measured."""
        size, held_out = self.size, self.held_out
        yield from weight_notes(self.sizes())
        yield (
            f"documents of {self.group}: {size.train - held_out:,} to train on, {held_out:,} for validation, "
            f"{size.test:,} to test on; {size.classes} categories"
        )
        yield f"vocabulary: the {self.words:,} most frequent words of all {ALL_DOCUMENTS[0]:,} training documents"
        yield "multi-label: what is measured is micro-F1"
        if not held_out:
            yield "no validation split: what is reported as early stop is the last step"


def make_search(config: Config, threads: int) -> TicketSearch:
    """The search with these parameters."""
    import keras

    from lth_keras.models import reuters_cnn
    from lth_keras.search.search import TicketSearch

    evaluate_every = config.steps_per_epoch if config.evaluate_every is None else config.evaluate_every
    test_every = evaluate_every if config.test_every is None else config.test_every
    cadences = {"evaluate_every": evaluate_every, "test_every": test_every}
    return TicketSearch(
        build=lambda: reuters_cnn(**config.shape, dropout=config.dropout),
        data=config.load,
        optimizer=lambda: keras.optimizers.Adam(config.learning_rate),
        loss="binary_crossentropy",
        rates=config.rates,
        name="reuters",
        **{**config.search_arguments(threads), **cadences},
    )


if __name__ == "__main__":
    main(Config, make_search, "reuters")
