"""There is one way to destroy a master key, and one module that may take it."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = [path for package in ("keystore", "vault", "api") for path in sorted((ROOT / package).rglob("*.py"))]


def importers(module: str) -> set[str]:
    found = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            if module in names:
                found.add(str(path.relative_to(ROOT)))
    return found


def callers(method: str) -> set[str]:
    return {
        str(path.relative_to(ROOT))
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == method
    }


def test_one_module_imports_the_destroyer() -> None:
    assert importers("keystore.destruction") == {"vault/destruction/carrying_out.py"}
    assert "vault/trees/keyring.py" in importers("keystore")


def test_one_module_asks_a_custodian_to_destroy() -> None:
    # Beside it: the parts of a split, an object of PKCS#11, and the demo's own `Stage.destroy`.
    custodians = {"keystore/custodians/split.py", "keystore/custodians/pkcs11.py"}
    assert callers("destroy") == {"keystore/destruction.py", *custodians, "api/cli/demo.py"}
    assert "vault/destruction/condemning.py" in callers("create")
