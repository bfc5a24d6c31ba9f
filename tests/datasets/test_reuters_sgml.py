"""Documents come out of SGML as they stand there, or not at all."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from datasets.reuters_sgml import DOCTYPE, Document, parse_documents
from tests.datasets.reuters_small import MADE, Made, files, sgml, titled

WHOLE = sgml(MADE).encode("latin-1")
TAGS = sorted({match.span() for match in re.finditer(rb"<[^>]*>", WHOLE)})


def only(made: Made) -> Document:
    (document,) = parse_documents("a.sgm", sgml([made]).encode("latin-1"))
    return document


def text_of(text: str) -> str:
    return only(Made(("earn",), text)).text


def test_documents_have_their_number_split_and_topics() -> None:
    documents = parse_documents("a.sgm", WHOLE)
    assert [document.number for document in documents] == list(range(1, 15))
    train, test = ([d.number for d in documents if d.split == split] for split in ("train", "test"))
    assert (train, test) == ([1, 2, 4, 5, 6, 7, 8, 9], [11, 13, 14])
    assert [document.split for document in documents if document.number in (3, 10, 12)] == [None] * 3
    assert documents[1].topics == ("acq", "earn")


def test_two_files_are_parsed_as_one() -> None:
    parts = [parse_documents(name, content) for name, content in files().items()]
    assert [*parts[0], *parts[1]] == parse_documents("a.sgm", WHOLE)


def test_a_document_without_topics_has_none_and_a_repeated_one_counts_once() -> None:
    assert only(Made((), titled("A", "b"))).topics == ()
    assert only(Made(("corn", "earn", "corn"), titled("A", "b"))).topics == ("corn", "earn")


def test_the_text_is_title_and_body_alone() -> None:
    assert (
        text_of("<TEXT>x<AUTHOR>y</AUTHOR><TITLE>A</TITLE>x<DATELINE>y</DATELINE>x<BODY>b\n</BODY>x</TEXT>")
        == "A\n\nb\n"
    )


def test_without_a_body_the_title_is_the_text_and_without_both_all_of_it() -> None:
    brief = '<TEXT TYPE="BRIEF">&#2;\n******<TITLE>A\n</TITLE>Blah blah blah.\n&#3;\n</TEXT>'
    assert text_of(brief).split() == ["A"]
    assert text_of("<TEXT>x<BODY>b</BODY></TEXT>") == "b"
    assert text_of('<TEXT TYPE="UNPROC">&#2;\nA  b\n<DATELINE>x</DATELINE>c\n&#3;</TEXT>').split() == ["A", "b", "c"]
    assert text_of("<TEXT></TEXT>") == text_of("<TEXT>x<TITLE></TITLE></TEXT>") == ""


def test_references_are_resolved_and_control_characters_are_spaces() -> None:
    assert text_of("<TEXT><BODY>&lt;A.B> &amp;lt; C&amp;D, E & F\x7fg&#5;h&#127;i&#031;j\x1bk\tl</BODY></TEXT>") == (
        "<A.B> &lt; C&D, E & F g h i j k\tl"
    )


def test_bytes_are_latin_1_and_line_ends_those_of_any_system() -> None:
    assert text_of("<TEXT><BODY>Zürich</BODY></TEXT>") == "Zürich"
    assert parse_documents("a.sgm", WHOLE.replace(b"\n", b"\r\n")) == parse_documents("a.sgm", WHOLE)


def test_a_file_cut_off_anywhere_is_an_error_or_ends_after_a_document() -> None:
    documents = parse_documents("a.sgm", WHOLE)
    ends = [match.end() for match in re.finditer(rb"</REUTERS>", WHOLE)]
    for kept in range(0, len(WHOLE), 11):
        whole = [end for end in ends if end <= kept]
        between = len(DOCTYPE) <= kept and not WHOLE[(whole or [len(DOCTYPE)])[-1] : kept].strip()
        if between:
            assert parse_documents("a.sgm", WHOLE[:kept]) == documents[: len(whole)]
            continue
        with pytest.raises(ValueError, match=r"^a\.sgm, line \d+: Expected .* Received: ") as error:
            parse_documents("a.sgm", WHOLE[:kept])
        line = int(str(error.value).split("line ")[1].split(":")[0])
        assert 1 <= line <= WHOLE[:kept].count(b"\n") + 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda tag: tag[1:],
        lambda tag: tag[:-1],
        lambda tag: b"",
        lambda tag: tag.replace(b"<", b"&lt;"),
        lambda tag: re.sub(rb"[A-Z]", b"x", tag, count=1),
        lambda tag: re.sub(rb"([A-Z])", rb"Q\1", tag, count=1),
        lambda tag: tag + tag,
        lambda tag: tag[:-1] + b" x>",
        lambda tag: tag[:-1] + b'">',
    ],
    ids=["no <", "no >", "gone", "escaped", "letter", "inserted", "twice", "junk", "quote"],
)
def test_any_damaged_tag_is_an_error_with_its_file_and_line(damage: Callable[[bytes], bytes]) -> None:
    for start, end in TAGS:
        tag = WHOLE[start:end]
        with pytest.raises(ValueError, match=r"^a\.sgm, line \d+: Expected .* Received: "):
            parse_documents("a.sgm", WHOLE[:start] + damage(tag) + WHOLE[end:])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('LEWISSPLIT="TRAIN"', 'LEWISSPLIT="TRAIM"', "LEWISSPLIT to be one of .*'TRAIM'"),
        ('LEWISSPLIT="TRAIN" ', "", "LEWISSPLIT=None"),
        ('TOPICS="YES"', 'TOPICS="yes"', "TOPICS='yes'"),
        ('NEWID="1"', 'NEWID="l"', "NEWID to be a number. Received: NEWID='l'"),
        (' NEWID="1"', "", "NEWID=''"),
        ("<TOPICS><D>earn</D></TOPICS>", "", "line 2: Expected TOPICS in every document"),
        (titled("A", "b"), "", "line 2: Expected TEXT in every document"),
        ("<TITLE>A</TITLE>", "<TITLE>A</TITLE><TITLE>A</TITLE>", "line 14: Expected one TITLE in TEXT"),
        ("<D>earn</D>", "<D>earn</D>acq", "line 4: Expected </TOPICS> or <D>. Received: 'acq'"),
        (DOCTYPE, "<html>", "line 1: Expected <!DOCTYPE lewis"),
        ("</REUTERS>", "</REUTERS>\nmore", "line 18: Expected <REUTERS>. Received: 'more'"),
        ("</BODY>", "</TITLE>", "line 16: Expected </BODY>. Received: </TITLE>"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(old: str, new: str, message: str) -> None:
    text = sgml([Made(("earn",), titled("A", "b"))])
    assert old in text
    with pytest.raises(ValueError, match=message):
        parse_documents("a.sgm", text.replace(old, new, 1).encode())


@pytest.mark.parametrize("tag", ["TITLE", "BODY", "DATELINE", "TOPICS", "D", "UNKNOWN", "TEXT"])
def test_an_element_that_is_unknown_there_is_an_error_though_it_is_closed(tag: str) -> None:
    text = sgml([Made(("earn",), titled("A", "b"))])
    for other in ("X" + tag, "REUTERS"):
        changed = text.replace(f"<{tag}>", f"<{other}>").replace(f"</{tag}>", f"</{other}>")
        assert changed != text
        with pytest.raises(ValueError, match=rf"Expected .*<.*Received: <{other}>"):
            parse_documents("a.sgm", changed.encode())
