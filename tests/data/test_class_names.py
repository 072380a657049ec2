"""Class names from files of users, from data.yaml and from a command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from al_rotate.data import class_names
from al_rotate.data.formats.dota import DOTA_V1

KNOWN = {"dota-v1": DOTA_V1, "dota-v1.5": (*DOTA_V1, "container-crane")}
NAMES = ("ship", "small vehicle")


@pytest.mark.parametrize(
    "content",
    [
        "ship\nsmall vehicle\n",
        "ship\nsmall vehicle",
        "\ufeffship\r\nsmall vehicle\r\n",  # as Windows' Notepad writes it
        "ship  \n\tsmall vehicle\n\n\n  \n",
        "ship\rsmall vehicle\r",
    ],
)
def test_a_file_of_names(tmp_path: Path, content: str) -> None:
    file = tmp_path / "classes.txt"
    file.write_bytes(content.encode())
    assert class_names.read_file(file) == NAMES
    assert class_names.read_file(file, numbered=True) == NAMES
    assert class_names.from_text(str(file)) == NAMES


def test_a_blank_line_between_names_counts_only_where_lines_have_numbers(tmp_path: Path) -> None:
    file = tmp_path / "classes.txt"
    file.write_text("ship\n\nsmall vehicle\n")
    assert class_names.read_file(file) == NAMES
    with pytest.raises(ValueError, match=r"classes\.txt: expected a class name in every line, .* got none in 2"):
        class_names.read_file(file, numbered=True)


@pytest.mark.parametrize(
    "names", ["[ship, small vehicle]", "{0: ship, 1: small vehicle}", "{1: small vehicle, 0: ship}"]
)
def test_the_names_of_a_data_yaml(tmp_path: Path, names: str) -> None:
    file = tmp_path / "data.yaml"
    file.write_text(f"\ufefftrain: images\nnames: {names}\n", encoding="utf-8")
    assert class_names.read_file(file) == NAMES


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected at least one class name"),
        (b"\n \n", "expected at least one class name"),
        (b"ship\nplane\nship\n", "expected distinct class names, got 'ship' more than once"),
        (b"K\xfchlturm\n", "expected UTF-8 text"),
        (b"x" * (1 << 21), "expected a text file of up to"),
    ],
)
def test_a_file_that_is_no_list_of_names(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "classes.txt"
    file.write_bytes(content)
    for read in (class_names.read_file, lambda path: class_names.from_text(str(path))):
        with pytest.raises(ValueError, match=message) as caught:
            read(file)
        assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1, 2]", "expected a mapping with names"),
        ("names: [ship, no]", "got False; put it in quotes"),
        ("names: [ship, [a]]", r"expected a class name for 1, got \['a'\]"),
        ("names: {a: ship}", "expected class numbers from 0 in names, got 'a'"),
        ("names: {-1: ship}", "expected class numbers from 0"),
        ("names: 5", "expected names as a list or a mapping"),
        ("names: [ship, ship]", "expected distinct class names, got 'ship'"),
        ("names: {0: ship, '0': plane}", "expected distinct class numbers in names, got 0, 0"),
        ("nc: 2\nnames: {0: ship, 0: plane}", "expected as many names as nc says, 2, got 1"),  # YAML keeps the last
        ("train: x", "expected names as a list or a mapping"),
        ("nc: 1000000000", "expected names as a list or a mapping"),
        ("names: [ship", "expected YAML"),
        ("a: !!python/object/apply:os.system [ls]", "expected YAML"),
        ("[" * 5000, "expected YAML"),
    ],
)
def test_a_data_yaml_without_names(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "data.yaml"
    file.write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        class_names.read_file(file)
    assert str(file) in str(caught.value)


def test_numbers_in_quotes(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("nc: 2\nnames: {'1': plane, '0': ship}\n")
    assert class_names.read_file(tmp_path / "data.yaml") == ("ship", "plane")


def test_numbers_without_names(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("nc: 2\n")
    assert class_names.read_file(tmp_path / "data.yaml") == ("class_0", "class_1")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("dota-v1", DOTA_V1),
        ("DOTA-v1", DOTA_V1),
        (" Dota-V1.5 ", KNOWN["dota-v1.5"]),
        ("ship", ("ship",)),
        ("ship, small vehicle", NAMES),
        ("ship,small vehicle,", NAMES),
        ("car/truck,", ("car/truck",)),
        ("Antonov An-225", ("Antonov An-225",)),
    ],
)
def test_names_on_a_command_line(text: str, names: tuple[str, ...]) -> None:
    assert class_names.from_text(text, KNOWN) == names


@pytest.mark.parametrize("text", ["clases.txt", "data/classes", "data.yaml", r"C:\classes.txt", "./x", "names.NAMES"])
def test_a_path_where_there_is_no_file(text: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected class names or a file of them, .* there is no such file"):
        class_names.from_text(text, KNOWN)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at least one class name"),
        (" , ", "at least one class name"),
        ("ship,plane, ship", "distinct class names, got 'ship'"),
        ("dota-v3", "expected one of dota-v1, dota-v1.5, or class names"),
        ("dota1.0", "expected one of dota-v1"),
    ],
)
def test_text_that_is_no_classes(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        class_names.from_text(text, KNOWN)
