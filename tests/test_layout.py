"""The layout: folders and files as ARCHITECTURE.md describes them."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "mta"
SOURCES = sorted(PACKAGE.rglob("*.py"))
MANUALS = sorted(PACKAGE.rglob("__init__.py"))

PROCESSES = ("server", "qmgr", "deliver", "supervisor")
LIBRARIES = ("smtp", "policy", "spool", "dns", "tables", "tlsrpt")
LONGEST_FILE_LINES = 500
LONGEST_FUNCTION_LINES = 60


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MANUALS, ids=_name)
def test_a_package_is_introduced_by_its_manual(path: Path) -> None:
    """`__init__.py` holds a docstring and no code; the version of the whole is the one exception."""
    body = ast.parse(path.read_text()).body
    assert body, f"{path} is empty"
    text = ast.get_docstring(ast.parse(path.read_text()))
    assert text, f"{path} explains nothing"
    code = [ast.unparse(node) for node in body[1:]]
    if path.parent == PACKAGE:
        code = [line for line in code if not line.startswith("__version__ = ")]
    assert code == []


def test_a_process_has_a_main_and_a_library_has_none() -> None:
    for name in PROCESSES:
        assert (PACKAGE / name / "main.py").exists(), f"{name} cannot be started"
    for name in LIBRARIES:
        assert not (PACKAGE / name / "main.py").exists(), f"{name} is no process"


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= LONGEST_FILE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= LONGEST_FUNCTION_LINES, f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_what_is_public_is_explained(path: Path) -> None:
    """Modules, and the classes and functions that others may use, have docstrings; an oracle's are its twin's."""
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "the module says nothing of itself"
    if path.name == "_fastparse_py.py":
        return
    silent = [node.name for node in _public(tree) if not ast.get_docstring(node) and not _is_overload(node)]
    assert silent == []


def _is_overload(node: ast.FunctionDef | ast.ClassDef) -> bool:
    """Whether it only declares types of a function that is explained where it is written."""
    return any(isinstance(found, ast.Name) and found.id == "overload" for found in node.decorator_list)


def _public(tree: ast.Module) -> list[ast.FunctionDef | ast.ClassDef]:
    """Classes and functions at the top of a module, and the methods of public classes, that have no underscore."""
    found: list[ast.FunctionDef | ast.ClassDef] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            found.append(node)
            if isinstance(node, ast.ClassDef):
                methods = [item for item in node.body if isinstance(item, ast.FunctionDef)]
                found += [item for item in methods if not item.name.startswith("_")]
    return found
