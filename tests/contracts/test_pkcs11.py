"""What only the PKCS#11 custodian promises, on SoftHSM: attacks on the token, processes, PINs."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pkcs11
import pytest
from pkcs11 import Attribute, KeyType, MechanismFlag, ObjectClass, Session

from keystore import (
    Custodian,
    CustodianError,
    CustodianUnavailableError,
    Key,
    MasterExistsError,
    MasterGoneError,
    MasterState,
    open_custodian,
)
from keystore.custodians.pkcs11 import Pkcs11Custodian
from tests.services.softhsm import MODULE, SPY, SoftHsm, SoftToken

ROOT = Path(__file__).parents[2]
BOUND_TO = b"vault, tree, epoch, version"
BOTH = MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT
SAFE = {
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.COPYABLE: False,
    Attribute.MODIFIABLE: False,
}


@pytest.fixture
def custodian(soft_token: SoftToken) -> Pkcs11Custodian:
    return Pkcs11Custodian.from_uri(soft_token.uri, None)


@pytest.fixture
def root_key() -> Iterator[Key]:
    with Key.generate() as key:
        yield key


class Intruder:
    """Somebody else on the same token, with the same PIN: this process is logged in already."""

    def __init__(self, serial: str) -> None:
        self.serial = serial.encode()

    @property
    def session(self) -> Session:
        """A new one for each use: the custodian begins anew after each creation and destruction."""
        return pkcs11.lib(str(MODULE)).get_token(token_serial=self.serial).open(rw=True)

    def find(self, label: str) -> list[Any]:
        return list(self.session.get_objects({Attribute.LABEL: label}))


@pytest.fixture
def intruder(custodian: Custodian, soft_token: SoftToken) -> Intruder:
    return Intruder(soft_token.serial)


def opens(custodian: Custodian, name: str, wrapped: bytes, key: Key) -> bool:
    with custodian.unwrap(name, wrapped, BOUND_TO) as seen:
        return seen.same_as(key)


HEAD = """
import sys
from pathlib import Path
from keystore import CustodianError, CustodianUnavailableError, MasterGoneError, open_custodian
arguments = sys.argv[1:]
def opened(uri):
    return open_custodian(uri, away_from=Path("/nonexistent"))
"""


def in_a_process(code: str, *arguments: str, **variables: str) -> str:
    """Run code with `uri` and `arguments` in a fresh process; what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", HEAD + code, *arguments],
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# --- the key on the token -----------------------------------------------------------------------------


def test_a_master_is_made_on_the_token_and_stays_there(
    custodian: Custodian, intruder: Intruder, soft_token: SoftToken
) -> None:
    custodian.create("a")
    (key,) = intruder.find("shredvault:a")
    for attribute, value in {**SAFE, Attribute.LOCAL: True, Attribute.TOKEN: True, Attribute.DESTROYABLE: True}.items():
        assert key[attribute] is value, attribute
    assert key[Attribute.VALUE_LEN] == 32
    with pytest.raises(pkcs11.exceptions.AttributeSensitive):
        key[Attribute.VALUE]
    with pytest.raises(pkcs11.exceptions.PKCS11Error):
        key.copy({Attribute.LABEL: "copy"})
    with pytest.raises(pkcs11.exceptions.PKCS11Error):
        key[Attribute.LABEL] = "another name"
    listed = soft_token.tool("--list-objects", "--type", "secrkey")
    assert "shredvault:a" in listed
    assert "never extractable" in listed


def generated(session: Session, template: dict[Attribute, Any], capabilities: MechanismFlag = BOTH) -> None:
    session.generate_key(
        KeyType.AES, 256, label="shredvault:a", store=True, capabilities=capabilities, template=SAFE | template
    )


def imported(session: Session, template: dict[Attribute, Any]) -> None:
    session.create_object(
        {
            **SAFE,
            Attribute.CLASS: ObjectClass.SECRET_KEY,
            Attribute.KEY_TYPE: KeyType.AES,
            Attribute.LABEL: "shredvault:a",
            Attribute.TOKEN: True,
            Attribute.ENCRYPT: True,
            Attribute.DECRYPT: True,
            Attribute.VALUE: os.urandom(32),
            **template,
        }
    )


PLANTED: dict[str, Callable[[Session], None]] = {
    "imported": lambda session: imported(session, {}),
    "imported and extractable": lambda session: imported(session, {Attribute.EXTRACTABLE: True}),
    "extractable": lambda session: generated(session, {Attribute.EXTRACTABLE: True}),
    "not sensitive": lambda session: generated(session, {Attribute.SENSITIVE: False}),
    "copyable": lambda session: generated(session, {Attribute.COPYABLE: True}),
    "modifiable": lambda session: generated(session, {Attribute.MODIFIABLE: True}),
    "public": lambda session: generated(session, {Attribute.PRIVATE: False}),
    "wraps other keys": lambda session: generated(session, {}, BOTH | MechanismFlag.WRAP),
}


@pytest.mark.parametrize("plant", PLANTED.values(), ids=PLANTED)
def test_a_planted_key_is_not_used(
    custodian: Custodian, intruder: Intruder, root_key: Key, plant: Callable[[Session], None]
) -> None:
    custodian.create("b")
    wrapped = custodian.wrap("b", root_key, BOUND_TO)
    plant(intruder.session)
    with pytest.raises(CustodianError, match="not one that was made there"):
        custodian.wrap("a", root_key, BOUND_TO)
    with pytest.raises(CustodianError, match="not one that was made there"):
        custodian.unwrap("a", wrapped, BOUND_TO)
    with pytest.raises(MasterExistsError):
        custodian.create("a")
    assert custodian.names() == {"a", "b"}
    custodian.destroy("a")
    assert custodian.names() == {"b"}
    assert intruder.find("shredvault:a") == []
    assert opens(custodian, "b", wrapped, root_key)


def test_a_key_that_is_as_ours_should_be_is_used(custodian: Custodian, intruder: Intruder, root_key: Key) -> None:
    """The check above refuses for the reason it names, and not whatever the test made."""
    generated(intruder.session, {Attribute.DESTROYABLE: True})
    assert opens(custodian, "a", custodian.wrap("a", root_key, BOUND_TO), root_key)


@pytest.mark.parametrize("same_id", [False, True])
def test_a_second_key_of_the_same_name_stops_its_use_and_dies_with_it(
    custodian: Custodian, intruder: Intruder, root_key: Key, *, same_id: bool
) -> None:
    custodian.create("a")
    wrapped = custodian.wrap("a", root_key, BOUND_TO)
    assert opens(custodian, "a", wrapped, root_key)
    (first,) = intruder.find("shredvault:a")
    generated(intruder.session, {Attribute.ID: first[Attribute.ID]} if same_id else {})
    for call in (lambda: custodian.wrap("a", root_key, BOUND_TO), lambda: custodian.unwrap("a", wrapped, BOUND_TO)):
        with pytest.raises(CustodianError, match="several masters") as refusal:
            call()
        assert not isinstance(refusal.value, MasterGoneError)
    assert custodian.describe("a") is MasterState.LIVE
    custodian.destroy("a")
    assert intruder.find("shredvault:a") == []
    with pytest.raises(MasterGoneError):
        custodian.unwrap("a", wrapped, BOUND_TO)


def test_other_objects_on_the_token_are_left_alone(custodian: Custodian, intruder: Intruder) -> None:
    for label in ("shredvault:", "shredvault:Big", "a", "other", "shredvault-a"):
        intruder.session.generate_key(KeyType.AES, 256, label=label, store=True, capabilities=BOTH)
    custodian.create("a")
    assert custodian.names() == {"a"}
    custodian.destroy("a")
    assert len(list(intruder.session.get_objects({Attribute.TOKEN: True}))) == 5


# --- processes, threads, lost sessions ----------------------------------------------------------------

SECOND = """
custodian = opened(arguments[0])
print("ready", flush=True)
for line in sys.stdin:
    method, name = line.split()
    print(getattr(custodian, method)(name), flush=True)
"""


def test_another_process_sees_creation_and_destruction_at_once(
    custodian: Custodian, soft_token: SoftToken, root_key: Key
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HEAD + SECOND, soft_token.uri],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdin
        assert other.stdout
        answers, questions = other.stdout, other.stdin

        def ask(question: str) -> str:
            questions.write(question + "\n")
            questions.flush()
            return answers.readline().strip()

        assert answers.readline() == "ready\n"
        for number in range(10):
            name = f"n-{number}"
            assert ask(f"describe {name}") == "absent"
            custodian.create(name)
            assert ask(f"describe {name}") == "live"
            wrapped = custodian.wrap(name, root_key, BOUND_TO)
            if number % 2:
                custodian.destroy(name)
            else:
                assert ask(f"destroy {name}") == "None"
            assert ask(f"describe {name}") == "absent"
            assert custodian.describe(name) is MasterState.ABSENT
            with pytest.raises(MasterGoneError):
                custodian.unwrap(name, wrapped, BOUND_TO)
        questions.close()


def test_threads_share_the_token(custodian: Custodian, soft_token: SoftToken, root_key: Key) -> None:
    custodian.create("a")
    wrapped = custodian.wrap("a", root_key, BOUND_TO)

    def work(number: int) -> bool:
        mine = Pkcs11Custodian.from_uri(soft_token.uri, None) if number % 2 else custodian
        mine.create(f"n-{number}")
        own = mine.wrap(f"n-{number}", root_key, BOUND_TO)
        good = all(opens(mine, "a", wrapped, root_key) and opens(mine, f"n-{number}", own, root_key) for _ in range(20))
        mine.destroy(f"n-{number}")
        return good

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(16)))
    assert custodian.names() == {"a"}


FORKED = """
import os
from keystore import Key
custodian = opened(arguments[0])
custodian.create("a")
key = Key.generate()
wrapped = custodian.wrap("a", key, b"x")
def good(): return custodian.unwrap("a", wrapped, b"x").same_as(key)
assert good()
for _ in range(3):
    child = os.fork()
    if child == 0:
        try:
            code = 0 if good() else 1
            custodian.create("b")
            custodian.destroy("b")
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            code = 2
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert good()
child = os.fork()
if child == 0:
    custodian.destroy("a")
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
try:
    good()
except MasterGoneError:
    print("gone in the parent")
"""


def test_parent_and_child_of_a_fork_both_work(soft_token: SoftToken) -> None:
    assert in_a_process(FORKED, soft_token.uri) == "gone in the parent"


LOGGED_OUT = """
import pkcs11
custodian = opened(arguments[0])
custodian.create("a")
library = pkcs11.lib(arguments[1])
token = library.get_token(token_serial=arguments[2].encode())
# Another part of the program logs out, which holds for the whole process.
session = token.open()
(key,) = session.get_objects({pkcs11.Attribute.LABEL: "shredvault:a"})
from keystore.custodians.pkcs11_token import _MODULES
for login in _MODULES[arguments[1]].logins.values():
    login.session.close()
assert not list(token.open().get_objects({pkcs11.Attribute.LABEL: "shredvault:a"})), "the attack has no effect"
print(custodian.describe("a"), *custodian.names())
library.finalize()
print(custodian.describe("a"), *custodian.names())
"""


def test_a_session_that_was_logged_out_is_no_proof_of_absence(soft_token: SoftToken) -> None:
    """A logged-out session finds no private object, and does not complain."""
    assert in_a_process(LOGGED_OUT, soft_token.uri, str(MODULE), soft_token.serial) == "live a\nlive a"


TAKEN_AWAY = """
from pathlib import Path
custodian = opened(arguments[0])
custodian.create("a")
folder = Path(arguments[1])
away = folder.parent.with_name("away")
folder.rename(away)
for call in (custodian.destroy, custodian.describe, custodian.destroy, custodian.create, lambda _: custodian.names()):
    try:
        print("answered", call("a"))
    except CustodianUnavailableError:
        print("unavailable")
away.rename(folder)
print(custodian.describe("a"))
custodian.destroy("a")
print(custodian.describe("a"))
"""


def test_a_token_that_is_taken_away_is_no_proof_of_absence(soft_token: SoftToken) -> None:
    """SoftHSM itself reports the destruction as done, from memory, while the key is on the disk that is away."""
    said = in_a_process(TAKEN_AWAY, soft_token.uri, str(soft_token.folder)).splitlines()
    assert said == ["unavailable"] * 5 + ["live", "absent"]
    assert "shredvault:a" not in soft_token.tool("--list-objects")


# --- which token --------------------------------------------------------------------------------------


def test_exactly_one_token_must_match(softhsm: SoftHsm, root_key: Key) -> None:
    first, second = softhsm.make_token("twin"), softhsm.make_token("twin")
    query = f"module-path={MODULE}&pin-source=file:{first.pin_file}"
    chosen = open_custodian(f"pkcs11:token=twin;serial={first.serial}?{query}", away_from=Path("/nonexistent"))
    chosen.create("a")
    with pytest.raises(CustodianError, match="2 tokens match") as several:
        open_custodian(f"pkcs11:token=twin?{query}", away_from=Path("/nonexistent"))
    assert not isinstance(several.value, CustodianUnavailableError)
    for none in ("token=twins", f"token=twin;serial={first.serial}0", f"serial={first.serial};model=Other"):
        with pytest.raises(CustodianUnavailableError, match="No token"):
            open_custodian(f"pkcs11:{none}?{query}", away_from=Path("/nonexistent"))
    assert "shredvault:a" in first.tool("--list-objects")
    assert "shredvault:a" not in second.tool("--list-objects")


def test_a_token_by_everything_that_can_be_said_of_it(softhsm: SoftHsm) -> None:
    token = softhsm.make_token("a b;c/ä?")
    attributes = "token=a%20b%3bc%2F%C3%A4%3f;manufacturer=SoftHSM%20project;model=SoftHSM%20v2"
    attributes += f";serial={token.serial};slot-manufacturer=SoftHSM%20project"
    attributes += ";library-manufacturer=SoftHSM;library-description=Implementation%20of%20PKCS11"
    uri = f"pkcs11:{attributes}?module-name=softhsm2&pin-source=file:{token.pin_file}"
    custodian = Pkcs11Custodian.from_uri(uri, None)
    assert custodian.uri == uri
    custodian.create("a")
    assert custodian.names() == {"a"}


BAD_URIS = {
    "pkcs11:": "module-path",
    "pkcs11:token=t": "module-path",
    "pkcs11:token=t?module-path=lib.so": "absolute",
    "pkcs11:token=t?module-path=/lib.so&module-name=lib": "either",
    "pkcs11:token=t?module-name=no-such-module": "No PKCS#11 modules of that module-name",
    "pkcs11:token=t?module-name=..%2Flib": "without folders",
    "pkcs11:token=t?module-path=/lib.so&pin-source=%7Ccat": "pin-source",
    "pkcs11:token=t?module-path=/lib.so&pin-source=https:x": "pin-source",
    "pkcs11:token=t;token=u?module-path=/lib.so": "twice",
    "pkcs11:token=%zz?module-path=/lib.so": "well formed",
    "pkcs11:token=%ff?module-path=/lib.so": "UTF-8",
    "pkcs11:token=a b?module-path=/lib.so": "well formed",
    "pkcs11:token?module-path=/lib.so": "well formed",
    "pkcs11:colour=red?module-path=/lib.so": "does not know: colour",
    "pkcs11:library-version=2?module-path=/lib.so": "does not know: library-version",
    "pkcs11:token=t?module-path=/lib.so&x-vendor=1": "does not know",
    "pkcs11:token=t;object=o?module-path=/lib.so": "not an object",
    "pkcs11:token=t;type=secret-key?module-path=/lib.so": "not an object",
    "pkcs11:token=t?module-path=/lib.so&pin-value=hush": "must not hold the PIN",
    "pkcs11:token=t;pin-value=hush?module-path=/lib.so": "does not know: pin-value",
    "pkcs11:hush?module-path=/lib.so": "well formed",
    "pkcs11:token=t?module-path=/no/such/module.so": "cannot be loaded",
}


@pytest.mark.parametrize(("uri", "reason"), BAD_URIS.items(), ids=BAD_URIS)
def test_uris_that_are_refused(uri: str, reason: str) -> None:
    with pytest.raises(CustodianError, match=reason) as refusal:
        Pkcs11Custodian.from_uri(uri, None)
    assert "=hush" not in str(refusal.value)


# --- the PIN ------------------------------------------------------------------------------------------


def without_pin(token: SoftToken) -> str:
    return token.uri.partition("&pin-source")[0]


def test_the_pin_comes_from_the_environment_or_a_person(soft_token: SoftToken) -> None:
    uri = without_pin(soft_token)
    assert in_a_process("print(*opened(arguments[0]).names())", uri, SHREDVAULT_PKCS11_PIN=soft_token.pin) == ""
    asked: list[str] = []

    def ask(question: str) -> str:
        asked.append(question)
        return soft_token.pin

    custodian = Pkcs11Custodian.from_uri(uri, ask)
    assert len(asked) == 1
    pkcs11.lib(str(MODULE)).finalize()
    custodian.create("a")
    assert len(asked) == 1, "nobody is asked again in mid-work"
    assert soft_token.pin not in custodian.uri + repr(custodian) + repr(vars(custodian)) + repr(vars(custodian._token))


def test_no_pin_at_all(softhsm: SoftHsm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHREDVAULT_PKCS11_PIN", raising=False)
    with pytest.raises(CustodianError, match="SHREDVAULT_PKCS11_PIN"):
        Pkcs11Custodian.from_uri(without_pin(softhsm.make_token()), None)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o620])
def test_a_pin_file_open_to_others_is_refused(softhsm: SoftHsm, mode: int) -> None:
    token = softhsm.make_token()
    token.pin_file.chmod(mode)
    with pytest.raises(CustodianError, match="0600"):
        Pkcs11Custodian.from_uri(token.uri, None)
    token.pin_file.chmod(0o400)
    assert Pkcs11Custodian.from_uri(token.uri, None).names() == frozenset()


def test_a_pin_file_from_systemd_may_show_the_mask_of_its_access_list(
    softhsm: SoftHsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = softhsm.make_token()
    token.pin_file.chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(token.pin_file.parent))
    assert Pkcs11Custodian.from_uri(token.uri, None).names() == frozenset()
    other = softhsm.make_token()
    other.pin_file.chmod(0o444)
    with pytest.raises(CustodianError, match="0600"):
        Pkcs11Custodian.from_uri(other.uri, None)


def test_systemd_hands_the_pin_to_whoever_opens_the_same_uri(
    softhsm: SoftHsm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    token = softhsm.make_token()
    uri = without_pin(token)
    monkeypatch.delenv("SHREDVAULT_PKCS11_PIN", raising=False)
    handed = tmp_path / "secret_pin"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with pytest.raises(CustodianError, match="the credential secret_pin"):
        Pkcs11Custodian.from_uri(uri, None)
    handed.write_text(f"{token.pin}\n")
    handed.chmod(0o444)
    with pytest.raises(CustodianError, match="0600"):
        Pkcs11Custodian.from_uri(uri, None)
    handed.chmod(0o440)
    assert Pkcs11Custodian.from_uri(uri, None).names() == frozenset()


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"1" * 5000])
def test_a_pin_file_without_a_pin(softhsm: SoftHsm, content: bytes) -> None:
    token = softhsm.make_token()
    token.pin_file.write_bytes(content)
    with pytest.raises(CustodianError, match="one line of text"):
        Pkcs11Custodian.from_uri(token.uri, None)


WRONG_PIN = """
import pkcs11
custodian = opened(arguments[0])
custodian.create("a")
Path(arguments[1]).write_text("not-the-pin")
pkcs11.lib(arguments[2]).finalize()
for _ in range(5):
    try:
        custodian.describe("a")
    except CustodianError as error:
        assert "PIN" in str(error), error
        assert "not-the-pin" not in str(error)
    else:
        raise AssertionError
"""


def test_a_wrong_pin_is_tried_once(soft_token: SoftToken, tmp_path: Path) -> None:
    """Three tries lock many tokens. Counted by OpenSC's spy, which stands between us and the module."""
    log = tmp_path / "spy.log"
    in_a_process(
        WRONG_PIN,
        soft_token.uri.replace(str(MODULE), str(SPY)),
        str(soft_token.pin_file),
        str(SPY),
        PKCS11SPY=str(MODULE),
        PKCS11SPY_OUTPUT=str(log),
    )
    assert len(re.findall(r"C_Login\b", log.read_text("utf-8"))) == 4, (
        "right at the opening and twice in create, and wrong once"
    )
    assert "shredvault:a" in soft_token.tool("--list-objects")


# --- what the assurance says --------------------------------------------------------------------------

STILL_OPENS = """
wrapped = bytes.fromhex(arguments[1])
try:
    with opened(arguments[0]).unwrap("a", wrapped, b"x") as key:
        print(key.reveal().hex())
except MasterGoneError:
    print("gone")
"""


def test_a_copied_soft_token_opens_what_was_destroyed_and_the_assurance_says_so(
    custodian: Custodian, soft_token: SoftToken, root_key: Key, tmp_path: Path
) -> None:
    custodian.create("a")
    wrapped = custodian.wrap("a", root_key, b"x")
    soft_token.copy_to(tmp_path / "copy")
    custodian.destroy("a")
    assert in_a_process(STILL_OPENS, soft_token.uri, wrapped.hex()) == "gone"
    soft_token.put_back(tmp_path / "copy")
    assert in_a_process(STILL_OPENS, soft_token.uri, wrapped.hex()) == bytes(root_key.reveal()).hex()
    assert custodian.assurance.kind == "software"
    assert "backups" in custodian.assurance.copies


def test_other_makers_are_hardware_on_the_operators_word(custodian: Pkcs11Custodian) -> None:
    custodian._token.manufacturer = "A maker of HSMs"
    assert custodian.assurance.kind == "hardware"
    assert "operator declares" in custodian.assurance.copies


def test_a_missing_package_is_named() -> None:
    code = """
sys.modules["pkcs11"] = None
try:
    opened("pkcs11:token=t?module-path=/lib.so")
except CustodianError as error:
    print(error)
"""
    assert "pip install '.[hsm]'" in in_a_process(code)
