"""The page says what the tidy files say."""

import evidence_page


def test_every_table_of_the_page_is_that_of_the_files():
    page = evidence_page.PAGE.read_text(encoding="utf-8")
    assert page.count("<!-- ") >= 10
    assert evidence_page.renewed(page) == page


def test_an_edited_table_is_put_right():
    page = evidence_page.PAGE.read_text(encoding="utf-8")
    first = page.index("| `random` |")
    edited = page[:first] + "| `random` | 99.9 |\n" + page[first:]
    assert evidence_page.renewed(edited) == page
