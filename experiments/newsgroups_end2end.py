"""Newsgroups-End2End on 20 Newsgroups: tickets among 293.9 million weights (Unverzagt, 2020, chapter 7)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from experiments.command import Length, Options, main
from experiments.described import weight_notes, weights_by_kind

if TYPE_CHECKING:
    from lth_keras.models import LayerSize
    from lth_keras.search.search import TicketSearch
    from lth_keras.storage import Facts

DOCUMENTS = 11_314
"""Documents of the data's own training split, validation documents included."""

THESIS_SIZES = {"tokens": 200, "dimension": 300}

Cadence = Annotated[int | None, tyro.conf.arg(metavar="INT")]


@dataclass(frozen=True)
class Config(Options):
    """Winning tickets in Newsgroups-End2End on 20 Newsgroups, as in Unverzagt's thesis of 2020.

    The first 200 known words of 10,183 / 1,131 / 7,532 documents; 16 branches, each with an embedding of 61,188 x 300
    and a convolution over 1 to 22 words; Adam, batches of 60; every level prunes 20% of the weights that are left in
    each embedding by magnitude, 15% in each convolution and 20% in the output layer, and rewinds the rest to their
    initial values. Defaults are those of the thesis' text, but for the validation split and the controls; its code
    made masks of the initial weights. `--validation 0` trains without a validation split, as the thesis did.
    A short run on real data: --levels 1 --epochs 1 --branches winning_ticket.
    """

    trials: int = 1
    """Number of trials: whole searches, each with its own seed. More extend the run. One takes hours on two cores: 11
    trainings of the dense network and the winning ticket, and 10 of each control."""
    levels: int = 10
    """Number of prunings; level 0 is the dense network, so one training more. More extend the run."""
    steps: Length = None
    """Optimiser updates per training."""
    epochs: Length = 10
    """Passes over the training examples per training, in full batches. Instead of --steps."""
    evaluate_every: Cadence = None  # type: ignore[assignment]  # wider than in other experiments
    """Steps between evaluations on the validation split, which decide the early-stop step. Default: an epoch."""
    test_every: Cadence = None  # type: ignore[assignment]
    """Steps between evaluations on the test split: as --evaluate-every, its default, since no copy of the best
    weights is kept. They decide nothing."""
    fresh_graphs: bool = True
    """Every training in a process of its own that builds its own graph and ends, so that its memory goes back whole.
    The same bits."""
    learning_rate: float = 1e-3
    """Adam's learning rate."""
    embedding_rate: float = 0.2
    """Share of the remaining weights of an embedding that a level prunes."""
    conv_rate: float = 0.15
    """The same for a convolution."""
    output_rate: float = 0.2
    """The same for the output layer."""
    validation: int = 1_131
    """Documents taken out of the 11,314 training documents for validation. 0 trains on all of them, as the thesis did:
    then nothing decides an early stop, and the last step is reported as such."""
    tokens: int = 200
    """Known words of a document that are kept, from its start. Others than the thesis' 200 are another model."""
    dimension: int = 300
    """Columns of each embedding. Fewer than the thesis' 300 are another, smaller model, to try things out."""
    remove_footers: bool = False
    """Leave out what looks like a signature."""
    remove_quotes: bool = False
    """Leave out quotations of other postings."""
    vocabulary: Literal["published", "training"] | None = None
    """Which words are numbered: the 61,188 published ones without the last, or the most frequent ones of the training
    documents. Default: the published ones where they can be had."""

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in the training documents.

        Raises:
            ValueError: where there is not one.
        """
        documents = DOCUMENTS - self.validation
        if self.validation < 0 or not 1 <= self.batch_size <= documents:
            raise ValueError(
                f"Expected --validation of 0 or more, and at least one batch in the {DOCUMENTS:,} documents without "
                f"those. Received: --validation {self.validation} --batch-size {self.batch_size}."
            )
        return documents // self.batch_size

    @property
    def rates(self) -> dict[str, float]:
        """Share pruned per level, by kind of layer."""
        return {"embedding": self.embedding_rate, "conv": self.conv_rate, "output": self.output_rate}

    def sizes(self) -> list[LayerSize]:
        """The layers of the model."""
        from lth_keras.models import newsgroups_end2end_sizes

        return newsgroups_end2end_sizes(tokens=self.tokens, dimension=self.dimension)

    def identity(self) -> dict[str, Any]:
        """The parameters, which vocabulary there is, and the weights by kind."""
        return {**super().identity(), **self._vocabulary, "weights": weights_by_kind(self.sizes())}

    @cached_property
    def _vocabulary(self) -> dict[str, Any]:
        """Found once: it may warn, or ask the network. The same as the provenance of the data."""
        from datasets.newsgroups import WORDS
        from datasets.newsgroups_vocabulary import find_vocabulary

        found = find_vocabulary(self.vocabulary, WORDS)
        provenance = {"vocabulary_source": found.source, "vocabulary": found.description}
        return {"vocabulary": found.source, "provenance": provenance}

    def training(self) -> dict[str, str]:
        """How it is trained, for people."""
        validation = f"{self.validation:,}" if self.validation else "none (the last step is reported as early stop)"
        return {
            "length of a training": self.length,
            "steps per epoch": f"{self.steps_per_epoch:,}",
            "batch size": str(self.batch_size),
            "training documents": f"{DOCUMENTS - self.validation:,}",
            "validation documents": validation,
            "loss": "sparse categorical cross-entropy",
            "optimiser": f"Adam, learning rate {self.learning_rate:g}",
            "criterion": self.criterion,
        }

    def notes(self) -> Iterable[str]:
        """Weights by kind, the vocabulary, and where this is not what the thesis did, or cannot be what others do."""
        yield from weight_notes(self.sizes())
        yield f"vocabulary: {self._vocabulary['provenance']['vocabulary']}"
        other = {name: getattr(self, name) for name in THESIS_SIZES if getattr(self, name) != THESIS_SIZES[name]}
        if other:
            yield f"NOT the thesis' model: {other} instead of { ({name: THESIS_SIZES[name] for name in other}) }"
        if self.validation == 0:
            yield (
                f"no validation split: trains on all {DOCUMENTS:,} documents, and what is reported as early stop is "
                "the last step"
            )

    def facts(self) -> Facts:
        """Steps of an epoch, the kind of each weight, and how long the documents are."""
        from datasets import newsgroups
        from lth_keras.storage import DocumentLengths, Facts

        places = {"embedding": "embeddings", "conv": "kernel", "output": "kernel"}
        kinds = {f"{layer.name}/{places[layer.kind]}": layer.kind for layer in self.sizes() if layer.kind}
        lengths = newsgroups.lengths(
            remove_footers=self.remove_footers,
            remove_quotes=self.remove_quotes,
            vocabulary=self._vocabulary["vocabulary"],
        )
        return Facts(self.steps_per_epoch, kinds, DocumentLengths(lengths._asdict(), cut_off=self.tokens))


def make_search(config: Config, threads: int) -> TicketSearch:
    """The search with these parameters."""
    import keras

    from datasets import newsgroups
    from lth_keras.models import newsgroups_end2end
    from lth_keras.search.search import TicketSearch

    evaluate_every = config.steps_per_epoch if config.evaluate_every is None else config.evaluate_every
    test_every = evaluate_every if config.test_every is None else config.test_every
    cadences = {"evaluate_every": evaluate_every, "test_every": test_every}
    identity = config.identity()
    return TicketSearch(
        build=lambda: newsgroups_end2end(newsgroups.ROWS, tokens=config.tokens, dimension=config.dimension),
        data=lambda seed: newsgroups.load(
            seed=seed,
            validation=config.validation,
            tokens=config.tokens,
            remove_footers=config.remove_footers,
            remove_quotes=config.remove_quotes,
            vocabulary=identity["vocabulary"],
        ),
        optimizer=lambda: keras.optimizers.Adam(config.learning_rate),
        loss="sparse_categorical_crossentropy",
        rates=config.rates,
        name="newsgroups_end2end",
        **{**config.search_arguments(threads), **cadences},
    )


if __name__ == "__main__":
    main(Config, make_search, "newsgroups_end2end")
