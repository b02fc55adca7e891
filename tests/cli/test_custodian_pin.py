"""A custodian's PIN that stands in no file and no variable: asked for at a terminal, once, without echo."""

import os
from dataclasses import replace

import pytest

from tests.cli.operator import Operator
from tests.cli.terminal import at_a_terminal
from tests.services.softhsm import SoftToken

QUESTION = "The PIN of the PKCS#11 token for "
MISSING, REFUSED = "SHREDVAULT_PKCS11_PIN", 4


@pytest.fixture
def bearer(soft_token: SoftToken, stranger: Operator) -> Operator:
    """Somebody whose masters are to stand on a token, and who has its PIN in the head only."""
    settings = {
        "SOFTHSM2_CONF": os.environ["SOFTHSM2_CONF"],
        "SHREDVAULT_CUSTODIAN": soft_token.uri.partition("&pin-source")[0],
    }
    return replace(stranger, environment=stranger.environment | settings)


def test_a_pin_is_asked_for_once_and_not_shown(bearer: Operator, soft_token: SoftToken) -> None:
    def at_the_terminal(*words: str) -> str:
        code, shown = at_a_terminal(bearer, f"{soft_token.pin}\n", *words, after=QUESTION)
        assert code == 0, shown
        assert shown.count(QUESTION) == 1
        assert f"token={soft_token.label}" in shown, "which token is meant"
        assert soft_token.pin not in shown
        return shown

    at_the_terminal("init")
    assert soft_token.pin.encode() not in b"".join(
        path.read_bytes() for path in bearer.home.rglob("*") if path.is_file()
    )
    at_the_terminal("custodian", "show")

    code, shown = at_a_terminal(bearer, "not-the-pin\n", "custodian", "show", after=QUESTION)
    assert (code, shown.count(QUESTION)) == (REFUSED, 1), "a refused PIN is not tried again"
    assert "not-the-pin" not in shown
    code, shown = at_a_terminal(bearer, "\n", "custodian", "show", after=QUESTION)
    assert code == REFUSED
    assert MISSING in shown.replace("\r\n", " ")

    # Nobody can be asked without a terminal, and `serve` asks nobody.
    for words in (("sweep",), ("custodian", "show"), ("serve", "--port", "0")):
        done = bearer.run(*words)
        assert done.code == REFUSED, done.err
        assert MISSING in done.err
    assert bearer.run("status", SHREDVAULT_PKCS11_PIN=soft_token.pin).code == 0


def test_nothing_is_founded_without_the_pin(bearer: Operator) -> None:
    done = bearer.run("init")
    assert done.code == REFUSED
    assert MISSING in done.err
    assert not (bearer.home / "vault.json").exists()
