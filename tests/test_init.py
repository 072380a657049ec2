import ast
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import al_rotate

NEEDS_MM = ["Detector", "finetune"]


def run(code):
    """Run code in a new interpreter; what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_importing_is_silent_and_loads_nothing_heavy():
    code = "import al_rotate, sys; print(sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = run(code)
    assert "'al_rotate'" in loaded
    for heavy in ("torch", "mmengine", "pandas", "numpy", "scipy", "matplotlib", "pyarrow", "PIL"):
        assert f"'{heavy}'" not in loaded


CORE = """
import sys
from importlib import import_module
from pathlib import Path

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "mmcv", "mmengine", "mmdet", "mmrotate"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import al_rotate
root = Path(al_rotate.__file__).parent
for file in sorted(root.rglob("*.py")):
    name = ".".join(file.relative_to(root.parent).with_suffix("").parts).removesuffix(".__init__")
    if file.name != "__main__.py":
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            assert error.name.partition(".")[0] in ("torch", "mmcv", "mmengine", "mmdet", "mmrotate"), error
            print(name.removeprefix("al_rotate."))
"""


def test_the_core_needs_no_torch():
    modules = set(run(CORE).split())
    assert {"registered", "detection.detector", "detection.training.finetuning"} <= modules
    assert {name.partition(".")[0] for name in modules} == {"registered", "detection"}


def test_public_names():
    assert al_rotate.__all__ == dir(al_rotate) == sorted(al_rotate.__all__)
    for name in set(al_rotate.__all__) - {*NEEDS_MM}:
        assert getattr(al_rotate, name) is not None
    assert al_rotate.boxes.__name__ == "al_rotate.boxes"
    assert al_rotate.evaluate is al_rotate.evaluation.evaluate
    assert al_rotate.rank is al_rotate.sampling.rank
    assert {"boxes", "dota", "RotatedInstances", "rank", "select", "evaluate", "Detector", "finetune", "ActiveLoop",
            "Budget", "sampling", "DOTA_V1"} <= {*al_rotate.__all__}  # fmt: skip


@pytest.mark.mm
@pytest.mark.parametrize("name", NEEDS_MM)
def test_public_names_that_need_mmrotate(name):
    assert getattr(al_rotate, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'al_rotate' has no attribute 'Detecter'"):
        al_rotate.Detecter  # noqa: B018


def test_type_checkers_see_what_users_get():
    tree = ast.parse(Path(al_rotate.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    names = {alias.asname or alias.name for statement in block.body for alias in statement.names}
    assert {*al_rotate.__all__} == {*names, "__version__"}


def test_the_changelog_says_where_modules_went():
    text = (Path(__file__).parents[1] / "CHANGELOG.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(al_rotate[\w.]+)`[^|]*\|([^|]+)\|$", text, re.M)
    assert len(rows) > 30
    for old, new in rows:
        assert (find_spec(old) is None) == (old != "al_rotate.registered"), old
        assert all(find_spec(name) for name in re.findall(r"`(al_rotate[\w.]+)`", new)), new
