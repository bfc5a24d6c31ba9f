"""Newsgroups-End2End, a network of 293.9 million weights, on 20 Newsgroups (Unverzagt, 2020, chapter 7)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from experiments.command import main
from experiments.flags import Length
from experiments.texts import Texts

if TYPE_CHECKING:
    from lth_keras.models import LayerSize
    from lth_keras.search import TicketSearch
    from lth_keras.storage import Facts

THESIS_SIZES = {"tokens": 200, "dimension": 300}


@dataclass(frozen=True)
class Config(Texts):
    """Winning tickets in Newsgroups-End2End on 20 Newsgroups, as in Unverzagt's thesis of 2020.

    The first 200 known words of 10,183 / 1,131 / 7,532 documents; 16 parallel paths, each with an embedding of
    61,188 x 300 and a convolution over 1 to 22 words; Adam, batches of 60. Every level prunes 20% of the remaining
    weights of each embedding by magnitude, 15% of each convolution and 20% of the output layer, and rewinds the others
    to their initial values. Defaults are those of the thesis' text, except the validation split and the controls. The
    thesis' code computed masks from the initial weights. `--validation 0` trains without a validation split, as the
    thesis did. A short run: --levels 1 --epochs 1 --branches winning_ticket.
    """

    trials: int = 1
    """Number of trials. A larger number extends the run. A trial takes hours on two cores: 11 trainings of the dense
    network and the winning ticket, and 10 of each control."""
    levels: int = 10
    epochs: Length = 10
    fresh_graphs: bool = True
    """Run every training in a new process, so that all its memory is freed. Results are bit-identical."""
    output_rate: float = 0.2
    validation: int = 1_131
    """Validation documents, taken from the 11,314 training documents. 0 trains on all of them, as the thesis did; the
    last step is then reported as the early-stop step."""
    remove_footers: bool = False
    """Remove what looks like a signature."""
    remove_quotes: bool = False
    """Remove quotations of other postings."""
    vocabulary: Literal["published", "training"] | None = None
    """Vocabulary: the 61,188 published words without the last, or the most frequent words of the training documents.
    Default: the published words if they are here or can be downloaded."""

    documents = 11_314
    held_out = property(lambda self: self.validation)

    def sizes(self) -> list[LayerSize]:
        """The layers of the model."""
        from lth_keras.models import newsgroups_end2end_sizes

        return newsgroups_end2end_sizes(tokens=self.tokens, dimension=self.dimension)

    def identity(self) -> dict[str, Any]:
        """The parameters, the vocabulary and the weights by kind."""
        return {**super().identity(), **self._vocabulary}

    @cached_property
    def _vocabulary(self) -> dict[str, Any]:
        """Found once, since it may warn or use the network. Equals the provenance of the data."""
        from datasets.newsgroups import WORDS
        from datasets.newsgroups_vocabulary import find_vocabulary

        found = find_vocabulary(self.vocabulary, WORDS)
        provenance = {"vocabulary_source": found.source, "vocabulary": found.description}
        return {"vocabulary": found.source, "provenance": provenance}

    def reading(self) -> dict[str, Any]:
        """Arguments of `datasets.newsgroups`."""
        removed = {name: getattr(self, name) for name in ("remove_footers", "remove_quotes")}
        return {**removed, "vocabulary": self._vocabulary["vocabulary"]}

    def notes(self) -> Iterable[str]:
        """Weights by kind, the vocabulary, and differences from the thesis."""
        yield from super().notes()
        yield f"vocabulary: {self._vocabulary['provenance']['vocabulary']}"
        other = {name: getattr(self, name) for name in THESIS_SIZES if getattr(self, name) != THESIS_SIZES[name]}
        if other:
            yield f"NOT the thesis' model: {other} instead of { ({name: THESIS_SIZES[name] for name in other}) }"

    def facts(self) -> Facts:
        """Steps per epoch, the kind of each weight, and the documents' lengths."""
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
