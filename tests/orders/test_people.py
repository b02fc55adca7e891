"""Which keys speak for whom: one person for each principal and each key; revoked and expired keys; FIDO keys."""

import struct
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256, sha512

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.people import COUNSEL, HEAD, OFFICER, founding_policy, key_of, people, signed, signers, staffed
from vault.errors import OrderRefusedError, PolicyError
from vault.law.people import Person, Role
from vault.law.policy import Policy
from vault.orders import approve
from vault.orders.signatures import ORDERS, POLICIES

NOW = datetime(2026, 1, 5, 15, tzinfo=UTC)
POLICY = staffed(Policy(1, "America/New_York"))


@pytest.mark.parametrize(
    "lines",
    [
        f"{COUNSEL}@city.example {{key}}",
        f"{HEAD}@city.example,{COUNSEL}@city.example {{other}}",
        "*@city.example {other}",
        "stranger@city.example {other}",
        f"{HEAD}@city.example cert-authority {{other}}",
        f"{HEAD}@city.example nonsense",
        # OpenSSH's option keywords are case-insensitive, and an option may stand before others.
        f"{HEAD}@city.example Cert-Authority {{other}}",
        f'{HEAD}@city.example valid-after="20200101Z",CERT-AUTHORITY {{other}}',
        # What a hasty reader takes for the key is an option's value.
        f'{HEAD}@city.example namespaces="{{other}}" {{counsel}}',
        f'{HEAD}@city.example namespaces="a\\" {{other}} " {{counsel}}',
        f'{HEAD}@city.example valid-after="20200101Z",valid-after="20210101Z" {{other}}',
        f'{HEAD}@city.example valid-before="20300101" {{other}}',
        f'{HEAD}@city.example valid-before="tomorrow" {{other}}',
        f"{HEAD}@city.example no-touch-required {{other}}",
        f"{HEAD}@city.example namespaces {{other}}",
        # OpenSSH takes a tab for a blank, and nothing but a line feed for a line's end.
        f"{HEAD}@city.example\tcert-authority {{other}}",
        f"# \r{HEAD}@city.example {{other}}",
        f"#\u2028{HEAD}@city.example {{other}}",
        f'"{HEAD}@city.example" {{other}}',
        # The same key, written or numbered in another way, and another kind of key than it says.
        f"{HEAD}@city.example {{spelt}}\n{COUNSEL}@city.example {{respelt}}",
        f"{HEAD}@city.example {{rsa}}\n{COUNSEL}@city.example {{rsa_with_zeros}}",
        f"{HEAD}@city.example {{misnamed}}",
        f"{HEAD}@city.example {{certificate}}",
    ],
)
def test_one_key_or_principal_belongs_to_one_person(lines: str) -> None:
    """Else one person could fill two places with one key, or somebody could speak for whom nobody named."""
    other = key_of("another").public
    text = other.split()[1]
    assert rsa(b"\x03").endswith("Q==")
    more = lines.format(
        key=key_of(HEAD).public,
        other=other,
        counsel=key_of(COUNSEL).public,
        spelt=rsa(b"\x03"),
        # The last letter has bits that nobody reads.
        respelt=rsa(b"\x03").replace("Q==", "R=="),
        misnamed=f"ssh-rsa {text}",
        certificate=f"ssh-ed25519-cert-v01@openssh.com {text}",
        rsa=rsa(b"\x01\x00\x01"),
        rsa_with_zeros=rsa(b"\x00\x00\x01\x00\x01"),
    )
    with pytest.raises(PolicyError):
        replace(POLICY, allowed_signers=f"{signers()}{more}\n")


def rsa(exponent: bytes) -> str:
    """A public key, of which nobody needs the private one."""
    blob = _string(b"ssh-rsa") + _string(exponent) + _string(b"\x00" + bytes([0xC1] * 256))
    return f"ssh-rsa {b64encode(blob).decode()}"


def test_options_are_read_as_openssh_reads_them() -> None:
    """In any case of letters, several at once: a key is good for its purposes, in its time, and not beyond."""
    body = b"options"
    key = key_of(HEAD)
    for options, good in (
        (f'namespaces="{ORDERS}"', True),
        (f'NAMESPACES="{ORDERS},x@y",Valid-After="20250101Z",valid-BEFORE="202602010000Z"', True),
        ('namespaces="file"', False),
        (f'namespaces="{ORDERS}",valid-after="20260201Z"', False),
        (f'valid-before="20260105145959Z",namespaces="*,!{POLICIES}"', False),
        (f'namespaces="*,!{POLICIES}"', True),
    ):
        policy = replace(POLICY, allowed_signers=f"# Signers\n{HEAD}@city.example {options} {key.public} of ada\n")
        if good:
            assert [one.person for one in approve(body, [key.sign(body)], ORDERS, policy, NOW)] == [HEAD]
        else:
            with pytest.raises(OrderRefusedError):
                approve(body, [key.sign(body)], ORDERS, policy, NOW)


def test_people_are_named_once() -> None:
    head = people()[0]
    for wrong in (
        (*people(), head),
        (*people(), Person("second", frozenset({Role.COUNSEL}), head.principals)),
    ):
        with pytest.raises(PolicyError):
            replace(POLICY, people=wrong)


def test_a_person_with_two_keys_counts_once() -> None:
    second = key_of("second-key-of-the-head")
    policy = replace(POLICY, allowed_signers=f"{signers()}{HEAD}@city.example {second.public}\n")
    assert [one.person for one in approve(b"x", [second.sign(b"x")], ORDERS, policy, NOW)] == [HEAD]
    with pytest.raises(OrderRefusedError, match="signed twice"):
        approve(b"x", [signed(HEAD, b"x"), second.sign(b"x")], ORDERS, policy, NOW)


def test_a_revoked_key_signs_nothing_any_more() -> None:
    body = b"revoked"
    assert approve(body, [signed(OFFICER, body)], ORDERS, POLICY, NOW)
    policy = replace(POLICY, revoked_keys=f"{key_of(OFFICER).public}\n")
    with pytest.raises(OrderRefusedError, match="revoked"):
        approve(body, [signed(OFFICER, body)], ORDERS, policy, NOW)
    assert approve(body, [signed(HEAD, body)], ORDERS, policy, NOW)


def test_a_key_counts_in_its_time_by_the_vaults_clock() -> None:
    body = b"timed"
    line = f'{HEAD}@city.example valid-before="20260106Z" {key_of(HEAD).public}\n'
    policy = replace(POLICY, allowed_signers=line, people=people())
    assert approve(body, [signed(HEAD, body)], ORDERS, policy, NOW)
    with pytest.raises(OrderRefusedError):
        approve(body, [signed(HEAD, body)], ORDERS, policy, datetime(2026, 1, 7, tzinfo=UTC))


def test_a_key_on_a_fido_token_counts_like_others() -> None:
    """The token is written here after OpenSSH's PROTOCOL.u2f and PROTOCOL.sshsig; ssh-keygen verifies it."""
    token = Token()
    policy = replace(POLICY, allowed_signers=f"{COUNSEL}@city.example {token.public}\n")
    body = b"touched"
    (one,) = approve(body, [token.sign(body)], ORDERS, policy, NOW)
    assert one.person == COUNSEL
    with pytest.raises(OrderRefusedError, match="does not verify"):
        approve(b"another", [token.sign(body)], ORDERS, policy, NOW)


class Token:
    """A FIDO token with one Ed25519 key, in software."""

    application, kind = b"ssh:", b"sk-ssh-ed25519@openssh.com"

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        public = self._key.public_key().public_bytes_raw()
        self._blob = _string(self.kind) + _string(public) + _string(self.application)

    @property
    def public(self) -> str:
        return f"{self.kind.decode()} {b64encode(self._blob).decode()}"

    def sign(self, body: bytes) -> bytes:
        parts = _string(ORDERS.encode()) + _string(b"") + _string(b"sha512")
        message = b"SSHSIG" + parts + _string(sha512(body).digest())
        state = b"\x01" + struct.pack(">I", 7)
        mark = self._key.sign(sha256(self.application).digest() + state + sha256(message).digest())
        inner = _string(self.kind) + _string(mark) + state
        whole = b"SSHSIG" + struct.pack(">I", 1) + _string(self._blob) + parts + _string(inner)
        text = b64encode(whole).decode()
        lines = "\n".join(text[start : start + 70] for start in range(0, len(text), 70))
        return f"-----BEGIN SSH SIGNATURE-----\n{lines}\n-----END SSH SIGNATURE-----\n".encode()


def _string(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def test_a_policy_is_one_canonical_document() -> None:
    """P1."""
    document = founding_policy()
    assert Policy.decode(document).encode() == document
    for wrong in (
        document.replace(b'"floor_months":0', b'"floor_months":25'),
        document.replace(b'"retention_months":24', b'"retention_months":"24"'),
        document.replace(b'"mode":"retain"', b'"mode":"sometimes"'),
        document.replace(b'"floor_months":0', b'"floor_months":3').replace(b'"mode":"retain"', b'"mode":"no-retain"'),
        document.replace(b'"sunset":null', b'"sunset":{}'),
        document.replace(b'"end_of_quarter":true', b'"end_of_quarter":1'),
        document.replace(b'"version":1', b'"version":0'),
        document[:-1] + b',"zeal":1}',
        document + b"\n",
        b"{}",
    ):
        assert wrong != document
        with pytest.raises(PolicyError):
            Policy.decode(wrong)
