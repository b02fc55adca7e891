"""What an operator mistypes first: the address of a custodian or of the object store. Nothing of it stays."""

import json
import shutil
from dataclasses import replace

import pytest

from tests.cli.operator import Operator
from tests.services.openbao import Engine

NOWHERE = "http://127.0.0.1:9"
REFUSED, UNAVAILABLE, OTHER_CHOICES = 4, 6, 9


@pytest.fixture
def uri(engine: Engine) -> str:
    return engine.uri


def test_a_vault_is_founded_once_everything_answers(stranger: Operator, uri: str, engine: Engine) -> None:
    mistyped = {
        engine.uri_at(NOWHERE): (UNAVAILABLE, "cannot be reached"),
        uri.replace("/transit-", "/transit_"): (REFUSED, "or there is no engine at transit_"),
        uri.replace(".token", ".tokens"): (REFUSED, "cannot be read (No such file or directory)"),
        uri.replace("token-file", "tokenfile"): (REFUSED, "takes ca-file, prefix, timeout, token-file"),
        "pkcs11:token=nobody?module-name=softhsm2": (UNAVAILABLE, "No token of the PKCS#11 module matches"),
        "pkcs11:token=nobody?module-name=no-hsm": (REFUSED, "No PKCS#11 modules of that module-name are installed"),
    }
    for address, (code, sentence) in mistyped.items():
        done = stranger.run("init", "--custodian", address)
        assert (done.code, sentence in done.err, done.err.count("\n")) == (code, True, 1), done
    done = stranger.run("init", "--custodian", uri, "--objects", NOWHERE)
    assert (done.code, done.err.count("\n")) == (UNAVAILABLE, 1), done
    done = stranger.run("init", "--custodian", uri, SHREDVAULT_S3_SECRET_KEY="mistyped")
    assert (done.code, done.err.count("\n")) == (UNAVAILABLE, 1), done

    # That a policy forbids to make a key shows only when one is made. Then there is a home, and the way out is said.
    done = stranger.run("init", "--custodian", f"{uri}&prefix=other-")
    assert (done.code, "its policy does not allow" in done.err) == (REFUSED, True), done
    done = stranger.run("init", "--custodian", uri)
    assert (done.code, "was cut off, with another choice" in done.err) == (OTHER_CHOICES, True), done
    shutil.rmtree(stranger.home)

    assert stranger.run("init", "--custodian", uri).code == 0
    assert stranger.run("init", "--custodian", engine.uri_at(NOWHERE)).code == OTHER_CHOICES
    assert stranger.run("status", "--check").code == 0


def test_a_move_to_nowhere_leaves_nothing_behind(operator: Operator, uri: str, engine: Engine) -> None:
    def named() -> list[str]:
        found: list[str] = json.loads((operator.home / "vault.json").read_text())["custodians"]
        return found

    (first,) = named()
    nowhere = engine.uri_at(NOWHERE)
    for words in (("move", nowhere), ("allow", nowhere), ("move", f"split:file:{operator.folder}/stick,{nowhere}")):
        done = operator.run("custodian", *words)
        assert (done.code, "cannot be reached" in done.err, done.err.count("\n")) == (UNAVAILABLE, True, 1), done
    assert named() == [first]
    # One that answered when it was allowed, and does not when the vault is to move there.
    away = replace(operator, environment=operator.environment | {"SHREDVAULT_OPENBAO_TOKEN": "mistyped"})
    asking = uri.partition("?")[0]
    assert away.run("custodian", "allow", asking).code == 0, "who may not look may use it all the same"
    done = away.run("custodian", "move", asking)
    assert (done.code, "OpenBao refuses" in done.err, "Nothing was begun." in done.err) == (REFUSED, True, True), done
    recovered = operator.run("recover")
    assert (recovered.code, "nothing to do" in recovered.out) == (0, True), recovered

    assert operator.run("custodian", "move", uri).code == 0
    assert operator.run("custodian", "show").out.count("never") == 2
    kept = operator.run("custodian", "forget", uri)
    assert (kept.code, "2 master keys may still stand there" in kept.err) == (REFUSED, True), kept
    for address in (first, asking):
        assert "not named any more" in operator.run("custodian", "forget", address).out
    again = operator.run("custodian", "forget", first)
    assert (again.code, "was not named" in again.out) == (0, True)
    assert named() == [uri]
    # The old key folder may go now: nobody looks for it any more.
    (operator.folder / "keys").rmdir()
    rebuilt = operator.run("rebuild")
    assert rebuilt.code == 0, rebuilt
    # It is asked, not only opened: a token that has run out, or a server that is sealed, is not found at night.
    engine.token_file.write_text("mistyped")
    looked = operator.run("status", "--check")
    assert (looked.code, "is out of reach: nothing can be filed" in looked.err) == (11, True), looked
    assert "OpenBao refuses: the token is wrong or has run out" in looked.err
