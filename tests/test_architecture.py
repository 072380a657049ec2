"""The floor plan: which package may import which, and how large files and folders may grow."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import al_rotate

ROOT = Path(al_rotate.__file__).parent
FLOORS = (
    {"storage", "boxes"},
    {"data"},
    {"evaluation"},
    {"sampling", "detection"},
    {"workspace"},
    {"report"},
    {"loop"},
    {"bridge"},
    {"cli"},
)  # a package imports only from floors to the left of its own
DOORS = {"__init__", "__main__", "registered"}  # al_rotate/*.py: they lead in, and nothing inside imports them
TORCH = {"torch", "torchvision", "mmcv", "mmengine", "mmdet", "mmrotate", "cv2"}
MOST_LINES, MOST_ENTRIES, MOST_ENTRIES_AT_ROOT = 300, 12, 14
IGNORED = {"__pycache__", "py.typed"}


def modules(root):
    """Dotted name below `root` -> syntax tree; a package has its folder's name."""
    found = {}
    for file in sorted(root.rglob("*.py")):
        parts = file.relative_to(root).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
        found[name] = ast.parse(file.read_text(encoding="utf-8")), file.name == "__init__.py"
    return found


def statements(tree, inside_functions):
    """Import statements, those under TYPE_CHECKING aside; on request also those inside functions."""
    nodes = [tree]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        elif inside_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            nodes += ast.iter_child_nodes(node)


def imports(known, name, inside_functions=True):
    """Modules of the package that `name` imports, and the first parts of all others."""
    tree, is_package = known[name]
    own, others = set(), set()
    for node in statements(tree, inside_functions):
        if isinstance(node, ast.Import):
            others |= {alias.name.partition(".")[0] for alias in node.names}
            continue
        module = node.module or ""
        if node.level:
            here = [] if name in DOORS else name.split(".")
            up = len(here) - node.level + is_package * (name not in DOORS) + (name in DOORS)
            module = ".".join(part for part in (*here[: max(0, up)], module) if part)
        elif module.partition(".")[0] == "al_rotate":
            module = module.partition(".")[2]
        else:
            others.add(module.partition(".")[0])
            continue
        for alias in node.names:
            longer = f"{module}.{alias.name}".strip(".")
            own.add(longer if longer in known else module)
    return own - {""}, others


def breaches(root):
    """What stands against the plan, in words."""
    known = modules(root)
    floor = {package: number for number, packages in enumerate(FLOORS) for package in packages}
    for name in known:
        own = imports(known, name)[0]
        package = name.partition(".")[0]
        heavy = imports(known, name, inside_functions=False)[1] & TORCH
        if heavy and package not in ("detection", "registered"):
            yield f"{name} imports {', '.join(sorted(heavy))} at module level: only detection may"
        if any(part.startswith("_") and not part.startswith("__") for part in name.split(".")):
            yield f"{name} is an underscore module"
        if package in DOORS:
            continue
        for other in sorted({module.partition(".")[0] for module in own} - {package}):
            if other in DOORS or floor[other] >= floor[package]:
                yield f"{name} imports from {other}: the arrow goes up"
    for file in sorted(root.rglob("*.py")):
        if (lines := len(file.read_text(encoding="utf-8").splitlines())) > MOST_LINES:
            yield f"{file.relative_to(root)} has {lines} lines"
    for folder in [root, *sorted(path for path in root.rglob("*") if path.is_dir() and path.name not in IGNORED)]:
        entries = [entry.name for entry in folder.iterdir() if entry.name not in IGNORED]
        if len(entries) > (MOST_ENTRIES_AT_ROOT if folder == root else MOST_ENTRIES):
            yield f"{folder.relative_to(root)} has {len(entries)} entries"


def test_the_package_follows_the_plan():
    assert list(breaches(ROOT)) == []


def test_no_module_imports_itself_by_a_detour():
    known = modules(ROOT)
    graph = {name: imports(known, name, inside_functions=False)[0] - {name} for name in known}
    # A package's __init__ names what its modules define; they do not need it to be complete.
    graph = {name: {m for m in found if not name.startswith(f"{m}.")} for name, found in graph.items()}
    assert len([*TopologicalSorter(graph).static_order()]) >= len(known)


@pytest.mark.parametrize(
    ("file", "text", "word"),
    [
        ("boxes/planted.py", "from ..data import images", "boxes.planted imports from data: the arrow goes up"),
        ("sampling/planted.py", "def f():\n    from ..detection.detector import Detector", "the arrow goes up"),
        ("report/planted.py", "from al_rotate.loop import ActiveLoop", "the arrow goes up"),
        ("loop/planted.py", "import torch", "loop.planted imports torch at module level"),
        ("data/_planted.py", "", "data._planted is an underscore module"),
        ("data/planted.py", "x = 1\n" * 301, "data/planted.py has 301 lines"),
    ],
)
def test_a_breach_is_found(tmp_path, file, text, word):
    for package in set().union(*FLOORS):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("")
    (tmp_path / "data" / "images.py").write_text("")
    (tmp_path / "detection" / "detector.py").write_text("")
    assert list(breaches(tmp_path)) == []
    (tmp_path / file).write_text(text)
    (found,) = breaches(tmp_path)
    assert word in found


def test_full_folders_are_found(tmp_path):
    for number in range(13):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / f"module{number}.py").write_text("")
    assert list(breaches(tmp_path)) == ["data has 13 entries"]
