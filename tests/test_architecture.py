"""The order of the packages, and how large files and folders may grow."""

import ast
from graphlib import TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path
from typing import NamedTuple

import pytest

import al_rotate

ROOT, TESTS = Path(al_rotate.__file__).parent, Path(__file__).parent
# A package imports only from those before it.
ORDER = "storage boxes < data < evaluation < sampling detection < workspace < report < loop < bridge < cli"
LEVELS = {package: level for level, packages in enumerate(ORDER.split(" < ")) for package in packages.split()}
ENTRANCES = {"", "__main__", "registered"}  # al_rotate/*.py, the package itself first: for users
HEAVY = {"torch", "torchvision", "mmcv", "mmengine", "mmdet", "mmrotate", "cv2"}
MAX_LINES, MAX_ENTRIES, MAX_ENTRIES_OF_ROOT = 300, 12, 14
IGNORED = {"__pycache__", "py.typed"}


class Module(NamedTuple):
    tree: ast.Module
    package: str  # from which its relative imports count


def parse(root):
    """Return the modules below a folder by their dotted names, as if the folder were al_rotate."""
    modules = {}
    for file in sorted(root.rglob("*.py")):
        parts = ("al_rotate", *file.relative_to(root).with_suffix("").parts)
        package = ".".join(parts[:-1])
        name = package if parts[-1] == "__init__" else ".".join(parts)
        modules[name] = Module(ast.parse(file.read_text(encoding="utf-8")), package)
    return modules


def import_statements(tree, lazy=True):
    """Yield the imports of a module, except those for type checkers; on request without those inside functions."""
    nodes = [tree]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        elif lazy or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            nodes += ast.iter_child_nodes(node)


def imports(name, modules, lazy=True):
    """Return the dotted names of the modules that one imports."""
    imported = set()
    for node in import_statements(modules[name].tree, lazy):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        else:
            base = resolve_name("." * node.level + (node.module or ""), modules[name].package)
            longer = [f"{base}.{alias.name}" for alias in node.names if alias.name != "__version__"]
            imported |= {dotted if dotted in modules else base for dotted in longer}
    return imported


def part_of(name):
    return name.split(".")[1] if "." in name else ""


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def private_names(tree):
    """Return the private names of other modules of al_rotate that a module uses."""
    own = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and (n.level or "al_rotate" in n.module)]
    aliases = [alias for node in own for alias in node.names]
    names = {alias.asname or alias.name for alias in aliases}
    attributes = [n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and is_private(n.attr)]
    attributes = [f"{n.value.id}.{n.attr}" for n in attributes if isinstance(n.value, ast.Name) and n.value.id in names]
    return [alias.name for alias in aliases if is_private(alias.name)] + attributes


def import_breaches(root):
    modules = parse(root)
    for name, module in modules.items():
        heavy = {imported.partition(".")[0] for imported in imports(name, modules, lazy=False)} & HEAVY
        if heavy and part_of(name) not in ("detection", "registered"):
            yield f"{name} imports {', '.join(sorted(heavy))} at module level: only detection may"
        if any(is_private(part) for part in name.split(".")):
            yield f"{name} is an underscore module"
        yield from (f"{name} uses the private {private}" for private in private_names(module.tree))
        own = {part_of(imported) for imported in imports(name, modules) if imported.split(".")[0] == "al_rotate"}
        for part in sorted(own - {part_of(name)}) if part_of(name) not in ENTRANCES else ():
            if part in ENTRANCES or LEVELS[part] >= LEVELS[part_of(name)]:
                yield f"{name} imports from {part or 'the root'}, which does not come before it"


def long_files(root):
    for file in sorted(root.rglob("*.py")):
        if (lines := len(file.read_text(encoding="utf-8").splitlines())) > MAX_LINES:
            yield f"{file.relative_to(root)} has {lines} lines"


def size_breaches(root):
    yield from long_files(root)
    for folder in [root, *sorted(path for path in root.rglob("*") if path.is_dir() and path.name not in IGNORED)]:
        entries = [entry.name for entry in folder.iterdir() if entry.name not in IGNORED]
        if len(entries) > (MAX_ENTRIES_OF_ROOT if folder == root else MAX_ENTRIES):
            yield f"{folder.relative_to(root)} has {len(entries)} entries"


def test_the_package_follows_the_plan():
    assert [*import_breaches(ROOT), *size_breaches(ROOT)] == []


def test_tests_and_experiments_stay_short():
    assert [*long_files(TESTS), *long_files(TESTS.parent / "experiments")] == []


def test_no_module_imports_itself_by_a_detour():
    modules = parse(ROOT)
    graph = {name: imports(name, modules, lazy=False) & {*modules} - {name} for name in modules}
    # A package's __init__ gathers names from its modules, which do not wait for it.
    graph = {name: {m for m in imported if not name.startswith(f"{m}.")} for name, imported in graph.items()}
    assert {*TopologicalSorter(graph).static_order()} >= {*modules} - {"al_rotate"}


def test_no_test_imports_another():
    modules = parse(TESTS)
    parts = {(name, part) for name in modules for imported in imports(name, modules) for part in imported.split(".")}
    assert [pair for pair in parts if pair[1].startswith("test_") or pair[1] in ("tests", "conftest")] == []


@pytest.mark.parametrize(
    ("file", "text", "breach"),
    [
        ("boxes/planted.py", "from ..data import images", "al_rotate.boxes.planted imports from data, which does not"),
        ("sampling/planted.py", "def f():\n    from ..detection.detector import Detector", "imports from detection"),
        ("report/planted.py", "from al_rotate.loop import ActiveLoop", "imports from loop"),
        ("report/planted.py", "import al_rotate.loop.active_loop", "imports from loop"),
        ("storage/planted.py", "from al_rotate import ActiveLoop", "imports from the root"),
        ("cli/planted.py", "from .. import registered", "imports from registered"),
        ("loop/planted.py", "import torch", "al_rotate.loop.planted imports torch at module level"),
        ("loop/planted.py", "from ..data.images import _bytes", "uses the private _bytes"),
        ("loop/planted.py", "from ..data import images\nimages._bytes(1)", "uses the private images._bytes"),
        ("data/_planted.py", "", "al_rotate.data._planted is an underscore module"),
        ("data/planted.py", "x = 1\n" * 301, "data/planted.py has 301 lines"),
    ],
)
def test_a_breach_is_found(tmp_path, file, text, breach):
    for path in (*(f"{package}/__init__.py" for package in LEVELS), "data/images.py", "detection/detector.py"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / "registered.py").touch()
    assert [*import_breaches(tmp_path), *size_breaches(tmp_path)] == []
    (tmp_path / file).write_text(text)
    (found,) = [*import_breaches(tmp_path), *size_breaches(tmp_path)]
    assert breach in found


def test_full_folders_are_found(tmp_path):
    (tmp_path / "data").mkdir()
    for number in range(MAX_ENTRIES + 1):
        (tmp_path / "data" / f"module{number}.py").touch()
    assert [*size_breaches(tmp_path)] == ["data has 13 entries"]
