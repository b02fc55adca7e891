"""What documents, docstrings and programs in strings name exists: they are not imported, so nothing else notices."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("keystore", "vault", "api", "tests", "docs", "infra")
TEXTS = sorted(
    path
    for path in (*ROOT.glob("*.md"), *(p for folder in FOLDERS for p in (ROOT / folder).rglob("*")))
    if path.suffix in (".md", ".py") and path != Path(__file__).resolve()
)
FILES = {"vault.json", "vault.key"}
"""Names of files that look like those of modules."""
MADE_UP = {"vault/nothing.py"}
_DOTTED = re.compile(r"`((?:vault|keystore|api|tests)(?:\.\w+)+)`")
_IMPORT = re.compile(r"\bfrom ((?:vault|keystore|api|tests)(?:\.\w+)*) import (\w+)")
_PATH = re.compile(r"(?<![\w./-])(?:vault|keystore|api|tests|docs|infra)/[\w./-]+\.(?:py|md|sh|sql|yaml)\b")


def source(module: str) -> str | None:
    """What a module consists of; a folder without `__init__` consists of nothing."""
    path = ROOT.joinpath(*module.split("."))
    if path.is_dir():
        head = path / "__init__.py"
        return head.read_text("utf-8") if head.exists() else ""
    return path.with_suffix(".py").read_text("utf-8") if path.with_suffix(".py").exists() else None


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or stands in the module before its last dots."""
    module, rest = name, ""
    while (text := source(module)) is None:
        module, _, rest = module.rpartition(".")
    return not rest or re.search(rf"\b{rest}\b", text) is not None


def unknown(text: str) -> Iterator[str]:
    names = {*_DOTTED.findall(text), *(f"{module}.{name}" for module, name in _IMPORT.findall(text))} - FILES
    yield from (name for name in names if not exists(name))
    yield from (path for path in set(_PATH.findall(text)) - MADE_UP if not (ROOT / path).exists())


@pytest.mark.parametrize("folder", ["", *FOLDERS])
def test_what_is_named_exists(folder: str) -> None:
    here = [path for path in TEXTS if path.relative_to(ROOT).parts[:-1][:1] == ((folder,) if folder else ())]
    assert here or folder == "infra"
    assert {f"{path.relative_to(ROOT)}: {name}" for path in here for name in unknown(path.read_text("utf-8"))} == set()


def test_what_does_not_exist_is_found() -> None:
    assert set(unknown("`vault.gone`, `vault.holds.Gone`, vault/gone.py and docs/spec/gone.md")) == {
        "vault.gone",
        "vault.holds.Gone",
        "vault/gone.py",
        "docs/spec/gone.md",
    }
    assert list(unknown("PROGRAM = 'from vault.embedded_store import EmbeddedStore'")) == [
        "vault.embedded_store.EmbeddedStore"
    ]
    assert not list(unknown("`vault.holds.placing.place_hold`, `vault.json` and docs/rules.md"))
