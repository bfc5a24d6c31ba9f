"""A small Reuters-21578: two SGML files of 14 documents, in the distribution's form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from datasets import reuters_files, text
from datasets.reuters_sgml import DOCTYPE
from tests.datasets import newsgroups_small

COUNTS = {"train": 8, "test": 3}
FILES = ("reut2-000.sgm", "reut2-001.sgm")


class Made(NamedTuple):
    """A document to be written."""

    topics: tuple[str, ...]
    text: str
    lewis: str = "TRAIN"
    has_topics: str = "YES"


def titled(title: str, body: str) -> str:
    before = f"<TEXT>&#2;\n<TITLE>{title}</TITLE>\n<DATELINE>    DATELINE, Feb 26 - </DATELINE>"
    return f"{before}<BODY>{body}\n&#3;</BODY></TEXT>"


# By training documents: earn 4, acq 3, wheat and grain 2, tin 1; corn has a test document alone.
MADE = (
    Made(("earn",), titled("ALPHA BETA", "alpha alpha alpha")),
    Made(("acq", "earn"), titled("ALPHA", "beta beta")),
    Made(("earn",), "<TEXT>&#2;\n<AUTHOR>By</AUTHOR><TITLE>ALPHA</TITLE></TEXT>", has_topics="NO"),
    Made(("grain", "wheat"), titled("GAMMA", "alpha &lt;BETA.N> 7 beta's U.S.")),
    Made(("earn",), '<TEXT TYPE="BRIEF">&#2;\n******<TITLE>BETA GAMMA\n</TITLE>Blah blah blah.\n&#3;\n\n</TEXT>'),
    Made(("wheat", "acq", "grain"), titled("DELTA", "alpha &#5;&#127;delta&#27;gamma")),
    Made(("tin", "acq"), '<TEXT TYPE="UNPROC">&#2;\nTABLE ALPHA\n beta\n&#3;</TEXT>'),
    Made(("earn", "earn"), titled("ALPHA", "")),
    Made((), titled("NOTHING", "epsilon")),
    Made(("earn",), titled("UNUSED", "unused"), lewis="NOT-USED"),
    Made(("corn",), titled("ALPHA", "unheard"), lewis="TEST"),
    Made(("earn",), titled("BYPASSED", "bypassed"), has_topics="BYPASS"),
    Made(("wheat", "corn", "acq"), titled("BETA", "gamma"), lewis="TEST"),
    Made(("earn",), titled("", ""), lewis="TEST"),
)


def sgml(made: Iterable[Made], first: int = 1) -> str:
    """An SGML file of these documents, numbered from `first`."""
    written = []
    for number, document in enumerate(made, start=first):
        topics = "".join(f"<D>{topic}</D>" for topic in document.topics)
        csecs = ' CSECS="1"' if number == 2 else ""
        written.append(
            f'<REUTERS TOPICS="{document.has_topics}" LEWISSPLIT="{document.lewis}" CGISPLIT="TRAINING-SET"{csecs} '
            f'OLDID="{5000 + number}" NEWID="{number}">\n<DATE>26-FEB-1987 15:01:01.79</DATE>\n'
            f"<TOPICS>{topics}</TOPICS>\n<PLACES><D>usa</D><D>tin</D></PLACES>\n<PEOPLE></PEOPLE>\n<ORGS></ORGS>\n"
            "<EXCHANGES></EXCHANGES>\n<COMPANIES></COMPANIES>\n<UNKNOWN> \n&#22;&#22;&#1;f0704&#31;reute\n</UNKNOWN>\n"
            f"{document.text}\n</REUTERS>\n"
        )
    return "".join([f"{DOCTYPE}\n", *written])


def files() -> dict[str, bytes]:
    """The two files: documents 1 to 9, and 10 to 14."""
    return {FILES[0]: sgml(MADE[:9]).encode("latin-1"), FILES[1]: sgml(MADE[9:], 10).encode("latin-1")}


def write_files(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files().items():
        (folder / name).write_bytes(content)
    return folder


def expect_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the small files be the whole distribution, with no address that can be reached."""
    small = {"FILES": FILES, "DOCUMENTS": 14, "COUNTS": COUNTS, "CATEGORIES": 6}
    for name, value in small.items():
        monkeypatch.setattr(reuters_files, name, value)
    # Port 9 of this machine: refused at once, and no name to resolve.
    monkeypatch.setattr(reuters_files, "ADDRESSES", ("https://127.0.0.1:9/first", "https://127.0.0.1:9/second"))
    monkeypatch.setattr(reuters_files, "check_published", lambda _: None)  # it knows the distribution alone


@contextmanager
def installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Point every variable of Reuters-21578 into `folder`, with the small files and punkt_tab.

    Its folders: own (LTH_DATA_DIR), nltk, cache (XDG_CACHE_HOME). No address can be reached.
    """
    from nltk import tokenize

    for variable, place in {"LTH_DATA_DIR": "own", "XDG_CACHE_HOME": "cache"}.items():
        monkeypatch.setenv(variable, str(folder / place))
    monkeypatch.setattr(text, "PUNKT_ADDRESS", "https://127.0.0.1:9/punkt")
    expect_small(monkeypatch)
    write_files(folder / "own" / "reuters21578")
    newsgroups_small.write_punkt(folder / "nltk")
    newsgroups_small.use_nltk_data(folder / "nltk", monkeypatch)
    yield
    tokenize._get_punkt_tokenizer.cache_clear()
