"""The documentation site builds without a warning, is complete, and needs no network."""

import html
import re
import subprocess
import sys
from pathlib import Path

import pytest

import al_rotate

pytest.importorskip("furo")
pytest.importorskip("mmrotate")  # the reference imports all packages

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q", "-d", folder / "trees"]
    built = subprocess.run([*command, ROOT / "docs", folder / "html"], capture_output=True, text=True)
    assert (built.returncode, built.stderr) == (0, "")
    return folder / "html"


def test_every_page_of_docs_is_in_the_menu(site):
    menu = (site / "index.html").read_text(encoding="utf-8")
    for file in (ROOT / "docs").rglob("*.md"):
        page = file.relative_to(ROOT / "docs").with_suffix(".html").as_posix()
        assert f'href="{page}"' in menu or page == "index.html", page


def test_public_names_are_in_the_reference(site):
    text = "".join(file.read_text(encoding="utf-8") for file in (site / "reference").glob("*.html"))
    documented = {name.split(".")[-1] for name in re.findall(r'id="(al_rotate[\w.]*)"', html.unescape(text))}
    values = {"DOTA_V1", "DOTA_V15", "DOTA_V2", "__version__"}
    modules = {*al_rotate._MODULES}
    assert {*al_rotate.__all__} - values - modules - documented == set()


def test_links_between_pages_lead_to_headings(site):
    ids = {file: {*re.findall(r'\bid="([^"]+)"', file.read_text(encoding="utf-8"))} for file in site.rglob("*.html")}
    broken = []
    for file in ids:
        for link in re.findall(r'<a [^>]*href="([^"]+)"', file.read_text(encoding="utf-8")):
            path, _, anchor = html.unescape(link).partition("#")
            if re.match(r"[a-z]+:", path):
                continue
            target = (file.parent / path).resolve() if path else file
            if not target.exists() or (anchor and target in ids and anchor not in ids[target]):
                broken.append((file.name, link))
    assert broken == []


def test_nothing_is_loaded_from_elsewhere(site):
    for file in site.rglob("*.html"):
        text = file.read_text(encoding="utf-8")
        assert re.findall(r'<(?:script|img|link|iframe)[^>]+(?:src|href)="(?:https?:)?//[^"]+"', text) == [], file.name
