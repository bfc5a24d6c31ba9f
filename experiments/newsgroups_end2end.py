"""Newsgroups-End2End on 20 Newsgroups: tickets among 293.9 million weights (Unverzagt, 2020, chapter 7)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from experiments.command import Length, main
from experiments.texts import Texts

if TYPE_CHECKING:
    from lth_keras.models import LayerSize
    from lth_keras.search.search import TicketSearch
    from lth_keras.storage import Facts

THESIS_SIZES = {"tokens": 200, "dimension": 300}


@dataclass(frozen=True)
class Config(Texts):
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
    epochs: Length = 10
    fresh_graphs: bool = True
    """Every training in a process of its own that builds its own graph and ends, so that its memory goes back whole.
    The same bits."""
    output_rate: float = 0.2
    validation: int = 1_131
    """Documents taken out of the 11,314 training documents for validation. 0 trains on all of them, as the thesis did:
    then nothing decides an early stop, and the last step is reported as such."""
    remove_footers: bool = False
    """Leave out what looks like a signature."""
    remove_quotes: bool = False
    """Leave out quotations of other postings."""
    vocabulary: Literal["published", "training"] | None = None
    """Which words are numbered: the 61,188 published ones without the last, or the most frequent ones of the training
    documents. Default: the published ones where they can be had."""

    documents = 11_314
    held_out = property(lambda self: self.validation)

    def sizes(self) -> list[LayerSize]:
        """The layers of the model."""
        from lth_keras.models import newsgroups_end2end_sizes

        return newsgroups_end2end_sizes(tokens=self.tokens, dimension=self.dimension)

    def identity(self) -> dict[str, Any]:
        """The parameters, which vocabulary there is, and the weights by kind."""
        return {**super().identity(), **self._vocabulary}

    @cached_property
    def _vocabulary(self) -> dict[str, Any]:
        """Found once: it may warn, or ask the network. The same as the provenance of the data."""
        from datasets.newsgroups import WORDS
        from datasets.newsgroups_vocabulary import find_vocabulary

        found = find_vocabulary(self.vocabulary, WORDS)
        provenance = {"vocabulary_source": found.source, "vocabulary": found.description}
        return {"vocabulary": found.source, "provenance": provenance}

    def reading(self) -> dict[str, Any]:
        """How documents are read, as `datasets.newsgroups` takes it."""
        removed = {name: getattr(self, name) for name in ("remove_footers", "remove_quotes")}
        return {**removed, "vocabulary": self._vocabulary["vocabulary"]}

    def notes(self) -> Iterable[str]:
        """Weights by kind, the vocabulary, and where this is not what the thesis did, or cannot be what others do."""
        yield from super().notes()
        yield f"vocabulary: {self._vocabulary['provenance']['vocabulary']}"
        other = {name: getattr(self, name) for name in THESIS_SIZES if getattr(self, name) != THESIS_SIZES[name]}
        if other:
            yield f"NOT the thesis' model: {other} instead of { ({name: THESIS_SIZES[name] for name in other}) }"

    def facts(self) -> Facts:
        """Steps of an epoch, the kind of each weight, and how long the documents are."""
        from datasets import newsgroups
        from lth_keras.storage import DocumentLengths, Facts

        places = {"embedding": "embeddings", "conv": "kernel", "output": "kernel"}
        kinds = {f"{layer.name}/{places[layer.kind]}": layer.kind for layer in self.sizes() if layer.kind}
        lengths = newsgroups.lengths(**self.reading())
        return Facts(self.steps_per_epoch, kinds, DocumentLengths(lengths._asdict(), cut_off=self.tokens))


def make_search(config: Config, threads: int) -> TicketSearch:
    """The search with these parameters."""
    from datasets import newsgroups
    from lth_keras.models import newsgroups_end2end

    sizes = {"tokens": config.tokens, "dimension": config.dimension}
    data = {"validation": config.validation, "tokens": config.tokens, **config.reading()}
    return config.search(
        "newsgroups_end2end",
        lambda: newsgroups_end2end(newsgroups.ROWS, **sizes),
        lambda seed: newsgroups.load(seed=seed, **data),
        threads,
    )


if __name__ == "__main__":
    main(Config, make_search, "newsgroups_end2end")
