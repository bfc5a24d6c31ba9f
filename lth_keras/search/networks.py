"""The networks that a search trains, one for each engine, and whether its parameters go with them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from lth_keras.backends import Movable
from lth_keras.mask import Mask
from lth_keras.pruning import layouts_for
from lth_keras.search.cache import key_of
from lth_keras.search.start import given_of
from lth_keras.system import checked_build, clear_memory_errors, interrupts
from lth_keras.training import Network
from lth_keras.training.engines import AUTO, Schedule

if TYPE_CHECKING:
    from lth_keras.search.search import TicketSearch


class Networks:
    """The networks of a search in this process; variants with equal arguments share them through the search's cache.

    Args:
        search: the search.
    """

    def __init__(self, search: TicketSearch) -> None:
        self._search = search
        self._made: dict[str, Network] = {}

    def __bool__(self) -> bool:
        """Whether a network is built."""
        return bool(self._made)

    def of_engine(self, engine: str) -> Network:
        """The network of an engine, by its spelling; built at first use."""
        for made in self._made.values():
            if engine in (made.engine.spelling, AUTO):
                return made
        self._made[engine] = self._checked(self._shared(engine))
        return self._made[engine]

    def set_only(self, network: Network) -> None:
        """Takes a network that another search has built."""
        self._made = {network.engine.spelling: network}

    def _shared(self, engine: str) -> Network:
        search, training, networks = self._search, self._search.training, self._search.cache.networks
        arguments: dict[str, Any] = {
            "build": search.build,
            "optimizer": Movable(search.optimizer) if search.rewinding.moves_schedule else search.optimizer,
            "loss": search.loss,
            "batch_size": training.batch_size,
            "evaluate_every": training.evaluate_every,
            "test_every": training.test_every,
            "jit_compile": training.jit_compile,
            "engine": engine,
            "start": given_of(search.start),
            "exclude": search.pruning.exclude,
            "prune_frozen": search.pruning.prune_frozen,
            "metric": training.metric,
            "loss_weights": training.loss_weights,
        }
        key = key_of(arguments)
        if key not in networks:
            search.set_threads()
            with clear_memory_errors("the model and its optimiser"):
                build = checked_build(search.build, search.optimizer, search.processes)
                interrupts.check()
                networks[key] = Network(**{**arguments, "build": build})
            _warn_of_masks(networks[key])
            interrupts.check()
        return networks[key]

    def _checked(self, network: Network) -> Network:
        """The network; raises ValueError for parameters that do not go with it, before anything is trained."""
        search, plan = self._search, self._search.plan
        if not search.rewinding.is_whole:
            refusal = network.engine.refusal(network, Schedule(1, whole=False))
            if refusal is not None:
                raise ValueError(refusal)
        if plan.start is not None:
            network.mask.check_same_weights(plan.start)
        plan.density(0, network.kinds)  # raises for a kind without a rate
        if plan.pattern is not None:
            plan.check_pattern(search.levels, layouts_for(plan.pattern, network.model), network.kinds)
        if search.pruning.scope == "uniform" and search.levels:  # raises for a first layer that is too large
            plan.keep(search.levels, Mask.ones(network.mask.shapes), network.kinds)
        return network


def _warn_of_masks(network: Network) -> None:
    if network.mask.kept < network.mask.size:
        warnings.warn(
            f"Expected build to make a dense network, which a search starts from. Received: masks that keep "
            f"{network.mask.density:.1%} of the weights; the search does not use them. Pass them as "
            "Pruning(start_mask=get_mask(model)).",
            stacklevel=2,
        )
