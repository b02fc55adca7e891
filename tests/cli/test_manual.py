import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from api.cli.app import app
from api.cli.exits import MEANINGS, ExitCode
from tests.cli.forked import REPOSITORY
from tests.cli.listed import commands
from tests.cli.operator import Operator
from tests.services.openbao import POLICY

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


def test_a_mistyped_word_is_answered_with_those_that_are_meant(newcomer: Operator) -> None:
    assert newcomer.run("statsu").err.startswith("No such command 'statsu'. Did you mean 'status'? `shredvault")
    kind = newcomer.run("access", "create", "--role", "clerk", "--label", "Queens").err
    assert kind.startswith("Invalid value for '--role': 'clerk' is not one of 'center', ")


def test_ctrl_c_while_the_command_line_is_still_built() -> None:
    begun = (
        "import api.cli.app as started\ndef build(**_): raise KeyboardInterrupt\nstarted.app = build\nstarted.main()"
    )
    # And before that, while its modules are read.
    earlier = (
        "import sys\nclass Reading:\n def find_spec(self, name, *_):\n"
        "  if name == 'vault.host':\n   raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Reading())\nfrom api.cli import main\nmain()"
    )
    for program in (begun, earlier):
        ended = subprocess.run(
            [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False
        )
        assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "Interrupted.\n")


RECIPE = REPOSITORY / "infra" / "container" / "Dockerfile"
PAGES = (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs" / "operations").glob("*.md")))


def shown_commands(page: str) -> set[str]:
    """What a page tells people to type: in backticks, and in blocks with their continued lines."""
    joined = page.replace("\\\n", " ")
    return {
        found.split("#")[0].split(" | ")[0].split(" > ")[0].strip()
        for found in re.findall(r"`shredvault ([^`\n]+)`|^ *(?:\$ )?shredvault (.+)$", joined, re.MULTILINE)
        for found in found
        if found
    }


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_the_pages_show_commands_and_options_that_there_are(path: Path) -> None:
    known = _options()
    groups = {name.rpartition(" ")[0] for name in COMMANDS if " " in name}
    for shown in shown_commands(path.read_text("utf-8")):
        words = shown.split()
        name = next((" ".join(words[:n]) for n in (3, 2, 1) if " ".join(words[:n]) in known), None)
        if name is None:
            # A whole group of commands, or the options that stand before any command.
            assert shown in groups or words[0].startswith(("--", "…")), shown
            continue
        used = set(re.findall(r"(?<=\s)--[a-z][a-z-]+", f" {shown}"))
        assert used <= known[name] | {"--help"}, (shown, used - known[name])


def test_what_the_pages_name_besides_commands_is_there() -> None:
    """Extras to install, files of the repository, and the policy of OpenBao that the tests work under."""
    texts = {path.name: path.read_text("utf-8") for path in (*PAGES, RECIPE)}
    extras = set(tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"])
    named = [
        extra
        for text in texts.values()
        for found in re.findall(r"(?:shredvault|\.)\[([\w,]+)\]|EXTRAS=([\w,]+)|the extra `(\w+)`", text)
        for extra in "".join(found).split(",")
    ]
    assert len(named) >= 7
    assert set(named) == extras
    for name, text in texts.items():
        for path in re.findall(r"(?<![\w/])infra/[\w/.@-]*\w", text):
            assert (REPOSITORY / path).exists(), (name, path)
    policy = re.findall(r"path \"(transit/.+)\" +(\{.+\})", texts["custodians.md"])
    assert policy == re.findall(r"path \"(.+)\" +(\{.+\})", POLICY.format(mount="transit"))


def _options() -> dict[str, set[str]]:
    """The options of each command."""
    # Building the command line takes longer than all the rest: once for all commands.
    line: Any = typer.main.get_command(app)
    found = {}
    for name in COMMANDS:
        command = line
        for word in name.split():
            command = command.commands[word]
        found[name] = {
            option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
        }
    return found
