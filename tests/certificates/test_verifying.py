"""The verifier stands alone, says VALID of what is, and of nothing else: changes, swaps, rehearsals, other keys."""

import ast
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.certificates.conftest import Issued, issue
from tests.people import HEAD, key_of
from tests.vault.world import World
from vault import canonical
from vault.certificates import Certificate, extract_ledger, issue_certificate, verify_certificate
from vault.certificates.facts import CERTIFICATE
from vault.certificates.verify_certificate import InvalidError, verify
from vault.context import note
from vault.log import SigningKey

CHANGES = 1000


def test_an_honest_certificate_is_valid(issued: Issued) -> None:
    found = verify(issued.certificate.document, issued.key, issued.ledger)
    assert len(found) == 6
    assert verify(issued.certificate.document, issued.key) == found[:-1]


def test_on_both_databases_and_for_zero_records(quick_world: World) -> None:
    made = issue(quick_world)
    assert verify(made.certificate.document, made.key, made.ledger)
    empty = issue_certificate(quick_world.vault, quick_world.sweep().id)
    assert "The list was empty: no key had to be destroyed." in verify(empty.document, made.key)


def test_a_scrub_bears_its_order_and_the_signatures_on_it(quick_world: World) -> None:
    quick_world.file()
    scrubbed = issue_certificate(quick_world.vault, quick_world.scrub().id)
    key = f"{quick_world.vault.signing.verifier}\n".encode()
    assert verify(scrubbed.document, key, extract_ledger(quick_world.vault, scrubbed.id))
    authority = scrubbed.content["authority"]
    assert json.loads(authority["signed"]["body"])["nonce"] == authority["order"]
    for change, why in (
        (set_in("list_root", to="11" * 32), "another list"),
        (set_in("kind", to="destroy"), "something else"),
        (set_in("authority", "order", to=scrubbed.id), "another order"),
    ):
        with pytest.raises(InvalidError, match=why):
            verify(forged(quick_world, scrubbed, change), key)


def test_no_changed_byte_is_accepted(issued: Issued) -> None:
    """1,000 random changes of one byte, in the certificate, the part of the ledger, and the key."""
    random = Random(88)
    honest = [issued.certificate.document, issued.key, issued.ledger]
    for number in range(CHANGES):
        changed = list(honest)
        which = number % 3
        blob = bytearray(honest[which])
        at = random.randrange(len(blob))
        blob[at] ^= random.randrange(1, 256)
        changed[which] = bytes(blob)
        with pytest.raises(InvalidError):
            verify(*changed)


def test_nothing_left_out_or_put_in_is_accepted(issued: Issued) -> None:
    document, key, ledger = issued.certificate.document, issued.key, issued.ledger
    for other in (b"", document[:-1], document + b"\n", b" " + document, document.replace(b",", b", ", 1)):
        with pytest.raises(InvalidError):
            verify(other, key)
    for other in (ledger[:-1], ledger + b" ", b"{}", b"[" * 100_000):
        with pytest.raises(InvalidError):
            verify(document, key, other)
    for other in (b"", key + b"\n", key.upper()):
        with pytest.raises(InvalidError):
            verify(document, other)


def forged(world: World, certificate: Certificate, change: Callable[[dict[str, Any]], None]) -> bytes:
    """A certificate with other content, signed by the vault's own key: what a lying vault could make."""
    content = certificate.content
    change(content)
    signing = world.vault.signing
    signature = signing.sign(f"{CERTIFICATE}\n".encode() + canonical.encode(content)).hex()
    return canonical.encode({"certificate": content, "signature": {"key": str(signing.verifier), "value": signature}})


def set_in(*path: str | int, to: object) -> Callable[[dict[str, Any]], None]:
    def change(content: Any) -> None:
        for step in path[:-1]:
            content = content[step]
        content[path[-1]] = to

    return change


def one_key_for_three(approvers: list[dict[str, Any]]) -> None:
    """Each name has a good signature, all by one person."""
    for other in approvers[1:]:
        other.update({name: approvers[0][name] for name in ("key", "signature")})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (set_in("counts", "destroyed", to=13), "do not add up"),
        (set_in("times", "fenced_at", to="2020-01-01T00:00:00+00:00"), "not in the order"),
        (set_in("verification", "state_read_back", to="live"), "Nobody saw"),
        (set_in("verification", "refused_uses", to=0), "Nobody saw that the old"),
        (set_in("keys", "new_epoch", to=1), "not newer"),
        (set_in("authority", "approvers", to=[]), "Nobody approved"),
        (lambda content: content["authority"]["approvers"].pop(), "Only 2 of 3"),
        (lambda content: one_key_for_three(content["authority"]["approvers"]), "One key"),
        (set_in("authority", "policy_sha256", to="00" * 32), "another policy"),
        (set_in("authority", "approvers", 0, "person", to="carl.counsel"), "signed twice"),
        (set_in("authority", "approvers", 0, "key", to="SHA256:AAAA"), "signature of ada.head is wrong"),
        (set_in("authority", "signed", "namespace", to="file"), "of ada.head is wrong"),
        (set_in("authority", "order", to="6h1n8p4s2d9g0j5k7m3q1r8v4x"), "no order"),
        (set_in("ledger", "entries", to=[]), "steps"),
        (set_in("ledger", "entries", 1, "id", to=1), "does not stand in the ledger"),
        (set_in("program", "vault", to="00" * 16), "another vault"),
        (set_in("format", to="shredvault/certificate/v9"), "no Shredvault certificate"),
        (set_in("counts", to=None), "not what it should be"),
    ],
)
def test_a_lie_that_the_vault_itself_signed_is_found(
    issued: Issued, change: Callable[[dict[str, Any]], None], why: str
) -> None:
    with pytest.raises(InvalidError, match=why):
        verify(forged(issued.world, issued.certificate, change), issued.key)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (set_in("list_root", to="11" * 32), "another list"),
        (set_in("id", to="6h1n8p4s2d9g0j5k7m3q1r8v4x"), "about something else"),
        (set_in("overdue_days", to=0), "another certificate"),
    ],
)
def test_a_lie_that_only_the_ledger_tells_is_found(
    issued: Issued, change: Callable[[dict[str, Any]], None], why: str
) -> None:
    lie = forged(issued.world, issued.certificate, change)
    assert verify(lie, issued.key)
    with pytest.raises(InvalidError, match=why):
        verify(lie, issued.key, issued.ledger)


def test_a_certificate_of_another_vault_or_key_is_invalid(issued: Issued) -> None:
    other = SigningKey(issued.world.vault.signing.verifier.name, Ed25519PrivateKey.generate())
    with pytest.raises(InvalidError, match="another key"):
        verify(issued.certificate.document, f"{other.verifier}\n".encode())


def test_a_rehearsal_never_passes_for_real(quick_world: World) -> None:
    quick_world.file()
    quick_world.advance(days=800)
    paper = issue_certificate(quick_world.vault, quick_world.sweep().id, rehearsal=True)
    key = f"{quick_world.vault.signing.verifier}\n".encode()
    with pytest.raises(InvalidError, match="REHEARSAL"):
        verify(paper.document, key)
    envelope = json.loads(paper.document)
    with pytest.raises(InvalidError, match="REHEARSAL"):
        verify(paper.document, f"{envelope['signature']['key']}\n".encode())
    envelope["certificate"]["format"] = CERTIFICATE
    for trusted in (key, f"{envelope['signature']['key']}\n".encode()):
        with pytest.raises(InvalidError):
            verify(canonical.encode(envelope), trusted)


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_signatures_of_other_kinds_of_keys_are_checked(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(path)], check=True)
    public = subprocess.run(["ssh-keygen", "-lf", str(path)], check=True, capture_output=True, text=True).stdout
    key = key_of(HEAD).__class__(path, "")
    approver = {"person": HEAD, "key": public.split()[1], "signature": key.sign(b"{}").decode()}
    verify_certificate._check_ssh(approver, "shredvault-order@v1", b"{}")
    with pytest.raises(InvalidError):
        verify_certificate._check_ssh(approver, "shredvault-order@v1", b"{ }")
    with pytest.raises(InvalidError):
        verify_certificate._check_ssh(approver, "shredvault-policy@v1", b"{}")


def test_the_file_stands_alone(issued: Issued, tmp_path: Path) -> None:
    """It imports the standard library and `cryptography`, and runs where there is no vault."""
    source = Path(verify_certificate.__file__).read_text("utf-8")
    names = {
        (node.module or "").partition(".")[0]
        if isinstance(node, ast.ImportFrom)
        else node.names[0].name.partition(".")[0]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert names - {"cryptography"} <= set(sys.stdlib_module_names)
    for name, content in (
        ("verify_certificate.py", source.encode()),
        ("certificate.json", issued.certificate.document),
        ("vault.key", issued.key),
        ("ledger.json", issued.ledger),
        ("changed.json", issued.certificate.document.replace(b'"listed":12', b'"listed":11')),
    ):
        (tmp_path / name).write_bytes(content)
    words = [sys.executable, "-I", "verify_certificate.py", "--key", "vault.key", "--ledger", "ledger.json"]
    good = subprocess.run([*words, "certificate.json"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert good.returncode == 0, good.stderr
    assert good.stdout.startswith("VALID\n")
    assert "What it cannot prove:" in good.stdout
    for name, code, said in (
        ("changed.json", 1, "INVALID"),
        ("missing.json", 3, "The file missing.json is not there. Nothing was checked."),
        (".", 3, "The file . cannot be read. Nothing was checked."),
    ):
        bad = subprocess.run([*words, name], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (bad.returncode, bad.stdout.splitlines()[0]) == (code, said)


def test_a_lie_about_the_times_is_found_though_the_ledger_has_it_as_issued(quick_world: World) -> None:
    """A vault that missed its deadline could certify another day; its own entries of then tell."""
    made = issue(quick_world)
    key, honest = made.key, json.loads(made.ledger)["entries"]
    for step in ("started_at", "condemned_at", "completed_at"):
        lie = forged(quick_world, made.certificate, earlier(step))
        assert verify(lie, key)
        with quick_world.vault.catalogue.write() as tx:
            note(
                tx, quick_world.vault.clock.now(), "certificate issued", made.certificate.id, {"document": lie.decode()}
            )
        extract = json.loads(extract_ledger(quick_world.vault, made.certificate.id))
        extract["entries"] = [*extract["entries"][: len(honest) - 1], extract["entries"][-1]]
        with pytest.raises(InvalidError, match="other times"):
            verify(lie, key, canonical.encode(extract))


def earlier(step: str) -> Callable[[dict[str, Any]], None]:
    """By a microsecond, so that the steps are in their order still."""

    def change(content: Any) -> None:
        content["times"][step] = (
            datetime.fromisoformat(content["times"][step]) - timedelta(microseconds=1)
        ).isoformat()

    return change
