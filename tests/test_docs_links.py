"""Every Markdown file of the repository: links and images lead somewhere, and commands of experiments exist."""

import re
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[1]
SKIPPED = {"build", "demo", "node_modules", "screenshots", "shared", "work", "work_dirs"}  # not in git
LINK = re.compile(r"!?\[[^\]]*\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)|<(?:img|a)\b[^>]*\b(?:src|href)=\"([^\"]+)\"")
FENCED = re.compile(r"^```.*?^```$", re.M | re.S)
SHOWN = "experiments/results/comparisons/"


def markdown_files(folder):
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.name.startswith(".") and path.name not in SKIPPED:
            yield from markdown_files(path)
        elif path.suffix == ".md":
            yield path


FILES = [*markdown_files(ROOT)]


def links(text):
    """The targets of links and images, without those to other sites."""
    targets = (match[1] or match[2] for match in LINK.finditer(FENCED.sub("", text)))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def anchors(text):
    """The anchors that GitHub gives the headings."""
    headings = re.findall(r"^#+ +(.+?) *$", FENCED.sub("", text), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(file):
    text = file.read_text(encoding="utf-8")
    for link in links(text):
        path, _, anchor = link.partition("#")
        target = file.parent / unquote(path) if path else file
        if not target.exists():
            yield link
        elif anchor and target.suffix == ".md" and anchor not in anchors(target.read_text(encoding="utf-8")):
            yield link


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_and_images_lead_somewhere(file):
    assert [*broken_links(file)] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_commands_and_paths_of_experiments_exist(file):
    text = file.read_text(encoding="utf-8")
    modules = re.findall(r"-m (experiments(?:\.\w+)+)", text)
    assert [module for module in modules if not find_spec(module)] == []
    assert "python experiments/" not in text  # they are modules of a package
    paths = re.findall(r"(?<![\w/])experiments/[\w./-]+(?:py|yaml|parquet|md)\b", text)
    assert [path for path in paths if "NAME" not in path and not (ROOT / path).exists()] == []


def test_git_keeps_the_pictures_that_a_page_shows():
    kept = {line[2:] for line in (ROOT / ".gitignore").read_text().splitlines() if line.startswith(f"!/{SHOWN}")}
    targets = {(file.parent / link).resolve() for file in FILES for link in links(file.read_text(encoding="utf-8"))}
    shown = {target.relative_to(ROOT).as_posix() for target in targets if target.suffix == ".jpg"}
    assert {path for path in shown if path.startswith(SHOWN) and path.count("/") > SHOWN.count("/")} == kept


def test_a_broken_link_is_found(tmp_path):
    (tmp_path / "other.md").write_text("# Some Heading, *here*\n")
    good = (
        '[a](other.md) [b](other.md#some-heading-here) ![c](<other.md>) [d](https://example.org/x) <img src="other.md">'
    )
    bad = "[a](gone.md) ![b](gone.jpg) [c](other.md#gone) [d](#gone)"
    file = tmp_path / "page.md"
    file.write_text(f"{good}\n\n```\n[code](gone)\n```\n{bad}\n")
    assert [*broken_links(file)] == ["gone.md", "gone.jpg", "other.md#gone", "#gone"]
