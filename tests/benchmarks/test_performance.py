"""docs/performance.md has what was measured in its places."""

from pathlib import Path

import pytest

from benchmarks import performance

RESULT = """# Title

| a | b |
| --- | ---: |
| 1 | 2 |

Text.

| c |
| --- |
| 3 |

| d |
| --- |

- Command: `python -m benchmarks.memory`
- Commit: abc
- Versions: many
"""


def test_places_are_filled_with_tables_and_what_they_were_made_on(tmp_path):
    (tmp_path / "dead_units.md").write_text(RESULT)
    text = "x\n<!-- dead_units -->\nold\n<!-- end of dead_units -->\ny\n<!-- memory -->\n<!-- end of memory -->\n"
    filled = performance.filled(text, tmp_path)
    assert "| 1 | 2 |" in filled and "| 3 |" in filled and "| d |" not in filled and "old" not in filled
    assert "- Commit: abc" in filled and "Versions" not in filled
    assert "Not measured yet: `python -m benchmarks.memory`." in filled
    assert filled.startswith("x\n") and "\ny\n" in filled
    assert performance.filled(filled, tmp_path) == filled


@pytest.mark.parametrize("text", ["<!-- other -->\n<!-- end of other -->\n", "<!-- memory -->\n"])
def test_a_place_that_cannot_be_filled_is_named(text, tmp_path):
    with pytest.raises(ValueError, match="Expected .* Received"):
        performance.filled(text, tmp_path)


def test_every_result_has_its_place_and_the_document_is_filled(monkeypatch):
    root = Path(__file__).parents[2]
    monkeypatch.chdir(root)
    text = performance.DOCUMENT.read_text()
    begun = text.index("<!-- flop -->")
    end = text.index("<!-- end of flop -->")
    monkeypatch.setattr(performance, "flop_table", lambda: text[begun:end].partition("\n")[2].rstrip("\n"))
    assert performance.filled(text) == text, "Run python -m benchmarks.performance."
    assert all(f"<!-- {name} -->" in text for name in performance.TABLES)
