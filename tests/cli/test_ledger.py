"""The ledger at the command line: shown, kept elsewhere, verified, and found untrue."""

import json
import struct

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.cli.operator import Operator
from tests.independent.ledger import require_growth
from vault.home import open_vault
from vault.ledger.publishing import bucket_objects
from vault.log.merkle import check_inclusion, leaf_hash
from vault.log.notes import COSIGNATURE, VerifierKey, check_note, cosigned_message, signature_line

WITNESS = Ed25519PrivateKey.from_private_bytes(b"w" * 32)
WITNESS_KEY = VerifierKey("witness.example", COSIGNATURE, WITNESS.public_key().public_bytes_raw())


def test_what_was_written_down_is_verified_by_others(operator: Operator) -> None:
    key_text = operator.run("ledger", "key").out.strip()
    key = VerifierKey.parse(key_text)
    older = operator.run("ledger", "checkpoint").out
    first = check_note(older, [key])
    operator.run("access", "create", "--role", "center", "--label", "Queens")
    token = operator.run("access", "list", "--json").data[0]["id"]
    operator.run("access", "revoke", token)
    newer = operator.run("ledger", "checkpoint").out
    second = check_note(newer, [key])
    assert second.size > first.size

    shown = operator.run("ledger", "prove", str(second.size)).data
    path = [bytes.fromhex(one) for one in shown["path"]]
    check_inclusion(leaf_hash(shown["leaf"].encode()), second.size - 1, second.size, path, second.root)
    assert json.loads(shown["leaf"])["subject"] == token
    grown = operator.run("ledger", "prove", "--from", str(first.size), "--to", str(second.size)).data
    assert (grown["from"], grown["to"]) == (older, newer)
    path = [bytes.fromhex(one) for one in grown["path"]]
    require_growth(first.size, first.root, second.size, second.root, path)

    kept, folder = operator.folder / "kept.txt", operator.folder / "exported"
    kept.write_text(newer)
    whole = operator.run("ledger", "verify", "--checkpoint", str(kept), "--json")
    assert (whole.code, whole.data) == (0, {"size": second.size, "root": second.root.hex(), "kept_checkpoints": 1})
    assert operator.run("ledger", "export", str(folder)).code == 0
    far = {"SHREDVAULT_HOME": "/nowhere"}
    assert operator.run("ledger", "verify", str(folder), "--key", key_text, **far).code == 0
    max((folder / "ledger").iterdir()).unlink()
    (folder / "checkpoint").write_text(older)
    cut = operator.run("ledger", "verify", str(folder), "--key", key_text, "--checkpoint", str(kept), **far)
    assert cut.code == 10
    assert "cut off" in cut.err


def test_a_witness_signs(operator: Operator) -> None:
    signed = operator.run("ledger", "checkpoint").out
    text = signed.rpartition("\n\n")[0] + "\n"
    line = signature_line(
        WITNESS_KEY, struct.pack(">Q", 1_800_000_000) + WITNESS.sign(cosigned_message(text, 1_800_000_000))
    )
    file = operator.folder / "cosigned.txt"
    file.write_text(signed + line)
    assert operator.run("ledger", "cosigned", str(file)).code == 10
    assert operator.run("ledger", "witness", str(WITNESS_KEY)).code == 0
    (seen,) = operator.run("ledger", "cosigned", str(file), "--json").data
    assert seen["witness"] == "witness.example"


def test_what_cannot_be_meant_is_refused(operator: Operator) -> None:
    assert operator.run("ledger", "prove").code == 2
    assert operator.run("ledger", "prove", "1", "--from", "1", "--to", "1").code == 2
    assert operator.run("ledger", "prove", "99").code == 3
    assert operator.run("ledger", "checkpoint", "--size", "99").code == 3
    assert operator.run("ledger", "verify", str(operator.folder)).code == 2
    assert operator.run("ledger", "verify", str(operator.folder), "--key", "x").code == 2
    assert operator.run("ledger", "witness", "x").code == 2


def test_the_check_finds_a_ledger_that_is_not_what_it_was(operator: Operator) -> None:
    first = operator.run("status", "--check", "--json")
    assert (first.code, first.data["ledger"]["agrees"]) == (0, True)
    kept = operator.home / "last-checkpoint"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert check_note(kept.read_text(), [VerifierKey.parse(operator.run("ledger", "key").out.strip())]).size > 0
    # Another checkpoint that the key has signed: somebody put back another history, or the home's copy is a later one.
    with open_vault(operator.home) as vault:
        kept.write_text(vault.signing.sign_checkpoint(first.data["ledger"]["size"], bytes(32)))
        *_, (newest, blob) = bucket_objects(vault.bucket)
        broken = operator.run("status", "--check")
        assert (broken.code, "not of this history" in broken.err) == (10, True), broken
        kept.unlink()
        vault.bucket.put(newest, blob[:-1])
        broken = operator.run("status", "--check", "--json")
        assert (broken.code, broken.data["ledger"]["agrees"]) == (10, False), broken
        assert not kept.exists()
        vault.bucket.put(newest, blob)
    assert operator.run("status", "--check").code == 0
