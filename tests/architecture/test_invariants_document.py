"""docs/invariants.md names only files and tests that exist: `| id | invariant | enforced in | shown by |`."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "invariants.md"
ROWS_MIN = 10


class Row(NamedTuple):
    id: str
    invariant: str
    enforced: list[str]
    shown: list[str]


def rows_of(text: str) -> list[Row]:
    rows = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        if (
            line.lstrip().startswith("|")
            and len(cells) == 4
            and cells[0].lower() != "id"
            and set(cells[0]) - set("-: ")
        ):
            rows.append(Row(cells[0], cells[1], re.findall(r"`([^`]+)`", cells[2]), re.findall(r"`([^`]+)`", cells[3])))
    return rows


@cache
def functions_of(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text("utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    names = {node.name for node in ast.walk(tree) if isinstance(node, functions) and node.name.startswith("test_")}
    # A state machine of Hypothesis is bound to a name.
    names |= {t.id for n in tree.body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)}
    return frozenset(names)


def faults(row: Row) -> list[str]:
    """What is wrong with a row, in words."""
    wrong = [f"{row.id}: {cell} is empty" for cell in ("invariant", "enforced", "shown") if not getattr(row, cell)]
    absent = [place for place in row.enforced if not (ROOT / place.partition("::")[0]).exists()]
    wrong += [f"{row.id}: there is no {place}" for place in absent]
    for place in row.shown:
        path, _, test = place.partition("::")
        if not (ROOT / path).is_file():
            wrong.append(f"{row.id}: there is no {path}")
        elif not test:
            wrong.append(f"{row.id}: {place} names no test")
        elif test.rpartition("::")[2].partition("[")[0] not in functions_of(ROOT / path):
            wrong.append(f"{row.id}: there is no test {place}")
    return wrong


def test_every_row_names_what_exists() -> None:
    rows = rows_of(DOCUMENT.read_text("utf-8"))
    assert len(rows) >= ROWS_MIN
    ids = [row.id for row in rows]
    assert len(set(ids)) == len(ids)
    assert [fault for row in rows for fault in faults(row)] == []


def test_wrong_rows_are_found() -> None:
    here = "tests/architecture/test_invariants_document.py"
    table = f"""
| id | invariant | enforced in | shown by |
| --- | :-- | --- | --- |
| I1 | fine | `vault/clocks/clock.py` | `{here}::test_wrong_rows_are_found` |
| I2 | no file | `vault/nothing.py` | `{here}::test_wrong_rows_are_found` |
| I3 | no test | `vault/clocks/clock.py` | `{here}::test_that_is_not` |
| I4 | no name | `vault/clocks/clock.py` | `{here}` |
| I5 | empty | vault/clocks/clock.py | `{here}::test_wrong_rows_are_found` |
"""
    rows = rows_of(table)
    assert [row.id for row in rows] == ["I1", "I2", "I3", "I4", "I5"]
    assert [bool(faults(row)) for row in rows] == [False, True, True, True, True]
