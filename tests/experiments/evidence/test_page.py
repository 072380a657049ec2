"""The pages show the tables as the tidy files have them."""

import pytest

from experiments.evidence.page import PAGES, TABLES, claims_of, figures_of, renew


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.stem)
def test_every_table_of_a_page_is_that_of_the_files(file):
    page = file.read_text(encoding="utf-8")
    assert renew(page) == page
    for name, text in claims_of(page):
        assert (TABLES / f"{name}.md").read_text(encoding="utf-8") == text
    for name, figure in figures_of(page):
        assert f"results/comparisons/{name}.jpg" in page
        assert figure.axes


def test_an_edited_table_is_put_right():
    page = PAGES[1].read_text(encoding="utf-8")
    assert page.count("<!-- ") >= 5
    first = page.index("| `random` |")
    edited = page[:first] + "| `random` | 99.9 |\n" + page[first:]
    assert renew(edited) == page
