"""Checks a Shredvault certificate of destruction, offline: one file, Python's standard library and `cryptography`.

    python verify_certificate.py certificate.json --key vault.key [--ledger ledger.json]

* `certificate.json`: what the vault signed (the PDF is only for reading)
* `vault.key`: the vault's public key, one line. TAKE IT FROM SOMEBODY YOU TRUST, who got it when the vault was founded;
  a key that came with the certificate proves nothing
* `ledger.json`: the part of the vault's ledger that belongs to the certificate

It says VALID or INVALID, and why, and exits with 0 or 1; with 3 where a file is not there. It checks, in this order:

1. the certificate is written in the one canonical way, and signed by the key
2. it is a certificate and no rehearsal, its counts add up, its instants follow one another
3. the old master key was seen to be gone, where records were destroyed
4. the people named under `authority` signed exactly what it says they signed, and that covers this list
5. the destruction's entries stand in the ledger, under a checkpoint that the key signed
6. (with `ledger.json`) the ledger says the same as the certificate, and has the certificate itself, word for word

It shares no code with the vault.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

__all__ = ["InvalidError", "main", "verify"]

CERTIFICATE = "shredvault/certificate/v1"
REHEARSAL = "shredvault/rehearsal-certificate/v1"
EXTRACT = "shredvault/ledger-extract/v1"
LIMIT_BYTES = 64 * 1024**2
ED25519_NOTE = 1
KEY_BYTES = 32
EVENTS = ("list frozen", "condemned", "completed")
TIMES = ("started_at", "condemned_at", "completed_at")
APPROVERS, DECIDERS, UNREADABLE = 3, 2, 3
DASH = "\N{EM DASH} "
_CURVES: dict[bytes, tuple[ec.EllipticCurve, hashes.HashAlgorithm]] = {
    b"nistp256": (ec.SECP256R1(), hashes.SHA256()),
    b"nistp384": (ec.SECP384R1(), hashes.SHA384()),
    b"nistp521": (ec.SECP521R1(), hashes.SHA512()),
}


class InvalidError(Exception):
    """Why it is not valid, in one sentence."""


def verify(certificate: bytes, key: bytes, ledger: bytes | None = None) -> list[str]:
    """Check a certificate; returns what was found to be true, in sentences.

    Raises:
        InvalidError: it is not valid; the message says why.
    """
    try:
        return _verify(certificate, key, ledger)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as broken:
        raise InvalidError("A part of it is missing, or is not what it should be.") from broken


def _verify(certificate: bytes, key: bytes, ledger: bytes | None) -> list[str]:
    name, public = _read_key(key)
    # 1. One way to write it, and the signature.
    envelope = _canonical(certificate, "certificate")
    content = envelope["certificate"]
    _require(set(envelope) == {"certificate", "signature"}, "The certificate has parts that do not belong there.")
    _require(
        content["format"] != REHEARSAL, "This is the paper of a REHEARSAL on made-up data. It certifies nothing at all."
    )
    _require(content["format"] == CERTIFICATE, "This is no Shredvault certificate of a kind known here.")
    signature = envelope["signature"]
    _require(set(signature) == {"key", "value"}, "The signature has parts that do not belong there.")
    _require(
        signature["key"] == key.decode("utf-8").removesuffix("\n"),
        "The certificate is signed with another key than the one that you trust.",
    )
    message = f"{CERTIFICATE}\n".encode() + _encode(content)
    _check_signature(public, _hex(signature["value"]), message, "The vault's signature on the certificate is wrong.")
    vault = content["program"]["vault"]
    _require(name == f"shredvault/{vault}", "The key is that of another vault.")
    found = [f"The vault {vault} signed this certificate, and nobody changed it since."]
    # 2. Counts and instants.
    found += _check_counts(content)
    # 3. The old master key.
    found += _check_evidence(content)
    # 4. The people.
    found += _check_authority(content)
    # 5. Its place in the ledger.
    position = content["ledger"]
    size, root = _read_checkpoint(position["checkpoint"], name, public)
    entries = position["entries"]
    _check_steps(content, [entry["event"] for entry in entries])
    for entry in entries:
        _check_inclusion(_hex(entry["leaf"]), entry["id"] - 1, size, [_hex(node) for node in entry["path"]], root)
    found.append(f"Its {len(entries)} entries stand in the vault's ledger, which then had {size} entries.")
    # 6. What the ledger says.
    if ledger is not None:
        found += _check_extract(content, certificate, ledger, name, public)
    return found


def _check_counts(content: dict[str, Any]) -> list[str]:
    counts = content["counts"]
    _require(all(type(count) is int and count >= 0 for count in counts.values()), "A count is not a whole number.")
    _require(
        counts["listed"] == counts["destroyed"] + counts["withdrawn"] + counts["pending"] + counts["failed"],
        "The counts do not add up to the number of records on the list.",
    )
    _require(counts["pending"] == 0, "Records of the list are neither destroyed nor withdrawn.")
    times = content["times"]
    steps = [times[step] for step in ("started_at", "condemned_at", "fenced_at", "completed_at", "issued_at")]
    instants = [datetime.fromisoformat(step) for step in steps]
    _require(all(at.tzinfo is not None for at in instants), "An instant has no time zone.")
    _require(instants == sorted(instants), "The steps are not in the order in which they must be done.")
    of_failed = f"FAILED: the keys of {counts['failed']} on the list were missing; they are NOT certified as destroyed."
    said = f"Of {counts['listed']} records on the list {counts['destroyed']} were destroyed by {steps[3]}."
    return [said, of_failed] if counts["failed"] else [said]


def _check_evidence(content: dict[str, Any]) -> list[str]:
    if not content["counts"]["listed"]:
        return ["The list was empty: no key had to be destroyed."]
    keys, seen = content["keys"], content["verification"]
    _require(keys["old_master"] != keys["new_master"], "The old and the new master key are the same.")
    _require(keys["old_epoch"] < keys["new_epoch"], "The new master key is not newer than the old one.")
    _require(
        seen["state_read_back"] == "absent" and seen["refused_uses"] > 0,
        "Nobody saw that the old master key is gone.",
    )
    return [f"The custodian answered that the old master key is gone, and refused it {seen['refused_uses']} times."]


def _check_authority(content: dict[str, Any]) -> list[str]:
    authority = content["authority"]
    signed = authority["signed"]
    body, namespace = signed["body"].encode(), signed["namespace"]
    document = json.loads(body)
    _require(_encode(document) == body, "What was signed is not written in the canonical way.")
    if authority["order"] is not None:
        _require(document["format"] == "shredvault/order/v1", "What was signed is no order.")
        _require(document["nonce"] == authority["order"], "The signatures are on another order.")
        _require(document["program"] == content["program"]["vault"], "The order is for another vault.")
        action, scope = document["action"], document["scope"]
        if content["kind"] == "sunset":
            decided = action in ("destroy-at-sunset", "partial") and len(authority["approvers"]) > 1
            same_day = scope.get("deadline") == content["deadline"]["last_day"]
            _require(decided and same_day, "The order is no decision of two people about this deadline.")
        else:
            _require(action == content["kind"], "The order orders something else.")
            same = (scope.get("root"), scope.get("count")) == (content["list_root"], content["counts"]["listed"])
            _require(same, "The order is for another list of records.")
    elif document["format"] == "shredvault/order/v1":
        said = (document["program"], document["action"], document["scope"].get("policy_sha256"))
        adopted = (content["program"]["vault"], "adopt-policy", authority["policy_sha256"])
        _require(said == adopted, "Another policy was adopted, or in another vault.")
    else:
        _require(
            hashlib.sha256(body).hexdigest() == authority["policy_sha256"], "The signatures are on another policy."
        )
    people = [approver["person"] for approver in authority["approvers"]]
    _require(bool(people), "Nobody approved it.")
    _require(len(set(people)) == len(people), "One person signed twice.")
    _require(len({one["key"] for one in authority["approvers"]}) == len(people), "One key signed for two people.")
    few = DECIDERS if content["kind"] == "sunset" and authority["order"] is not None else APPROVERS
    _require(len(people) >= few, f"Only {len(people)} of {few} people approved it.")
    for approver in authority["approvers"]:
        _check_ssh(approver, namespace, body)
    return [f"Approved by {', '.join(people)}; each of their signatures is good for the key that is named beside it."]


def _check_ssh(approver: dict[str, Any], namespace: str, body: bytes) -> None:
    """Check one signature as `ssh-keygen -Y sign` makes them (OpenSSH, PROTOCOL.sshsig and PROTOCOL.u2f)."""
    wrong = f"The signature of {approver['person']} is wrong."
    lines = approver["signature"].strip().split("\n")
    _require(lines[0] == "-----BEGIN SSH SIGNATURE-----" and lines[-1] == "-----END SSH SIGNATURE-----", wrong)
    blob = base64.b64decode("".join(lines[1:-1]), validate=True)
    _require(blob[:10] == b"SSHSIG\x00\x00\x00\x01", wrong)
    (public, signed_for, reserved, digest, signature), rest = _fields(blob[10:], 5)
    _require(not rest and signed_for == namespace.encode() and digest in (b"sha256", b"sha512"), wrong)
    fingerprint = base64.b64encode(hashlib.sha256(public).digest()).decode().rstrip("=")
    _require(approver["key"] == f"SHA256:{fingerprint}", wrong)
    hashed = hashlib.new(digest.decode(), body).digest()
    message = b"SSHSIG" + b"".join(len(p).to_bytes(4, "big") + p for p in (signed_for, reserved, digest, hashed))
    (kind, value), rest = _fields(signature, 2)
    (key_kind, first, *more), _ = _fields(public, 3 if b"ecdsa" in public[:40] else 2)
    if key_kind.startswith(b"sk-"):
        application = _fields(public, 4 if b"ecdsa" in key_kind else 3)[0][-1]
        message = hashlib.sha256(application).digest() + rest + hashlib.sha256(message).digest()
    else:
        _require(not rest, wrong)
    try:
        if key_kind in (b"ssh-ed25519", b"sk-ssh-ed25519@openssh.com"):
            Ed25519PublicKey.from_public_bytes(first).verify(value, message)
        elif b"ecdsa" in key_kind:
            curve, hasher = _CURVES[first]
            (r, s), _ = _fields(value, 2)
            encoded = encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
            ec.EllipticCurvePublicKey.from_encoded_point(curve, more[0]).verify(encoded, message, ec.ECDSA(hasher))
        else:
            loaded = load_ssh_public_key(key_kind + b" " + base64.b64encode(public))
            _require(isinstance(loaded, rsa.RSAPublicKey) and kind == b"rsa-sha2-512", wrong)
            loaded.verify(value, message, padding.PKCS1v15(), hashes.SHA512())  # type: ignore[call-arg, arg-type]
    except (InvalidSignature, UnsupportedAlgorithm) as bad:
        raise InvalidError(wrong) from bad


def _fields(blob: bytes, count: int) -> tuple[list[bytes], bytes]:
    """The first strings of an SSH message, each with its length before it, and what follows them."""
    found = []
    for _ in range(count):
        length = int.from_bytes(blob[:4], "big")
        found.append(blob[4 : 4 + length])
        _require(len(blob) >= 4 + length, "A signature is cut short.")
        blob = blob[4 + length :]
    return found, blob


def _check_steps(content: dict[str, Any], events: list[str]) -> None:
    due = EVENTS if content["counts"]["listed"] else ("list frozen", "completed")
    _require(events == list(due), "The ledger does not have the steps of this destruction, in their order.")


def _check_extract(
    content: dict[str, Any], certificate: bytes, ledger: bytes, name: str, public: Ed25519PublicKey
) -> list[str]:
    extract = _canonical(ledger, "part of the ledger")
    _require(set(extract) == {"format", "checkpoint", "entries"}, "The ledger has parts that do not belong there.")
    _require(extract["format"] == EXTRACT, "This is no part of a ledger of a kind known here.")
    size, root = _read_checkpoint(extract["checkpoint"], name, public)
    facts: dict[str, Any] = {}
    leaves: list[tuple[int, str]] = []
    times = dict(zip(EVENTS, (content["times"][step] for step in TIMES), strict=True))
    for entry in extract["entries"]:
        shown = {"at", "event", "facts", "id", "path", "salt", "subject"}
        _require(set(entry) == shown, "An entry of the ledger has parts that do not belong there.")
        _require(entry["subject"] == content["id"], "An entry of the ledger is about something else.")
        committed = hashlib.sha256(_hex(entry["salt"]) + _encode(entry["facts"])).hexdigest()
        leaf = {name: entry[name] for name in ("at", "event", "id", "subject")} | {"commitment": committed}
        hashed = hashlib.sha256(b"\x00" + _encode(leaf)).digest()
        _check_inclusion(hashed, entry["id"] - 1, size, [_hex(node) for node in entry["path"]], root)
        _require(
            times.get(entry["event"], entry["at"]) == entry["at"], "The ledger has other times than the certificate."
        )
        facts[entry["event"]] = entry["facts"]
        leaves.append((entry["id"], hashed.hex()))
    events = [entry["event"] for entry in extract["entries"]]
    _check_steps(content, events[:-1])
    _require(events[-1] == "certificate issued", "The ledger does not say that the certificate was issued.")
    named = [(entry["id"], entry["leaf"]) for entry in content["ledger"]["entries"]]
    _require(leaves[:-1] == named, "The ledger has other entries than the certificate names.")
    frozen, counts = facts["list frozen"], content["counts"]
    same = (frozen["kind"], frozen["list_root"], frozen["listed"], frozen["order"]) == (
        content["kind"],
        content["list_root"],
        counts["listed"],
        content["authority"]["order"],
    )
    _require(same, "The ledger has another list, or another authority, than the certificate.")
    if counts["listed"]:
        _require(facts["condemned"]["count"] == counts["destroyed"], "The ledger has another count of the destroyed.")
        _require(facts["completed"]["master"] == content["keys"]["old_master"], "The ledger has another master key.")
    _require(
        facts["certificate issued"]["document"].encode() == certificate, "The ledger has another certificate than this."
    )
    return [f"The ledger, of {size} entries, says the same and has this certificate word for word."]


def _read_checkpoint(note: str, name: str, public: Ed25519PublicKey) -> tuple[int, bytes]:
    """Size and root of a checkpoint (C2SP tlog-checkpoint) that bears the vault's signature and no other line."""
    wrong = "The checkpoint of the ledger is not one that the vault signed."
    text, gap, below = note.rpartition("\n\n")
    lines = text.split("\n")
    start = f"{DASH}{name} "
    _require(bool(gap) and len(lines) == len(("origin", "size", "root")) and lines[0] == name, wrong)
    _require(below.startswith(start) and below.endswith("\n") and below.count("\n") == 1, wrong)
    raw = _base64(below[len(start) : -1])
    _require(raw[:4] == _key_id(name, public), wrong)
    _check_signature(public, raw[4:], f"{text}\n".encode(), wrong)
    return int(lines[1]), _base64(lines[2])


def _check_inclusion(leaf: bytes, index: int, size: int, path: list[bytes], root: bytes) -> None:
    """An audit path of RFC 6962, as RFC 9162, 2.1.3.2, checks it."""
    wrong = "An entry does not stand in the ledger where it should."
    _require(0 <= index < size, wrong)
    position, last, node = index, size - 1, leaf
    for other in path:
        _require(last > 0, wrong)
        if position & 1 or position == last:
            node = hashlib.sha256(b"\x01" + other + node).digest()
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            node = hashlib.sha256(b"\x01" + node + other).digest()
        position, last = position >> 1, last >> 1
    _require(last == 0 and node == root, wrong)


def _read_key(key: bytes) -> tuple[str, Ed25519PublicKey]:
    """Name and key from one line `name+id+key`, as C2SP signed-note writes them."""
    wrong = "The key that you trust is mistyped or is none."
    name, _, rest = key.decode("utf-8").removesuffix("\n").partition("+")
    number, _, encoded = rest.partition("+")
    raw = _base64(encoded)
    _require(len(raw) == 1 + KEY_BYTES and raw[0] == ED25519_NOTE, wrong)
    public = Ed25519PublicKey.from_public_bytes(raw[1:])
    _require(number == _key_id(name, public).hex(), wrong)
    return name, public


def _key_id(name: str, public: Ed25519PublicKey) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + bytes([ED25519_NOTE]) + public.public_bytes_raw()).digest()[:4]


def _check_signature(public: Ed25519PublicKey, signature: bytes, message: bytes, wrong: str) -> None:
    try:
        public.verify(signature, message)
    except InvalidSignature as bad:
        raise InvalidError(wrong) from bad


def _encode(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _canonical(document: bytes, what: str) -> dict[str, Any]:
    changed = f"The {what} is not written as the vault wrote it: somebody changed it, or a program did."
    _require(len(document) <= LIMIT_BYTES, f"The {what} is too long.")
    try:
        value = json.loads(document.decode("utf-8"))
    except (ValueError, RecursionError) as broken:
        raise InvalidError(changed) from broken
    _require(isinstance(value, dict) and _encode(value) == document, changed)
    return dict(value)


def _hex(text: str) -> bytes:
    raw = bytes.fromhex(text)
    _require(raw.hex() == text, "A part that should be hexadecimal is not.")
    return raw


def _base64(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as broken:
        raise InvalidError("A part that should be base64 is not.") from broken
    _require(base64.b64encode(raw).decode() == text, "A part that should be base64 is not.")
    return raw


def _require(holds: bool, otherwise: str) -> None:  # noqa: FBT001  # a condition is what it takes
    if not holds:
        raise InvalidError(otherwise)


def main(words: list[str] | None = None, write: Callable[[str], object] = sys.stdout.write) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Check a Shredvault certificate of destruction, offline.")
    parser.add_argument("certificate", type=Path, help="the certificate, as JSON")
    parser.add_argument("--key", type=Path, required=True, help="the vault's public key, from somebody you trust")
    parser.add_argument("--ledger", type=Path, help="the part of the ledger that belongs to it")
    chosen = parser.parse_args(words)
    try:
        ledger = chosen.ledger.read_bytes() if chosen.ledger else None
        found = verify(chosen.certificate.read_bytes(), chosen.key.read_bytes(), ledger)
    except OSError as missing:
        why = "is not there" if isinstance(missing, FileNotFoundError) else "cannot be read"
        write(f"The file {missing.filename} {why}. Nothing was checked.\n")
        return UNREADABLE
    except InvalidError as invalid:
        write(f"INVALID\n  {invalid}\n")
        return 1
    write("VALID\n" + "".join(f"  - {sentence}\n" for sentence in found))
    if ledger is None:
        write("  The ledger was not looked at: give its part with --ledger for that.\n")
    content = json.loads(chosen.certificate.read_bytes())["certificate"]
    for title, member in (("What was not destroyed:", "not_destroyed"), ("What it cannot prove:", "cannot_prove")):
        write(f"{title}\n" + "".join(f"  - {sentence}\n" for sentence in content[member]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
