"""Prints names of files, branches, layers and experiments safely: they may contain any character."""

from __future__ import annotations

import unicodedata
from typing import Any

import rich.table
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.text import Text


def printable(text: object) -> str:
    r"""The text with escapes for characters that control a terminal, change text direction, or cannot be encoded.

    An escape character becomes `\x1b`. Line ends, tabs and visible characters stay.
    """
    return "".join(
        one if one.isprintable() or one in "\n\t" or unicodedata.category(one) == "Zs" else ascii(one)[1:-1]
        for one in str(text)
    )


def plain(text: object, style: Any = "") -> Text:
    """The `printable` text for rich, without markup."""
    return Text(printable(text), style)


class Table(rich.table.Table):
    """A table of rich whose title, columns, cells and caption are plain text, see `plain`."""

    def add_column(self, header: RenderableType = "", footer: RenderableType = "", **options: Any) -> None:
        """See rich."""
        super().add_column(_plain(header), _plain(footer), **options)

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:
        """See rich."""
        super().add_row(*(cell if cell is None else _plain(cell) for cell in cells), **options)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The table's lines."""
        self.title = _plain(self.title, "table.title" if self.title_style is None else self.title_style)
        self.caption = _plain(self.caption, "table.caption" if self.caption_style is None else self.caption_style)
        yield from super().__rich_console__(console, options)


def _plain(content: Any, style: Any = "") -> Any:
    return plain(content, style) if isinstance(content, str) else content
