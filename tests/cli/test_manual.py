import re

import pytest
from typer.testing import CliRunner

from api.cli.app import app
from api.cli.exits import MEANINGS, ExitCode
from tests.cli.listed import commands
from tests.cli.operator import Operator

COMMANDS = sorted(commands(app))


def test_the_version(newcomer: Operator) -> None:
    assert re.fullmatch(r"Shredvault \d+\.\d+\.\d+\n", newcomer.run("--version").out)


def test_the_manual_lists_every_exit_code_with_its_meaning(newcomer: Operator) -> None:
    manual = newcomer.run("--help", COLUMNS="120").out
    assert set(MEANINGS) == set(ExitCode)
    for code, meaning in MEANINGS.items():
        assert re.search(rf"^ +{code:d}  {re.escape(meaning)} *$", manual, re.MULTILINE), code


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_page_with_every_option_explained(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    page = CliRunner().invoke(app, [*command.split(), "--help"], prog_name="shredvault")
    assert page.exit_code == 0
    assert f"Usage: shredvault {command}" in page.output
    assert "\b" not in page.output
    rows = [line for line in page.output.splitlines() if line.startswith("│") and " --" in line]
    assert rows
    assert all(re.search(r"[a-z]{3}[^│]*│$", row) for row in rows)


@pytest.mark.parametrize("words", [("--nonsense",), ("hold", "place", "--docket"), ("sweep", "extra")])
def test_wrong_words_are_a_matter_of_usage(newcomer: Operator, words: tuple[str, ...]) -> None:
    wrong = newcomer.run(*words)
    assert wrong.code == 2
    assert wrong.err.endswith("`shredvault --help` is the manual.\n")
    assert wrong.err.count("\n") == 1
