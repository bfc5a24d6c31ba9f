"""Documents out of an SGML file of Reuters-21578, read strictly: a damaged tag must not move text or topics."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import NamedTuple

DOCTYPE = '<!DOCTYPE lewis SYSTEM "lewis.dtd">'
LISTS = ("TOPICS", "PLACES", "PEOPLE", "ORGS", "EXCHANGES", "COMPANIES")
# Which tags stand inside which, as in the files; "" is the file itself.
INSIDE: Mapping[str, frozenset[str]] = {
    "": frozenset({"REUTERS"}),
    "REUTERS": frozenset({"DATE", "MKNOTE", "UNKNOWN", "TEXT", *LISTS}),
    "TEXT": frozenset({"AUTHOR", "DATELINE", "TITLE", "BODY"}),
    **dict.fromkeys(LISTS, frozenset({"D"})),
}
ANY_NUMBER = frozenset({"REUTERS", "MKNOTE", "UNKNOWN", "D"})
REQUIRED = ("TOPICS", "TEXT")
ATTRIBUTES = {"TOPICS": ("YES", "NO", "BYPASS"), "LEWISSPLIT": ("TRAIN", "TEST", "NOT-USED")}

_MARKUP = re.compile(r"<[^<>]*>?")
_TAG = re.compile(r'<(/?)([A-Z]+)((?:\s+[A-Z]+="[^"]*")*)\s*>')
_ATTRIBUTE = re.compile(r'([A-Z]+)="([^"]*)"')
_CONTROL = re.compile(r"&#0*(?:\d|[12]\d|3[01]|127);|[\x00-\x08\x0b-\x1f\x7f]")


class Document(NamedTuple):
    """A document.

    Attributes:
        number: its NEWID, from 1 in the order of the files.
        split: of ModApte: "train" or "test"; None if that does not use it.
        topics: its TOPICS categories, each once; empty where it has none.
        text: title and body. Documents that have neither (TYPE="UNPROC"): all of their TEXT.
    """

    number: int
    split: str | None
    topics: tuple[str, ...]
    text: str


class _Element(NamedTuple):
    tag: str
    attributes: dict[str, str]
    start: int
    texts: list[str]
    children: list[_Element]

    def child(self, tag: str) -> _Element | None:
        return next((child for child in self.children if child.tag == tag), None)

    @property
    def text(self) -> str:
        return "".join(self.texts)


def parse_documents(name: str, content: bytes) -> list[Document]:
    """Return the documents of an SGML file, in its order.

    Bytes are Latin-1, and line ends as on any system. References are resolved ("&lt;"); a control character, written
    out or as a reference, becomes a space.

    A document's text is its title and its body, one after the other. A document of TYPE="BRIEF" has a title alone:
    what else is in its TEXT is "Blah blah blah.". A document may have no text and no topic; it must have both elements.

    Args:
        name: of the file, for messages.
        content: of the file.

    Raises:
        ValueError: if it is no such file, is cut off, or a tag in it is damaged; with the line.
    """
    text = content.decode("latin-1").replace("\r\n", "\n")
    try:
        if not text.startswith(DOCTYPE):
            raise _Misread(0, f"Expected {DOCTYPE}", repr(text[:40]))
        return [_document(element) for element in _elements(text, len(DOCTYPE))]
    except _Misread as error:
        line = text.count("\n", 0, error.place) + 1
        raise ValueError(f"{name}, line {line}: {error.expected}. Received: {error.received}.") from None


class _Misread(Exception):
    def __init__(self, place: int, expected: str, received: str) -> None:
        super().__init__(place, expected, received)
        self.place, self.expected, self.received = place, expected, received


def _elements(text: str, start: int) -> list[_Element]:
    """The elements at the top, with those inside them."""
    root = _Element("", {}, start, [], [])
    opened = [root]
    for markup in _MARKUP.finditer(text, start):
        _add_text(opened[-1], text, start, markup.start())
        start = markup.end()
        tag = _TAG.fullmatch(markup[0])
        if tag is None:
            raise _Misread(markup.start(), "Expected a whole tag", repr(markup[0][:60]))
        closes, name, attributes = tag.groups()
        inner = opened[-1]
        if closes:
            if name != inner.tag:
                raise _Misread(markup.start(), f"Expected {_awaited(inner)}", markup[0])
            opened.pop()
            continue
        if name not in INSIDE.get(inner.tag, ()):
            raise _Misread(markup.start(), f"Expected {_awaited(inner)}", markup[0])
        if name not in ANY_NUMBER and inner.child(name):
            raise _Misread(markup.start(), f"Expected one {name} in {inner.tag}", "another")
        element = _Element(name, dict(_ATTRIBUTE.findall(attributes)), markup.start(), [], [])
        inner.children.append(element)
        opened.append(element)
    _add_text(opened[-1], text, start, len(text))
    if len(opened) > 1:
        raise _Misread(len(text), f"Expected {_awaited(opened[-1])}", "the end of the file, which is cut off")
    return root.children


def _add_text(element: _Element, text: str, start: int, end: int) -> None:
    found = text[start:end]
    if element.tag in INSIDE and element.tag != "TEXT":
        if found.strip():
            start += len(found) - len(found.lstrip())
            raise _Misread(start, f"Expected {_awaited(element)}", repr(found.strip()[:60]))
    else:
        element.texts.append(found)


def _awaited(element: _Element) -> str:
    inside = sorted(INSIDE.get(element.tag, ()))
    return " or ".join([*([f"</{element.tag}>"] if element.tag else []), *(f"<{tag}>" for tag in inside)])


def _document(element: _Element) -> Document:
    for tag in REQUIRED:
        if element.child(tag) is None:
            raise _Misread(element.start, f"Expected {tag} in every document", "a document without it")
    attributes = element.attributes
    for name, values in ATTRIBUTES.items():
        if attributes.get(name) not in values:
            received = f"{name}={attributes.get(name)!r}"
            raise _Misread(element.start, f"Expected a document's {name} to be one of {values}", received)
    number = attributes.get("NEWID", "")
    if not re.fullmatch(r"[0-9]+", number):
        raise _Misread(element.start, "Expected a document's NEWID to be a number", f"NEWID={number!r}")
    modapte = {"TRAIN": "train", "TEST": "test"} if attributes["TOPICS"] == "YES" else {}
    topics, text = element.child("TOPICS"), element.child("TEXT")
    assert topics is not None and text is not None
    parts = [part for part in map(text.child, ("TITLE", "BODY")) if part] or [text]
    return Document(
        int(number),
        modapte.get(attributes["LEWISSPLIT"]),
        tuple(dict.fromkeys(topic.text for topic in topics.children)),
        "\n\n".join(html.unescape(_CONTROL.sub(" ", part.text)) for part in parts),
    )
