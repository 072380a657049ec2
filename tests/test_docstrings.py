"""Docstrings: their examples run, and what they refer to exists."""

import ast
import builtins
import doctest
import re
import sys
from importlib import import_module
from pathlib import Path

import pytest

import al_rotate

PACKAGE = Path(al_rotate.__file__).parent
ROLE = re.compile(r":(?:func|class|meth|mod|attr|data|exc):`~?([\w.]+)`")
NEEDS = {"detection": "mmrotate", "bridge": "label_studio_sdk"}  # package -> what its modules import


def module_name(file):
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(file): file.read_text(encoding="utf-8") for file in sorted(PACKAGE.rglob("*.py"))}


def loaded(name):
    for package, needed in NEEDS.items():
        if name.startswith(f"al_rotate.{package}"):
            pytest.importorskip(needed)
    return import_module(name)


@pytest.mark.parametrize("name", [name for name, text in FILES.items() if ">>> " in text])
def test_examples_run(name):
    failed, tried = doctest.testmod(loaded(name))
    assert tried > 0
    assert failed == 0


def found(start, path):
    """Follow a dotted path of attributes and fields from an object."""
    value = start
    for part in path.split(".") if path else ():
        fields = {**getattr(value, "__dataclass_fields__", {}), **getattr(value, "__annotations__", {})}
        value = getattr(value, part, fields.get(part))
    return value is not None


def is_there(target, module, classes):
    """Whether Sphinx finds a role's target from a module: a name of it or of its classes, a full path, or ``.end``."""
    if not target.startswith(".") and any(found(start, target) for start in (module, builtins, *classes)):
        return True
    parts = target.split(".")
    for cut in range(len(parts), 0, -1):
        start = ".".join(parts[:cut])
        ends = [name for name in FILES if name.endswith(start)] if start.startswith(".") else [start]
        for name in ends if start else [name for name in FILES if name in sys.modules]:
            try:
                if found(import_module(name), ".".join(parts[cut:])):
                    return True
            except ImportError:
                continue
    return False


@pytest.mark.parametrize("name", [name for name, text in FILES.items() if ROLE.search(text)])
def test_references_lead_somewhere(name):
    module = loaded(name)
    classes = [value for value in vars(module).values() if isinstance(value, type)]
    targets = {*ROLE.findall(FILES[name])}
    assert sorted(target for target in targets if not is_there(target, module, classes)) == []


def test_every_module_says_what_it_is():
    assert [name for name, text in FILES.items() if not ast.get_docstring(ast.parse(text))] == []
