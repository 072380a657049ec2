"""docs/evidence.md shows the tables as the tidy files have them."""

from experiments.evidence.page import PAGE, renew


def test_every_table_of_the_page_is_that_of_the_files():
    page = PAGE.read_text(encoding="utf-8")
    assert page.count("<!-- ") >= 5
    assert renew(page) == page


def test_an_edited_table_is_put_right():
    page = PAGE.read_text(encoding="utf-8")
    first = page.index("| `random` |")
    edited = page[:first] + "| `random` | 99.9 |\n" + page[first:]
    assert renew(edited) == page
