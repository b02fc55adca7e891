"""What only the OpenBao custodian promises, on the real server: attacks on Transit, outages, tokens, backups."""

import http.server
import subprocess
import sys
import threading
from base64 import b64decode, b64encode
from collections.abc import Iterator
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
    open_custodian,
)
from keystore.custodians.openbao import OpenBaoCustodian
from tests.services.fault_proxy import Fault, FaultProxy
from tests.services.openbao import POLICY, Engine, OpenBao

ROOT = Path(__file__).parents[2]
BOUND_TO = b"vault, tree, epoch, version"
LESSER = POLICY.replace('["create", "read", "update", "delete"]', '["read"]')
"""For who files and reads: it uses masters, and neither makes nor destroys them."""


@pytest.fixture
def custodian(engine: Engine) -> OpenBaoCustodian:
    return OpenBaoCustodian.from_uri(engine.uri, None)


@pytest.fixture
def root_key() -> Iterator[Key]:
    with Key.generate() as key:
        yield key


def opens(custodian: Custodian, name: str, wrapped: bytes, key: Key) -> bool:
    with custodian.unwrap(name, wrapped, BOUND_TO) as seen:
        return seen.same_as(key)


def refuses_for_now(custodian: Custodian, reason: str) -> None:
    for call in (
        lambda: custodian.describe("a"),
        lambda: custodian.destroy("a"),
        lambda: custodian.create("a"),
        lambda: custodian.unwrap("a", bytes(96), BOUND_TO),
        custodian.names,
    ):
        with pytest.raises(CustodianUnavailableError, match=reason):
            call()


# --- the key in Transit -------------------------------------------------------------------------------


def test_a_master_cannot_leave_openbao(custodian: Custodian, engine: Engine) -> None:
    custodian.create("a")
    facts = engine.ask("GET", f"keys/{engine.key_of('a')}")["data"]
    assert facts["type"] == "aes256-gcm96"
    for word in ("exportable", "allow_plaintext_backup", "derived", "imported_key", "deletion_allowed"):
        assert facts[word] is False, word
    for way in (f"export/encryption-key/{engine.key_of('a')}", f"backup/{engine.key_of('a')}"):
        with pytest.raises(AssertionError, match="export"):
            engine.ask("GET", way)


@pytest.mark.parametrize("weakness", ["exportable", "allow_plaintext_backup"])
def test_a_master_that_can_leave_is_not_used(
    custodian: Custodian, engine: Engine, root_key: Key, weakness: str
) -> None:
    custodian.create("a")
    wrapped = custodian.wrap("a", root_key, BOUND_TO)
    assert opens(custodian, "a", wrapped, root_key)
    engine.ask("POST", f"keys/{engine.key_of('a')}/config", **{weakness: True})
    for call in (lambda: custodian.wrap("a", root_key, BOUND_TO), lambda: custodian.unwrap("a", wrapped, BOUND_TO)):
        with pytest.raises(CustodianError, match=weakness):
            call()
    custodian.destroy("a")
    assert custodian.names() == frozenset()


@pytest.mark.parametrize("key", ["shredvault-a", "shredvault-a.0123456789abcdef", "shredvault-a.planted"])
@pytest.mark.parametrize("planted", [{"type": "aes256-gcm96", "derived": True}, {"type": "chacha20-poly1305"}])
def test_a_planted_key_is_not_used(
    custodian: Custodian, engine: Engine, root_key: Key, key: str, planted: dict[str, object]
) -> None:
    engine.ask("POST", f"keys/{key}", **planted)
    assert custodian.names() == {"a"}
    with pytest.raises(CustodianError, match="not one that was made there"):
        custodian.wrap("a", root_key, BOUND_TO)
    with pytest.raises(MasterExistsError):
        custodian.create("a")
    custodian.destroy("a")
    assert custodian.names() == frozenset()


def test_a_second_key_of_the_same_name_stops_its_use_and_dies_with_it(
    custodian: Custodian, engine: Engine, root_key: Key
) -> None:
    custodian.create("a")
    custodian.create("ab")
    wrapped = custodian.wrap("a", root_key, BOUND_TO)
    engine.ask("POST", "keys/shredvault-a.0123456789abcdef", type="aes256-gcm96")
    with pytest.raises(CustodianError, match="several masters"):
        custodian.unwrap("a", wrapped, BOUND_TO)
    custodian.destroy("a")
    assert engine.ask("LIST", "keys")["data"]["keys"] == [engine.key_of("ab")]


def test_a_soft_deleted_master_is_not_destroyed_until_it_is(
    custodian: Custodian, engine: Engine, root_key: Key
) -> None:
    custodian.create("a")
    wrapped = custodian.wrap("a", root_key, BOUND_TO)
    key = engine.key_of("a")
    engine.ask("DELETE", f"keys/{key}/soft-delete")
    assert custodian.describe("a") is MasterState.LIVE
    with pytest.raises(CustodianError, match="soft-delete-restore") as refusal:
        custodian.unwrap("a", wrapped, BOUND_TO)
    assert not isinstance(refusal.value, MasterGoneError)
    engine.ask("POST", f"keys/{key}/soft-delete-restore")
    assert opens(custodian, "a", wrapped, root_key)

    engine.ask("DELETE", f"keys/{key}/soft-delete")
    custodian.destroy("a")
    assert custodian.describe("a") is MasterState.ABSENT
    engine.ask("POST", f"keys/{key}/soft-delete-restore")
    assert custodian.describe("a") is MasterState.ABSENT
    with pytest.raises(MasterGoneError):
        custodian.unwrap("a", wrapped, BOUND_TO)


def test_all_versions_of_a_rotated_master_die(custodian: Custodian, engine: Engine, root_key: Key) -> None:
    custodian.create("a")
    first = custodian.wrap("a", root_key, BOUND_TO)
    key = engine.key_of("a")
    engine.ask("POST", f"keys/{key}/rotate")
    second = custodian.wrap("a", root_key, BOUND_TO)
    assert first[:4] != second[:4]
    assert opens(custodian, "a", first, root_key)
    assert opens(custodian, "a", second, root_key)
    custodian.destroy("a")
    # As anybody with the root token would try it, a new key under the old name included.
    engine.ask("POST", f"keys/{key}", type="aes256-gcm96")
    engine.ask("POST", f"keys/{key}/rotate")
    for wrapped in (first, second):
        with pytest.raises(SealBrokenError):
            custodian.unwrap("a", wrapped, BOUND_TO)


def test_a_forbidden_version_is_no_destruction(custodian: Custodian, engine: Engine, root_key: Key) -> None:
    custodian.create("a")
    wrapped = custodian.wrap("a", root_key, BOUND_TO)
    key = engine.key_of("a")
    engine.ask("POST", f"keys/{key}/rotate")
    engine.ask("POST", f"keys/{key}/config", min_decryption_version=2)
    with pytest.raises(CustodianError, match="min_decryption_version"):
        custodian.unwrap("a", wrapped, BOUND_TO)
    engine.ask("POST", f"keys/{key}/config", min_decryption_version=1)
    assert opens(custodian, "a", wrapped, root_key)


def test_encryption_must_not_bring_a_destroyed_name_back(custodian: Custodian, engine: Engine, root_key: Key) -> None:
    custodian.create("a")
    engine.ask("POST", "config/keys", disable_upsert=False)
    with pytest.raises(CustodianError, match="disable_upsert=true"):
        custodian.wrap("a", root_key, BOUND_TO)
    engine.ask("POST", "config/keys", disable_upsert=True)
    assert opens(custodian, "a", custodian.wrap("a", root_key, BOUND_TO), root_key)


def test_the_context_is_bound_even_where_associated_data_is_dropped(
    custodian: Custodian, engine: Engine, root_key: Key
) -> None:
    """A server too old for associated_data ignores it. Made here by sealing without, as such a server would."""
    custodian.create("a")
    forged = b64encode(bytes(32) + bytes(32)).decode()
    empty = b64encode(b"").decode()
    answer = engine.ask("POST", f"encrypt/{engine.key_of('a')}", plaintext=forged, associated_data=empty)
    sealed = answer["data"]["ciphertext"].rpartition(":")[2]
    from_transit = (1).to_bytes(4, "big") + b64decode(sealed)
    with pytest.raises(SealBrokenError):
        custodian.unwrap("a", from_transit, b"")


# --- outages ------------------------------------------------------------------------------------------


def test_sealed_stopped_and_started_again(own_openbao: OpenBao, root_key: Key, tmp_path: Path) -> None:
    engine = own_openbao.make_engine()
    custodian = OpenBaoCustodian.from_uri(engine.uri, None)
    custodian.create("a")
    wrapped = custodian.wrap("a", root_key, BOUND_TO)
    own_openbao.seal()
    refuses_for_now(custodian, "sealed")
    own_openbao.unseal()
    assert opens(custodian, "a", wrapped, root_key)

    own_openbao.stop()
    refuses_for_now(custodian, "cannot be reached")
    # What a backup of the storage is worth, and why the assurance is what it is.
    own_openbao.copy_storage(tmp_path / "backup")
    own_openbao.start()
    assert opens(custodian, "a", wrapped, root_key)
    custodian.destroy("a")
    with pytest.raises(MasterGoneError):
        custodian.unwrap("a", wrapped, BOUND_TO)
    own_openbao.stop()
    own_openbao.put_back(tmp_path / "backup")
    own_openbao.start()
    assert opens(custodian, "a", wrapped, root_key)
    assert custodian.assurance.kind == "software"
    assert "Backups" in custodian.assurance.copies


def test_an_engine_that_was_unmounted_is_no_proof_of_absence(custodian: Custodian, engine: Engine) -> None:
    custodian.create("a")
    engine.server.ask("DELETE", f"sys/mounts/{engine.mount}")
    with pytest.raises((CustodianUnavailableError, CustodianError), match=r"no Transit engine|refuses"):
        custodian.describe("a")
    with pytest.raises((CustodianUnavailableError, CustodianError), match=r"no Transit engine|refuses"):
        custodian.destroy("a")


def test_a_server_that_is_slow_hangs_up_or_is_gone(engine: Engine, root_key: Key) -> None:
    with FaultProxy(("127.0.0.1", engine.server.port)) as proxy:
        custodian = OpenBaoCustodian.from_uri(engine.uri_at(proxy.url, "&timeout=0.5"), None)
        custodian.create("a")
        wrapped = custodian.wrap("a", root_key, BOUND_TO)
        proxy.set(Fault(blackhole=True))
        with pytest.raises(CustodianUnavailableError, match=r"within 0\.5 seconds"):
            custodian.unwrap("a", wrapped, BOUND_TO)
        for after in (0, 20, 200, 600):
            proxy.set(Fault(cut_down_after=after))
            with pytest.raises(CustodianUnavailableError, match="hangs up"):
                custodian.destroy("a")
        proxy.refuse()
        refuses_for_now(custodian, "cannot be reached")
        proxy.accept_again()
        proxy.clear()
        assert opens(custodian, "a", wrapped, root_key)


@pytest.mark.parametrize(
    ("status", "reason"), [(429, "too many"), (500, "trouble"), (302, "redirects to evil.example")]
)
def test_answers_that_may_be_different_later(engine: Engine, status: int, reason: str) -> None:
    seen: list[str] = []

    class Trouble(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            seen.append(self.path)
            self.send_response(status)
            self.send_header("Location", "http://evil.example/v1/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = do_LIST = do_DELETE = answer  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Trouble) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            custodian = OpenBaoCustodian.from_uri(engine.uri_at(f"http://127.0.0.1:{server.server_port}"), None)
            refuses_for_now(custodian, reason)
        finally:
            server.shutdown()
            thread.join()
    assert seen


# --- tokens and policies ------------------------------------------------------------------------------


def test_a_token_without_power_over_keys_uses_and_does_not_destroy_them(
    engine: Engine, custodian: Custodian, root_key: Key
) -> None:
    """The service that files and reads and the one that destroys can have different tokens."""
    custodian.create("a")
    wrapped = custodian.wrap("a", root_key, BOUND_TO)
    file = engine.server.make_token(LESSER.format(mount=engine.mount))
    reader = OpenBaoCustodian.from_uri(engine.uri.replace(str(engine.token_file), str(file)), None)
    assert opens(reader, "a", wrapped, root_key)
    assert opens(reader, "a", reader.wrap("a", root_key, BOUND_TO), root_key)
    with pytest.raises(CustodianError, match="policy"):
        reader.destroy("a")
    with pytest.raises(CustodianError, match="policy"):
        reader.create("b")
    assert custodian.names() == {"a"}
    assert opens(custodian, "a", wrapped, root_key)


def test_a_revoked_token(custodian: Custodian, engine: Engine) -> None:
    custodian.create("a")
    token = engine.token_file.read_text("ascii").strip()
    engine.server.ask("POST", "auth/token/revoke", token=token)
    with pytest.raises(CustodianError, match="token is wrong or has run out") as refusal:
        custodian.describe("a")
    assert token not in str(refusal.value) + repr(custodian) + custodian.uri


def test_the_token_comes_from_a_file_a_variable_systemd_or_a_person(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    token = engine.token_file.read_text("ascii").strip()
    uri = engine.uri.partition("?")[0]
    for variable in ("SHREDVAULT_OPENBAO_TOKEN", "BAO_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(CustodianError, match="SHREDVAULT_OPENBAO_TOKEN or BAO_TOKEN"):
        OpenBaoCustodian.from_uri(uri, None)
    asked = OpenBaoCustodian.from_uri(uri, lambda _: token)
    assert asked.names() == frozenset()
    for variable in ("BAO_TOKEN", "SHREDVAULT_OPENBAO_TOKEN"):
        with monkeypatch.context() as patch:
            patch.setenv(variable, token)
            assert OpenBaoCustodian.from_uri(uri, None).names() == frozenset()
    # The same URI with a lesser token, as the API's service gets it from systemd.
    (tmp_path / "secret_token").write_text(engine.server.make_token(LESSER.format(mount=engine.mount)).read_text())
    (tmp_path / "secret_token").chmod(0o400)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    api, destroyer = OpenBaoCustodian.from_uri(uri, None), OpenBaoCustodian.from_uri(engine.uri, None)
    destroyer.create("a")
    assert api.names() == {"a"}
    for refused in (api.create, api.destroy):
        with pytest.raises(CustodianError, match="does not allow"):
            refused("b" if refused == api.create else "a")
    assert destroyer.names() == {"a"}
    engine.token_file.chmod(0o640)
    with pytest.raises(CustodianError, match="0600"):
        OpenBaoCustodian.from_uri(engine.uri, None)


def test_proxies_and_tokens_of_the_environment_are_not_used(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("VAULT_TOKEN", "another")
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:9")
    assert OpenBaoCustodian.from_uri(engine.uri, None).names() == frozenset()


BAD_URIS = [
    "openbao:",
    "openbao:127.0.0.1:8200/transit",
    "openbao:http://127.0.0.1:8200",
    "openbao:http://127.0.0.1:8200/",
    "openbao:http://127.0.0.1:8200/transit/",
    "openbao:http://127.0.0.1:8200/../sys",
    "openbao:http://127.0.0.1:99999/transit",
    "openbao:http://bao.example/transit",
    "openbao:http://127.0.0.1.example/transit",
    "openbao:http://10.0.0.1:8200/transit",
    "openbao:ftp://127.0.0.1/transit",
    "openbao:https://user:hush@bao.example/transit",
    "openbao:https://bao.example/transit#x",
    "openbao:https://bao.example/transit?token=hush",
    "openbao:https://bao.example/transit?token-file=relative",
    "openbao:https://bao.example/transit?prefix=a&prefix=b",
    "openbao:https://bao.example/transit?prefix=-a",
    "openbao:https://bao.example/transit?prefix=a.b",
    "openbao:https://bao.example/transit?timeout=0",
    "openbao:https://bao.example/transit?timeout=nan",
    "openbao:https://bao.example/transit?timeout=999",
]


@pytest.mark.parametrize("uri", BAD_URIS)
def test_uris_that_are_refused(uri: str) -> None:
    with pytest.raises(CustodianError, match="OpenBao") as refusal:
        OpenBaoCustodian.from_uri(uri, lambda _: "token")
    assert "hush" not in str(refusal.value)


def test_vaults_with_other_prefixes_do_not_meet(engine: Engine, custodian: Custodian) -> None:
    policy = POLICY.format(mount=engine.mount).replace("shredvault-", "other-")
    file = engine.server.make_token(policy)
    uri = engine.uri.replace(str(engine.token_file), str(file)) + "&prefix=other-"
    other = open_custodian(uri, away_from=Path("/nonexistent"))
    custodian.create("a")
    other.create("a")
    other.create("b")
    other.destroy("a")
    assert custodian.names() == {"a"}
    assert other.names() == {"b"}


def test_a_missing_package_is_named() -> None:
    code = (
        "import sys\nsys.modules['hvac'] = None\n"
        "from pathlib import Path\nfrom keystore import CustodianError, open_custodian\n"
        "try:\n    open_custodian('openbao:https://bao.example/transit', away_from=Path('/nonexistent'))\n"
        "except CustodianError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "pip install '.[openbao]'" in done.stdout
