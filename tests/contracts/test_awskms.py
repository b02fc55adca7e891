"""What only the AWS KMS custodian promises, on a strict stub that lags, fails and lies."""

import base64
import ctypes
import gc
import hashlib
import logging
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keystore import (
    Custodian,
    CustodianError,
    CustodianUnavailableError,
    Key,
    MasterExistsError,
    MasterGoneError,
    MasterState,
    SealBrokenError,
    SealedRoot,
    Tree,
)
from keystore.custodians import FileCustodian, awskms_client, awskms_import
from keystore.custodians.awskms import AwsKmsCustodian
from keystore.custodians.awskms_client import Answer, Kms, Place
from keystore.custodians.split import SplitCustodian
from keystore.destruction import Standing, destroy_master
from keystore.tree import root_context
from tests.services.ministack import free_port
from tests.services.strict_kms import Refused, StoredKey, StrictKms

BOUND_TO = b"vault, tree, epoch, version"
ALIAS = "alias/shredvault-a"


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "000000000000")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not a secret")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)


@pytest.fixture
def server() -> Iterator[StrictKms]:
    with StrictKms() as server:
        yield server


def opened(server: StrictKms) -> AwsKmsCustodian:
    place = Place.from_uri(f"awskms:us-east-1?endpoint={server.url}")
    return AwsKmsCustodian(place, Kms(place), sleep=lambda _: None)


@pytest.fixture
def custodian(server: StrictKms) -> AwsKmsCustodian:
    return opened(server)


@pytest.fixture
def root_key() -> Iterator[Key]:
    with Key.generate() as key:
        yield key


@pytest.fixture
def wrapped(custodian: AwsKmsCustodian, root_key: Key) -> bytes:
    """A root key under the master `a`."""
    custodian.create("a")
    return custodian.wrap("a", root_key, BOUND_TO)


def opens(custodian: Custodian, wrapped: bytes, key: Key) -> bool:
    with custodian.unwrap("a", wrapped, BOUND_TO) as seen:
        return seen.same_as(key)


def refuse_always(code: str, *operations: str, status: int = 400) -> Callable[[str], None]:
    def fail(operation: str) -> None:
        if not operations or operation in operations:
            raise Refused(code, status)

    return fail


# --- the URI ------------------------------------------------------------------------------------------


def test_what_the_uri_says() -> None:
    place = Place.from_uri("awskms:eu-central-1?prefix=city-&valid-days=90&endpoint=https://kms.example.net")
    assert (place.region, place.prefix, place.valid_days) == ("eu-central-1", "city-", 90)
    assert place.endpoint == "https://kms.example.net"
    plain = Place.from_uri("awskms:us-east-1")
    assert (plain.prefix, plain.valid_days, plain.endpoint) == ("shredvault-", 365, None)


@pytest.mark.parametrize(
    "rest",
    [
        *("", "us-east", "//us-east-1", "us-east-1#x", "us-east-1?x=1", "us-east-1?prefix=", "us-east-1?prefix=a/b"),
        *("us-east-1?prefix=a&prefix=b", "us-east-1?prefix=aws-x", "us-east-1?valid-days=0", "us-east-1?prefix"),
        *(
            "us-east-1?valid-days=366",
            "us-east-1?valid-days=400",
            "us-east-1?valid-days=-1",
            "us-east-1?valid-days=1.5",
        ),
        *("us-east-1?endpoint=http://10.0.0.1", "us-east-1?endpoint=http://localhost:4566", "us-east-1?endpoint="),
        *("us-east-1?endpoint=https://user:pw@host", "us-east-1?endpoint=ftp://host", "us-east-1?endpoint=https://h/p"),
    ],
)
def test_other_uris_are_refused(rest: str) -> None:
    with pytest.raises(CustodianError) as refusal:
        AwsKmsCustodian.from_uri(f"awskms:{rest}")
    assert "pw" not in str(refusal.value)


# --- making -------------------------------------------------------------------------------------------


def test_a_master_is_imported_material_with_an_end(server: StrictKms, custodian: AwsKmsCustodian) -> None:
    custodian.create("a")
    key = server.only("shredvault- a")
    assert (key.origin, key.multi_region, key.state()) == ("EXTERNAL", False, "Enabled")
    assert server.aliases == {ALIAS: key.ident}
    (material,) = key.materials
    assert len(material.secret) == 32
    end = custodian.expires_at("a")
    assert end.tzinfo is UTC
    assert material.valid_to == end.timestamp()
    assert timedelta(days=364) < end - datetime.now(UTC) <= timedelta(days=365)


def test_the_end_is_counted_on_the_clock_of_kms(server: StrictKms, custodian: AwsKmsCustodian) -> None:
    server.later = 3000 * 86400.0
    custodian.create("a")
    assert timedelta(days=364) < custodian.expires_at("a") - datetime.now(UTC) - timedelta(days=3000)


def test_a_master_ends_at_the_instant_that_it_is_given(server: StrictKms, custodian: AwsKmsCustodian) -> None:
    """S7: KMS itself ends it; later than `valid-days` it never ends."""
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    custodian.create("a", soon)
    assert custodian.expires_at("a") == soon
    custodian.create("b", soon + timedelta(days=900))
    assert custodian.expires_at("b") - datetime.now(UTC) <= timedelta(days=365)
    server.later = 3600.0
    assert (custodian.describe("a"), custodian.describe("b")) == (MasterState.ABSENT, MasterState.LIVE)
    with pytest.raises(CustodianError, match="ended before it was made"):
        custodian.create("c", soon)
    assert custodian.names() == {"b"}


def test_what_a_member_ends_by_itself_ends_the_whole(
    server: StrictKms, custodian: AwsKmsCustodian, tmp_path: Path
) -> None:
    """S7."""
    other = FileCustodian(tmp_path / "keys", away_from=tmp_path / "home")
    split = SplitCustodian("split:both", [other, custodian])
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    split.create("a", soon)
    assert split.expires_at("a") == soon
    server.later = 3600.0
    assert (split.describe("a"), other.describe("a")) == (MasterState.ABSENT, MasterState.LIVE)


def test_a_master_past_its_end_is_gone(
    server: StrictKms, custodian: AwsKmsCustodian, wrapped: bytes, root_key: Key
) -> None:
    assert opens(custodian, wrapped, root_key)
    server.later = 366 * 86400.0
    with pytest.raises(MasterGoneError):
        custodian.unwrap("a", wrapped, BOUND_TO)
    with pytest.raises(MasterGoneError):
        custodian.expires_at("a")
    assert custodian.describe("a") is MasterState.ABSENT


def test_only_opaque_ids_are_said_in_the_clear(server: StrictKms, wrapped: bytes) -> None:
    assert server.contexts
    for context in server.contexts:
        assert set(context) == {"shredvault-master", "shredvault-bound-to"}
        assert context["shredvault-master"] == "a"
        assert len(context["shredvault-bound-to"]) == 128
    said = str([context["shredvault-bound-to"] for context in server.contexts])
    assert not any(part.decode() in said or part.hex() in said for part in BOUND_TO.split(b", "))


def secrets_of(server: StrictKms, key: Key) -> list[bytes]:
    return [bytes(key.reveal()), *(material.secret for each in server.keys.values() for material in each.materials)]


def test_nothing_secret_reaches_a_log(server: StrictKms, root_key: Key, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    custodian = opened(server)
    logging.getLogger("botocore").setLevel(logging.DEBUG)
    logging.getLogger("botocore.endpoint").setLevel(logging.DEBUG)
    blobs: list[str] = []
    real = server.answer

    def noting(target: str, request: Answer) -> tuple[int, dict[str, object]]:
        status, answer = real(target, dict(request))
        both = {**request, **answer}
        blobs.extend(str(both[name]) for name in ("Plaintext", "EncryptedKeyMaterial", "ImportToken") if name in both)
        return status, answer

    server.answer = noting  # type: ignore[method-assign]
    try:
        custodian.create("a")
        custodian.unwrap("a", custodian.wrap("a", root_key, BOUND_TO), BOUND_TO).wipe()
        custodian.destroy("a")
    finally:
        logging.getLogger("botocore").setLevel(logging.NOTSET)
        logging.getLogger("botocore.endpoint").setLevel(logging.NOTSET)
    logged = "\n".join(f"{record.getMessage()} {record.args!r} {record.exc_text}" for record in caplog.records)
    assert "POST" in logged, "the log was on: urllib3 says what it sends, without bodies"
    assert len(blobs) > 5
    found = [blob for blob in blobs if blob in logged]
    found += [
        b.hex() for b in secrets_of(server, root_key) if b.hex() in logged or base64.b64encode(b).decode() in logged
    ]
    assert found == []


def all_bytes() -> Iterator[bytes]:
    """Every `bytes`, and every string that could be base64, that an object of this process refers to."""
    gc.collect()
    for holder in gc.get_objects():
        for each in gc.get_referents(holder):
            if isinstance(each, bytes | bytearray):
                yield bytes(each)
            elif isinstance(each, str) and len(each) > 80 and each.isascii():
                with suppress(ValueError):
                    yield base64.b64decode(each, validate=True)


def test_the_material_is_wiped_and_neither_blob_nor_token_is_kept(
    server: StrictKms, custodian: AwsKmsCustodian, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: list[bytes] = []
    real = ctypes.memset

    def noting(pointer: ctypes.c_char_p, value: int, count: int) -> int:
        handed.append(ctypes.string_at(pointer, count))
        address: int = real(pointer, value, count)
        return address

    given: list[bytes] = []
    ask = Kms.ask

    def listening(self: Kms, operation: str, **request: object) -> Answer:
        given.extend(bytes(v) for k, v in request.items() if k in {"EncryptedKeyMaterial", "ImportToken"})  # type: ignore[call-overload]
        return ask(self, operation, **request)

    monkeypatch.setattr(ctypes, "memset", noting)
    monkeypatch.setattr(Kms, "ask", listening)
    custodian.create("a")
    (material,) = server.only("shredvault- a").materials
    assert handed == [material.secret], "what was wrapped is what was wiped afterwards"
    assert len(given) == 2
    kept = [*given, *(base64.b64encode(secret).decode() for secret in given)]
    needles = [hashlib.sha256(secret).digest() for secret in given]
    given.clear()
    assert {hashlib.sha256(each).digest() for each in all_bytes() if len(each) >= 64} >= set(needles)
    kept.clear()
    assert not {hashlib.sha256(each).digest() for each in all_bytes() if len(each) >= 64} & set(needles)


def test_a_bytes_object_handed_to_rsa_is_overwritten_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []

    class Rsa:
        def encrypt(self, plaintext: bytes, _: object) -> bytes:
            assert any(plaintext)
            seen.append(plaintext)
            return b"wrapped"

    with Key.generate() as material:
        assert awskms_import._wrapped(material, Rsa()) == b"wrapped"  # type: ignore[arg-type]
    assert seen == [bytes(32)]


@pytest.mark.parametrize("lie", ["token ran out", "short import key"])
def test_an_import_that_fails_leaves_nothing_usable(server: StrictKms, custodian: AwsKmsCustodian, lie: str) -> None:
    server.lies.add(lie)
    with pytest.raises(CustodianError):
        custodian.create("a")
    assert server.aliases == {}
    assert [(key.state(), key.materials) for key in server.keys.values()] == [("PendingDeletion", [])]
    server.lies.clear()
    custodian.create("a")


def test_eventual_consistency_right_after_creation(
    server: StrictKms, custodian: AwsKmsCustodian, root_key: Key
) -> None:
    server.lag = 6
    custodian.create("a")
    assert opens(custodian, custodian.wrap("a", root_key, BOUND_TO), root_key)
    assert len(server.keys) == 1


# --- crashes ------------------------------------------------------------------------------------------


class Crash(Exception):  # noqa: N818
    """The process ends here: nothing of ours catches it."""


class Crashing(Kms):
    """The client of another custodian, in a process that ends before or after the n-th call."""

    def __init__(self, custodian: AwsKmsCustodian, call: int, *, before: bool) -> None:
        vars(self).update(vars(custodian._kms))
        self._left, self._before = call, before

    def ask(self, operation: str, **request: object) -> Answer:
        self._left -= 1
        if self._left == 0 and self._before:
            raise Crash
        try:
            return super().ask(operation, **request)
        finally:
            if self._left == 0:
                raise Crash


def mortal(custodian: AwsKmsCustodian, call: int, *, before: bool) -> AwsKmsCustodian:
    return AwsKmsCustodian(custodian._place, Crashing(custodian, call, before=before), sleep=lambda _: None)


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_a_creation_cut_off_at_every_call_is_removed_by_destroy(
    server: StrictKms, custodian: AwsKmsCustodian, root_key: Key, *, before: bool
) -> None:
    for call in range(1, 100):
        server.keys.clear()
        server.aliases.clear()
        try:
            mortal(custodian, call, before=before).create("a")
        except Crash:
            custodian.destroy("a")
            assert custodian.describe("a") is MasterState.ABSENT
            assert server.aliases == {}
            assert not any(material.imported for key in server.keys.values() for material in key.materials)
            assert all(key.state() == "PendingDeletion" for key in server.keys.values())
            custodian.create("a")
            assert opens(custodian, custodian.wrap("a", root_key, BOUND_TO), root_key)
            continue
        assert call > 8
        return
    pytest.fail("the creation never came to its end")


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_a_creation_cut_off_at_every_call_can_be_repeated(
    server: StrictKms, custodian: AwsKmsCustodian, root_key: Key, *, before: bool
) -> None:
    for call in range(1, 100):
        server.keys.clear()
        server.aliases.clear()
        try:
            mortal(custodian, call, before=before).create("a")
        except Crash:
            with suppress(MasterExistsError):
                custodian.create("a")
            assert opens(custodian, custodian.wrap("a", root_key, BOUND_TO), root_key)
            custodian.destroy("a")
            assert not any(material.imported for key in server.keys.values() for material in key.materials)
            continue
        assert call > 8
        return
    pytest.fail("the creation never came to its end")


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_a_destruction_cut_off_at_every_call_is_carried_on(
    server: StrictKms, custodian: AwsKmsCustodian, root_key: Key, *, before: bool
) -> None:
    for call in range(1, 200):
        server.keys.clear()
        server.aliases.clear()
        custodian.create("a")
        custodian.create("b")
        wrapped = custodian.wrap("a", root_key, BOUND_TO)
        other = custodian.wrap("b", root_key, BOUND_TO)
        cut = False
        try:
            mortal(custodian, call, before=before).destroy("a")
        except Crash:
            cut = True
            custodian.destroy("a")
        assert custodian.describe("a") is MasterState.ABSENT
        with pytest.raises(MasterGoneError):
            custodian.unwrap("a", wrapped, BOUND_TO)
        custodian.unwrap("b", other, BOUND_TO).wipe()
        assert custodian.names() == {"b"}
        assert server.only("shredvault- a").state() == "PendingDeletion"
        assert set(server.aliases) == {"alias/shredvault-b"}
        if not cut:
            assert call > 15
            return
    pytest.fail("the destruction never came to its end")


def test_a_creation_that_cannot_be_undone_says_so(server: StrictKms, custodian: AwsKmsCustodian) -> None:
    server.fail = refuse_always("AccessDeniedException", "CreateAlias", "DeleteImportedKeyMaterial")
    with pytest.raises(CustodianUnavailableError, match="destroying the master removes it"):
        custodian.create("a")
    assert custodian.describe("a") is MasterState.LIVE, "its material is there until it is seen to be gone"
    server.fail = lambda _: None
    custodian.destroy("a")
    assert custodian.describe("a") is MasterState.ABSENT


# --- destruction --------------------------------------------------------------------------------------


def test_destruction_empties_first_and_then_schedules(
    server: StrictKms, custodian: AwsKmsCustodian, wrapped: bytes
) -> None:
    server.calls.clear()
    custodian.destroy("a")
    steps = ["DeleteImportedKeyMaterial", "UpdateKeyDescription", "DeleteAlias", "ScheduleKeyDeletion"]
    assert [call for call in server.calls if call in steps] == steps
    between = server.calls[server.calls.index(steps[0]) : server.calls.index(steps[1])]
    assert between.count("Decrypt") == 3, "the probe was refused three times in a row"
    assert between.count("ListKeyRotations") >= 3
    key = server.only("shredvault- a")
    assert key.deletion is not None
    assert key.deletion - server.now() == pytest.approx(7 * 86400, abs=100)


def test_every_material_of_a_rotated_key_dies(
    server: StrictKms, custodian: AwsKmsCustodian, wrapped: bytes, root_key: Key
) -> None:
    key = server.only("shredvault- a")
    for _ in range(3):
        server.rotate(key)
    newer = custodian.wrap("a", root_key, BOUND_TO)
    assert opens(custodian, wrapped, root_key)
    assert opens(custodian, newer, root_key)
    custodian.destroy("a")
    assert [material.imported for material in key.materials] == [False] * 4


def test_one_material_deleted_by_hand_is_no_destruction(
    server: StrictKms, custodian: AwsKmsCustodian, wrapped: bytes, root_key: Key
) -> None:
    key = server.only("shredvault- a")
    server.rotate(key)
    key.materials[1].imported = False
    assert key.state() == "PendingImport"
    assert custodian.describe("a") is MasterState.LIVE
    with pytest.raises(CustodianError, match="part of its material") as refusal:
        custodian.unwrap("a", wrapped, BOUND_TO)
    assert not isinstance(refusal.value, MasterGoneError)
    custodian.destroy("a")
    assert not any(material.imported for material in key.materials)


@pytest.mark.parametrize(
    "lie", ["delete does nothing", "decrypt works without material", "encrypt works without material", "state flaps"]
)
def test_a_key_that_does_not_die_is_not_reported_dead(
    server: StrictKms, custodian: AwsKmsCustodian, wrapped: bytes, lie: str
) -> None:
    server.lies.add(lie)
    with pytest.raises(CustodianUnavailableError, match="still shows or uses"):
        custodian.destroy("a")
    key = server.only("shredvault- a")
    assert not key.description.endswith("emptied")
    assert key.deletion is None
    assert server.aliases == {ALIAS: key.ident}
    server.lies.clear()
    custodian.destroy("a")
    assert custodian.describe("a") is MasterState.ABSENT


def test_a_disabled_key_is_not_a_destroyed_one(
    server: StrictKms, custodian: AwsKmsCustodian, wrapped: bytes, root_key: Key
) -> None:
    key = server.only("shredvault- a")
    key.enabled = False
    assert custodian.describe("a") is MasterState.LIVE
    for use in (lambda: custodian.unwrap("a", wrapped, BOUND_TO), lambda: custodian.wrap("a", root_key, BOUND_TO)):
        with pytest.raises(CustodianError, match="disabled, not destroyed") as refusal:
            use()
        assert not isinstance(refusal.value, MasterGoneError)
    custodian.destroy("a")
    assert not key.materials[0].imported
    assert custodian.describe("a") is MasterState.ABSENT


def test_a_deletion_scheduled_by_somebody_else_is_no_destruction(
    server: StrictKms, custodian: AwsKmsCustodian, wrapped: bytes
) -> None:
    """The material is inside for days, and comes back with a cancelled deletion."""
    key = server.only("shredvault- a")
    key.deletion = server.now() + 30 * 86400
    assert custodian.describe("a") is MasterState.LIVE
    with pytest.raises(CustodianError, match="cancel the deletion"):
        custodian.unwrap("a", wrapped, BOUND_TO)
    custodian.destroy("a")
    assert not key.materials[0].imported
    assert key.state() == "PendingDeletion"
    assert custodian.describe("a") is MasterState.ABSENT


def test_a_master_that_is_brought_back_is_seen(
    server: StrictKms, custodian: AwsKmsCustodian, wrapped: bytes, root_key: Key
) -> None:
    """We keep no copy to bring it back with; whoever had one would be noticed as long as the key is there."""
    key = server.only("shredvault- a")
    copy = key.materials[0].secret
    custodian.destroy("a")
    with pytest.raises(Refused, match="IncorrectKeyMaterial"):
        server.bring_back(key, secrets.token_bytes(32), server.now() + 86400)
    key.deletion = None
    server.bring_back(key, copy, server.now() + 86400)
    assert custodian.describe("a") is MasterState.LIVE
    assert custodian.names() == {"a"}
    with pytest.raises(CustodianError, match="still decrypts"):
        custodian.unwrap("a", wrapped, BOUND_TO)
    custodian.destroy("a")
    assert custodian.describe("a") is MasterState.ABSENT


def test_a_removed_alias_is_no_destruction(
    server: StrictKms, custodian: AwsKmsCustodian, wrapped: bytes, root_key: Key
) -> None:
    key = server.only("shredvault- a")
    del server.aliases[ALIAS]
    assert custodian.describe("a") is MasterState.LIVE
    assert custodian.names() == {"a"}
    with pytest.raises(CustodianError, match="still decrypts") as refusal:
        custodian.unwrap("a", wrapped, BOUND_TO)
    assert not isinstance(refusal.value, MasterGoneError)
    with pytest.raises(CustodianError, match=r"alias .* is gone"):
        custodian.wrap("a", root_key, BOUND_TO)
    custodian.destroy("a")
    assert not key.materials[0].imported


def test_an_alias_pointed_to_another_master_costs_that_one_nothing(
    server: StrictKms, custodian: AwsKmsCustodian, wrapped: bytes, root_key: Key
) -> None:
    custodian.create("b")
    a, b = server.only("shredvault- a"), server.only("shredvault- b")
    server.aliases[ALIAS] = b.ident
    for use in (lambda: custodian.wrap("a", root_key, BOUND_TO), lambda: custodian.unwrap("a", wrapped, BOUND_TO)):
        with pytest.raises(CustodianError, match="has been pointed to"):
            use()
    with pytest.raises(CustodianError, match="left as it is"):
        custodian.destroy("a")
    assert b.state() == "Enabled"
    assert server.aliases[ALIAS] == b.ident
    assert not a.materials[0].imported, "the master itself is gone all the same"
    del server.aliases[ALIAS]
    custodian.destroy("a")
    assert b.state() == "Enabled"


def spoil_origin(key: StoredKey) -> None:
    key.origin = "AWS_KMS"


def spoil_region(key: StoredKey) -> None:
    key.multi_region = True


def spoil_end(key: StoredKey) -> None:
    key.materials[0].valid_to = None


@pytest.mark.parametrize(
    ("spoil", "says"),
    [(spoil_origin, "not imported"), (spoil_region, "multi-Region"), (spoil_end, "without an end")],
)
def test_a_key_that_cannot_die_at_once_is_not_used(
    server: StrictKms,
    custodian: AwsKmsCustodian,
    wrapped: bytes,
    root_key: Key,
    spoil: Callable[[StoredKey], None],
    says: str,
) -> None:
    key = server.only("shredvault- a")
    spoil(key)
    with pytest.raises(CustodianError, match=says):
        custodian.wrap("a", root_key, BOUND_TO)
    with pytest.raises(CustodianError, match=says):
        custodian.expires_at("a")
    if spoil is spoil_end:
        custodian.destroy("a")
        assert not key.materials[0].imported
        return
    with pytest.raises(CustodianError, match="cannot be deleted at once"):
        custodian.destroy("a")
    assert custodian.describe("a") is MasterState.LIVE


# --- a service that lies about ciphertext -------------------------------------------------------------


@pytest.mark.parametrize("lie", ["another plaintext", "short plaintext"])
def test_what_kms_answers_is_checked(
    server: StrictKms, custodian: AwsKmsCustodian, wrapped: bytes, root_key: Key, lie: str
) -> None:
    assert opens(custodian, wrapped, root_key)
    server.lies.add(lie)
    with pytest.raises(SealBrokenError):
        custodian.unwrap("a", wrapped, BOUND_TO)


def test_encryption_under_another_key_is_refused(
    server: StrictKms, custodian: AwsKmsCustodian, wrapped: bytes, root_key: Key
) -> None:
    custodian.create("b")
    server.lies.add("encrypts with another key")
    with pytest.raises(CustodianError, match="another key"):
        custodian.wrap("a", root_key, BOUND_TO)


# --- errors, and that a repeat is safe ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "status", "repeatable", "says"),
    [
        ("ThrottlingException", 400, True, "cannot serve now"),
        ("KMSInternalException", 500, True, "cannot serve now"),
        ("DependencyTimeoutException", 503, True, "cannot serve now"),
        ("Nonsense", 502, True, "cannot serve now"),
        ("ExpiredTokenException", 400, True, "run out"),
        ("AccessDeniedException", 400, False, "may not do this"),
        ("UnrecognizedClientException", 400, False, "another region"),
        ("InvalidSignatureException", 400, False, "does not know"),
        ("LimitExceededException", 400, False, "LimitExceeded"),
    ],
)
def test_refusals_are_said_in_our_words(
    server: StrictKms,
    custodian: AwsKmsCustodian,
    wrapped: bytes,
    root_key: Key,
    code: str,
    status: int,
    repeatable: bool,  # noqa: FBT001
    says: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(awskms_client, "ATTEMPTS", 1)
    custodian = opened(server)
    server.fail = refuse_always(code, status=status)
    for call in (
        lambda: custodian.create("b"),
        lambda: custodian.wrap("a", root_key, BOUND_TO),
        lambda: custodian.unwrap("a", wrapped, BOUND_TO),
        lambda: custodian.describe("a"),
        lambda: custodian.destroy("a"),
        custodian.names,
    ):
        with pytest.raises(CustodianError, match=says) as refusal:
            call()
        assert isinstance(refusal.value, CustodianUnavailableError) is repeatable
        assert not isinstance(refusal.value, MasterGoneError | MasterExistsError)
    server.fail = lambda _: None
    assert opens(custodian, wrapped, root_key)
    custodian.destroy("a")


def test_throttling_that_passes_is_not_seen(server: StrictKms, custodian: AwsKmsCustodian) -> None:
    left = [1]

    def once(_: str) -> None:
        if left:
            left.pop()
            raise Refused("ThrottlingException")

    server.fail = once
    custodian.create("a")
    assert left == []


def test_a_service_that_is_down_is_no_proof_of_absence() -> None:
    custodian = AwsKmsCustodian.from_uri(f"awskms:us-east-1?endpoint=http://127.0.0.1:{free_port()}")
    calls: tuple[Callable[[], object], ...] = (
        lambda: custodian.describe("a"),
        lambda: custodian.destroy("a"),
        lambda: custodian.unwrap("a", bytes(100), BOUND_TO),
        custodian.names,
    )
    for call in calls:
        with pytest.raises(CustodianUnavailableError, match="does not answer"):
            call()


def test_no_credentials(server: StrictKms, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(CustodianError, match="no usable AWS credentials"):
        opened(server).describe("a")
    assert server.calls == []


def test_a_key_that_may_not_be_described_is_no_proof_of_absence(
    server: StrictKms, custodian: AwsKmsCustodian, wrapped: bytes
) -> None:
    """It could be the one that is looked for."""
    del server.aliases[ALIAS]
    server.fail = refuse_always("AccessDeniedException", "DescribeKey")
    with pytest.raises(CustodianError, match="may not do this"):
        custodian.destroy("a")
    server.fail = lambda _: None
    assert custodian.describe("a") is MasterState.LIVE


def test_prefixes_keep_vaults_apart(server: StrictKms, custodian: AwsKmsCustodian, wrapped: bytes) -> None:
    place = replace(Place.from_uri(custodian.uri), prefix="other-")
    other = AwsKmsCustodian(place, Kms(place), sleep=lambda _: None)
    other.create("a")
    assert custodian.names() == {"a"}
    assert other.names() == {"a"}
    other.destroy("a")
    assert custodian.describe("a") is MasterState.LIVE
    assert other.names() == frozenset()


# --- with what stands above it ------------------------------------------------------------------------


def test_the_destroyer_asks_the_key_itself(server: StrictKms, custodian: AwsKmsCustodian, root_key: Key) -> None:
    """The alias is gone by then: the evidence is what KMS says to the old root under the old key."""
    roots = []
    for at, name in ((1, "a"), (2, "b")):
        custodian.create(name)
        wrapped = custodian.wrap(name, root_key, root_context(bytes(16), Tree.ACTIVE, at, at))
        roots.append(SealedRoot(Tree.ACTIVE, at, at, name, wrapped, b""))
    evidence = destroy_master(bytes(16), Standing(custodian, roots[0]), Standing(custodian, roots[1]))
    assert (evidence.state_read_back, evidence.refused_uses) == (MasterState.ABSENT, 3)
    assert server.calls.count("Decrypt") == 3 + 2 + 1 + 3 * 2, "probes, proofs, the next root, and by alias and by id"
    server.lies.add("decrypt works without material")
    assert custodian.describe("a") is MasterState.ABSENT, "all that is listed says so"
    with pytest.raises(CustodianError, match="still decrypts"):
        destroy_master(bytes(16), Standing(custodian, roots[0]), Standing(custodian, roots[1]))


def test_a_share_destroyed_at_kms_is_noticed(
    server: StrictKms, custodian: AwsKmsCustodian, root_key: Key, tmp_path: Path
) -> None:
    """With AWS's own tool: `aws kms delete-imported-key-material`."""
    files = FileCustodian(tmp_path / "keys", away_from=tmp_path / "home")
    split = SplitCustodian("split:file,kms", [files, custodian])
    split.create("a")
    wrapped = split.wrap("a", root_key, BOUND_TO)
    assert opens(split, wrapped, root_key)
    custodian._kms.ask("delete_imported_key_material", KeyId=server.only("shredvault- a").ident)
    with pytest.raises(MasterGoneError, match="is gone at awskms:us-east-1") as seen:
        split.unwrap("a", wrapped, BOUND_TO)
    assert f"still at {files.uri}" in str(seen.value)
    split.destroy("a")
    assert split.names() == frozenset()


HIDINGS: dict[str, Callable[[StrictKms, StoredKey], None]] = {
    "as emptied, and to be deleted": lambda server, key: hide(
        server, key, key.description + " emptied", scheduled=True
    ),
    "under another name, disabled": lambda server, key: hide(server, key, "payroll", alias=False),
    "under another name, to be deleted": lambda server, key: hide(server, key, "payroll", alias=False, scheduled=True),
    "under another name, as emptied": lambda server, key: hide(server, key, "x emptied", alias=False, scheduled=True),
}


def hide(server: StrictKms, key: StoredKey, description: str, *, alias: bool = True, scheduled: bool = False) -> None:
    """As somebody can who administers the account: both a disabled key and a scheduled deletion can be undone."""
    key.description, key.enabled = description, False
    key.deletion = server.now() + 30 * 86400 if scheduled else None
    if not alias:
        server.aliases = {name: ident for name, ident in server.aliases.items() if ident != key.ident}


@pytest.mark.parametrize("hiding", HIDINGS.values(), ids=HIDINGS)
def test_a_key_that_somebody_has_hidden_is_not_taken_for_destroyed(
    server: StrictKms, custodian: AwsKmsCustodian, root_key: Key, hiding: Callable[[StrictKms, StoredKey], None]
) -> None:
    """What can be written at KMS by others is no evidence: not the description, not the alias, and not the state."""
    roots = []
    for at, name in ((1, "a"), (2, "b")):
        custodian.create(name)
        wrapped = custodian.wrap(name, root_key, root_context(bytes(16), Tree.ACTIVE, at, at))
        roots.append(SealedRoot(Tree.ACTIVE, at, at, name, wrapped, b""))
    key = server.only("shredvault- a")
    hiding(server, key)
    with suppress(CustodianError):
        destroy_master(bytes(16), Standing(custodian, roots[0]), Standing(custodian, roots[1]))
        assert not any(material.imported for material in key.materials), "it says that it is destroyed"
    assert server.only("shredvault- b").materials[0].imported
