"""The shape of the code: exports that are true, sizes, names, and where the clock is read."""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("keystore", "vault", "api")
LINES_MAX = 400
NAMES_BANNED = {"utils", "util", "helpers", "helper", "common", "core", "base", "manager", "misc"}
CLOCK = "vault/clocks/clock.py"
WALL_TIME = {
    "time.time",
    "time.time_ns",
    "time.gmtime",
    "time.localtime",
    "datetime.now",
    "datetime.utcnow",
    "datetime.today",
    "date.today",
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "datetime.date.today",
}


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


CODE = sources(*PACKAGES)
MODULES = [p for p in CODE if "migrations" not in p.parts and p.name != "__main__.py"]


def test_there_is_code() -> None:
    assert len(CODE) > 30


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def exported(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return [str(name) for name in ast.literal_eval(node.value)]
    return None


def by_ruff(name: str) -> tuple[int, str]:
    """The order of RUF022: constants, classes, then the rest."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2
    return kind, name


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_exports_are_true(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    names = exported(tree)
    defines = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
    if names is None:
        public = [n.name for n in defines if not n.name.startswith("_")]
        assert public == [], "public names without __all__"
        return
    assert names == sorted(names, key=by_ruff)
    assert len(set(names)) == len(names)
    module = importlib.import_module(module_name(path))
    missing = [name for name in names if not hasattr(module, name)]
    assert missing == []
    assert not [name for name in names if name.startswith("_")]


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_every_module_is_imported_first_without_a_cycle(path: Path) -> None:
    """Seen from the source: no module imports, at its head, one that imports it."""
    graph = imports()
    start = module_name(path)
    seen: set[str] = set()
    waiting = list(graph.get(start, ()))
    while waiting:
        name = waiting.pop()
        assert name != start, f"{start} imports itself through others"
        if name not in seen:
            seen.add(name)
            waiting.extend(graph.get(name, ()))


@cache
def imports() -> dict[str, set[str]]:
    known = {module_name(path): path for path in MODULES}
    graph: dict[str, set[str]] = {}
    for name, path in known.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        found: set[str] = set()
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ImportFrom):
                above = package.rsplit(".", node.level - 1)[0] if node.level else ""
                target = ".".join(filter(None, (above, node.module)))
                for alias in node.names:
                    inner = f"{target}.{alias.name}"
                    found.add(inner if inner in known else target)
            elif isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
        graph[name] = {other for other in found if other in known}
    return graph


def test_the_packages_are_imported_in_a_fresh_process() -> None:
    for order in (PACKAGES, PACKAGES[::-1]):
        code = "".join(f"import {package}\n" for package in order)
        done = subprocess.run([sys.executable, "-W", "error", "-c", code], check=False, capture_output=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("path", CODE, ids=named)
def test_a_reader_can_hold_it_in_mind(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= LINES_MAX


@pytest.mark.parametrize("path", [*CODE, *sources("tests", "docs", "infra")], ids=named)
def test_names_say_what_is_inside(path: Path) -> None:
    assert path.stem not in NAMES_BANNED
    assert not NAMES_BANNED & set(path.relative_to(ROOT).parts[:-1])


@pytest.mark.parametrize("path", [*CODE, *sources("tests")], ids=named)
def test_nothing_is_left_to_do(path: Path) -> None:
    marks = "TO" + "DO", "FIX" + "ME", "XX" + "X"
    found = [line for line in path.read_text("utf-8").splitlines() if re.search(rf"#.*\b({'|'.join(marks)})\b", line)]
    assert found == []


def broad_handlers(path: Path) -> Iterator[tuple[ast.ExceptHandler, str]]:
    text = path.read_text("utf-8")
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ExceptHandler) and (
            node.type is None or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException"))
        ):
            yield node, lines[node.lineno - 1]


def raises_again(handler: ast.ExceptHandler) -> bool:
    return any(isinstance(node, ast.Raise) and node.exc is None for node in ast.walk(handler))


@pytest.mark.parametrize("path", CODE, ids=named)
def test_errors_are_caught_narrowly(path: Path) -> None:
    """Everything is caught only to clean up and raise again; or, in `api`, at a wall that gives its reason."""
    for handler, line in broad_handlers(path):
        reason = re.search(r"# noqa: BLE001 +# \w+", line) is not None and named(path).startswith("api/")
        assert raises_again(handler) or reason, f"{named(path)}:{handler.lineno}"


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def wall_time(text: str) -> list[str]:
    tree = ast.parse(text)
    found = [dotted(n) for n in ast.walk(tree) if isinstance(n, ast.Attribute) and dotted(n) in WALL_TIME]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            found += [alias.name for alias in node.names if f"time.{alias.name}" in WALL_TIME]
    return found


@pytest.mark.parametrize("path", [p for p in CODE if named(p) != CLOCK], ids=named)
def test_only_the_clock_reads_wall_time(path: Path) -> None:
    assert wall_time(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "text",
    [
        "import time\ntime.time()",
        "from time import time",
        "datetime.now(UTC)",
        "f(date.today)",
        "datetime.datetime.utcnow()",
    ],
)
def test_the_search_for_wall_time_finds_it(text: str) -> None:
    assert wall_time(text)
    assert wall_time((ROOT / CLOCK).read_text("utf-8"))
    assert not wall_time("time.monotonic(); time.sleep(1); clock.now()")


RANDOM = re.compile(r"^\s*(?:import random|from random import)", re.MULTILINE)


@pytest.mark.parametrize("path", sources("keystore"), ids=named)
def test_keys_are_drawn_from_the_kernel(path: Path) -> None:
    assert not RANDOM.search(path.read_text("utf-8"))
    assert RANDOM.search("\nimport random\n")


@pytest.mark.parametrize("path", CODE, ids=named)
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))
