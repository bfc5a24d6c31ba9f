"""Calls a compiled function in several threads."""

from __future__ import annotations

from threading import Thread
from typing import Any

import numba
import numpy as np

from lth_keras.training.engines.native.barriers import ABORTED, BARRIER, GENERATION


class Team:
    """Threads that run one function together.

    Args:
        threads: their number.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def __call__(self, function: Any, *arguments: Any) -> None:
        """Calls `function(thread, threads, barrier, *arguments)` in all threads and waits for them.

        The function releases Python's lock. Its threads may wait for each other at `barrier`, see `barriers.wait`.
        """
        barrier = np.zeros(BARRIER, np.int64)
        given = (self.threads, barrier, *arguments)
        if self.threads == 1:
            function(0, *given)
            return
        function.compile(tuple(map(numba.typeof, (0, *given))))  # raises errors here
        threads = [Thread(target=function, args=(i, *given)) for i in range(1, self.threads)]
        try:
            for thread in threads:
                thread.start()
            function(0, *given)
        except BaseException:  # e.g. from a signal handler: threads at a barrier must not wait forever
            barrier[GENERATION] = ABORTED
            raise
        finally:
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
