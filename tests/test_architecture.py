"""The arrows between the modules: the pure folders know nothing outside themselves, edges do not know each other."""

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "device"
MODULES = sorted(PACKAGE.rglob("*.py"))
KNOWN_TO = {
    "hearing": {"hearing"},
    "message": {"hearing", "message"},
    "sending": {"sending"},
    "answering": {"hearing", "message", "answering"},
    "page": {"message", "page"},
}  # a request goes on, never back
FOREIGN_TO_PURE = {"threading", "time", "socket", "subprocess", "asyncio", "select", "os", "pathlib", "sqlite3"}


def imports(path: Path) -> set[str]:
    return imported(ast.parse(path.read_text()))


def imported(tree: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            found |= {f"{node.module}.{name.name}" for name in node.names}
    return found


def below(names: set[str], package: str) -> set[str]:
    return {name for name in names if name == package or name.startswith(f"{package}.")}


def part(path: Path) -> str:
    """The edge a module belongs to: its file or its package."""
    return path.relative_to(PACKAGE / "edges").parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", [path for path in MODULES if path.parent.name in KNOWN_TO], ids=lambda path: path.stem)
def test_pure_modules_import_only_their_folder_those_before_it_errors_the_standard_library_numpy_and_msgspec(path):
    for name in imports(path):
        top = name.split(".")[0]
        if top == "device":
            assert any(below({name}, f"device.{folder}") for folder in (*KNOWN_TO[path.parent.name], "errors")), name
        else:
            assert top in sys.stdlib_module_names | {"numpy", "msgspec"}, name
            assert top not in FOREIGN_TO_PURE, name


@pytest.mark.parametrize(
    "path", [path for path in MODULES if "edges" in path.parts], ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_edges_import_pure_modules_and_errors_and_no_other_edge(path):
    allowed = (
        *(f"device.{folder}" for folder in KNOWN_TO),
        "device.errors",
        "device.whole_file",
        "device.file_lock",
        "device.secret_file",
        "device.edges." + part(path),
    )
    for name in below(imports(path), "device"):
        if path.name != "__init__.py" or path.parent.name != "edges":
            assert any(below({name}, package) for package in allowed), name


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_stay_under_400_lines_and_functions_under_46(path):
    text = path.read_text()
    assert text.count("\n") <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < 45, node.name


def test_no_imports_go_in_a_circle_not_even_those_that_only_a_type_checker_sees():
    ahead = {path: {found for name in imports(path) if (found := module_of(name))} - {path} for path in MODULES}
    while free := [path for path, needed in ahead.items() if not needed & ahead.keys()]:
        for path in free:
            del ahead[path]
    assert not ahead, sorted(str(path.relative_to(PACKAGE)) for path in ahead)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_attributes_are_first_assigned_where_objects_are_made(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef):
            functions = [each for each in node.body if isinstance(each, ast.FunctionDef)]
            made = {name for each in functions if each.name == "__init__" for name in assigned(each)}
            declared = {each.target.id for each in node.body if isinstance(each, ast.AnnAssign)}
            later = {name for each in functions for name in assigned(each)}
            assert later <= made | declared, node.name


def assigned(function: ast.FunctionDef) -> set[str]:
    """The attributes of ``self`` that a method assigns."""
    return {
        node.attr
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }


def module_of(name: str) -> Path | None:
    """The module or package that a dotted name comes from."""
    parts = name.split(".")
    while parts[0] == "device" and len(parts) > 1:
        path = PACKAGE.joinpath(*parts[1:])
        for candidate in (path.with_suffix(".py"), path / "__init__.py"):
            if candidate in MODULES:
                return candidate
        parts.pop()
    return None


@pytest.mark.parametrize(
    "path", [path for path in MODULES if "hil" not in path.parts], ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_nothing_that_runs_as_a_service_imports_the_bench(path):
    assert not below(imports(path), "device.hil")
