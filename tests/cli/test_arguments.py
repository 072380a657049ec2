import pytest

from al_rotate.cli.arguments import as_classes, as_options
from al_rotate.data.formats import dota


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (None, None),
        ("dota-v1", dota.DOTA_V1),
        ("dota-v1.5", dota.DOTA_V15),
        ("dota-v2", dota.DOTA_V2),
        ("ship, plane,small vehicle", ("ship", "plane", "small vehicle")),
    ],
)
def test_classes(text, names):
    assert as_classes(text) == names


def test_classes_from_a_file(tmp_path):
    (tmp_path / "classes.txt").write_text("ship\nsmall vehicle\n\n")
    assert as_classes(str(tmp_path / "classes.txt")) == ("ship", "small vehicle")


def test_options_are_values():
    pairs = ["how=top-k", "k=3", "share=0.5", "tiny=1e-3", "yes=True", "no=false", "none=null", "a=b=c"]
    expected = {"how": "top-k", "k": 3, "share": 0.5, "tiny": 1e-3, "yes": True, "no": False, "none": None, "a": "b=c"}
    assert as_options(pairs) == expected
