"""Every rule of docs/rules.md is named beside what enforces it, and in a test that shows it."""

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "rules.md"
_ROW = re.compile(r"^\| ([TPHS]\d+) \|", re.MULTILINE)
_NAMED = re.compile(r"\b[TPHS]\d{1,2}\b")
# S3 is also a kind of object store: as a rule it stands after that word or after another rule.
_STORE = re.compile(r"(?<!rule )(?<![SHPT]\d, )\bS3\b")
_RANGE = re.compile(r"\b([TPHS])(\d{1,2})(?:\u2013|-| to )(?:\1)?(\d{1,2})\b")
RULES = _ROW.findall(DOCUMENT.read_text("utf-8"))


def named_in(text: str) -> set[str]:
    """Ids that a text names, one by one or as a range (`T2 to T4`)."""
    found = set(_NAMED.findall(_STORE.sub("", text)))
    for kind, first, last in _RANGE.findall(text):
        found |= {f"{kind}{number}" for number in range(int(first), int(last) + 1)}
    return found


@cache
def named_below(*folders: str) -> frozenset[str]:
    here = Path(__file__).resolve()
    files = [p for folder in folders for p in (ROOT / folder).rglob("*.py") if p.resolve() != here]
    return frozenset().union(*(named_in(path.read_text("utf-8")) for path in files))


def test_the_document_has_all_kinds_of_rules() -> None:
    assert len(RULES) == len(set(RULES)) == 27
    assert {rule[0] for rule in RULES} == set("TPHS")


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_is_named_where_it_is_enforced_and_where_it_is_shown(rule: str) -> None:
    assert rule in named_below("keystore", "vault", "api"), f"no code names {rule}"
    assert rule in named_below("tests"), f"no test names {rule}"


def test_names_are_understood() -> None:
    assert named_in("the rules T2 to T4 and H11") == {"T2", "T3", "T4", "H11"}
    assert named_in("Any store (S3), as rule S1 says") == {"S1"}
    assert named_in("The rules S2, S3") == {"S2", "S3"} == named_in("S2 and, more so, rule S3")
    assert named_in("(S1-S4)") == {"S1", "S2", "S3", "S4"}
