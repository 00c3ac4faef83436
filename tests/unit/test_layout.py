"""The tests' own layout: what tests share stands in tests/kit, and conftests hold fixtures."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.kit.project import HOME

TESTS = HOME / "tests"


_MAY_IMPORT_A_TEST = re.compile(r"tests\.(?!kit\.)(?!kit import)|tests import|from \.|conftest")


def _imported(file: Path) -> Iterator[str]:
    text = file.read_text(encoding="utf-8")
    if not _MAY_IMPORT_A_TEST.search(text):
        return  # to parse all takes seconds
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module}.{name.name}" for name in node.names)


def test_no_test_imports_a_test() -> None:
    found = {
        f"{file.relative_to(TESTS)}: {name}"
        for file in TESTS.rglob("*.py")
        for name in _imported(file)
        if name.startswith(".")
        or (name.startswith("tests.") and not name.startswith("tests.kit."))
        or "conftest" in name
    }

    assert not found


def test_conftests_hold_fixtures_only() -> None:
    found = {
        f"{file.relative_to(TESTS)}: {node.name}"
        for file in TESTS.rglob("conftest.py")
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
        or (isinstance(node, ast.FunctionDef) and not _is_helper_or_fixture(node))
    }

    assert not found


def _is_helper_or_fixture(node: ast.FunctionDef) -> bool:
    return node.name.startswith("_") or any(
        "fixture" in ast.unparse(decorator) for decorator in node.decorator_list
    )


def test_no_two_test_files_have_the_same_name() -> None:
    """Without packages, pytest takes one for the other when both are run at once."""
    names = [file.name for file in TESTS.rglob("test_*.py")]

    assert sorted(names) == sorted(set(names))
