"""The error that every data set raises when its data are unavailable."""

from __future__ import annotations

WITHOUT_DATA = "What runs without it, on data that scikit-learn brings along: python -m experiments.digits_lenet_fcn"


class DataUnavailable(RuntimeError):
    """The data are not in the cache and cannot be downloaded, or the cache is damaged.

    The message states what was tried, which variable to set, and what runs without the data. An underlying error is its
    `__cause__`.

    Attributes:
        name, tried, remedy: the parts of the message.
    """

    def __init__(self, name: str, tried: str, remedy: str) -> None:
        """Write the message.

        Args:
            name: the data set.
            tried: what was tried and how it failed, one sentence.
            remedy: what to do about it, with the variable to set.
        """
        super().__init__(f"{name}: {tried}\n{remedy}\n{WITHOUT_DATA}")
        self.name = name
        self.tried = tried
        self.remedy = remedy
