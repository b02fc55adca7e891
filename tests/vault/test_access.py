"""Access tokens: shown once, kept as a hash, told from typing errors, revoked at once."""

import hashlib
import zlib

import pytest

from tests.vault.world import World
from vault.access import (
    BadTokenError,
    ForbiddenError,
    MistypedTokenError,
    Role,
    authenticate,
    create_token,
    list_tokens,
    revoke_token,
)
from vault.errors import NotFoundError, VaultError
from vault.ids import base32, new_id


def test_a_token_is_shown_once_and_kept_as_a_hash(quick_world: World) -> None:
    token = create_token(quick_world.vault, Role.CENTER, "Desk 3")
    assert len(token) == 4 + 26 + 1 + 52 + 4
    assert token.startswith("svt_")
    caller = authenticate(quick_world.vault, token)
    assert caller.role is Role.CENTER
    secret = token[31:83]
    assert (
        quick_world.value(f"SELECT secret_hash FROM access_tokens WHERE id = '{caller.token_id}'")
        == hashlib.sha256(secret.encode()).digest()
    )
    quick_world.vault.catalogue.close()
    stored = quick_world.catalogue_at_rest()
    assert caller.token_id.encode() in stored, "the control finds what is there"
    assert secret.encode() not in stored
    assert secret[:20].encode() not in stored
    assert secret not in repr(list_tokens(quick_world.vault)) + repr(caller)


def other(character: str) -> str:
    return "0" if character != "0" else "1"


def test_every_typing_error_is_told_from_an_unknown_token(quick_world: World) -> None:
    token = create_token(quick_world.vault, Role.REVIEWER, "x")
    for at in range(len(token)):
        with pytest.raises(MistypedTokenError):
            authenticate(quick_world.vault, token[:at] + other(token[at]) + token[at + 1 :])
        with pytest.raises(MistypedTokenError):
            authenticate(quick_world.vault, token[:at])
    for odd in ("", "svt_", " " + token, token + " ", token.upper(), token + "é", "\0" * 87, "svt_" + "_" * 83):
        with pytest.raises(MistypedTokenError):
            authenticate(quick_world.vault, odd)
    assert authenticate(quick_world.vault, token).role is Role.REVIEWER


def with_check(body: str) -> str:
    return body + base32(zlib.crc32(body.encode()) & (2**20 - 1), 4)


def test_an_unknown_token_is_no_typing_error(quick_world: World) -> None:
    token = create_token(quick_world.vault, Role.REVIEWER, "x")
    for forged in (f"svt_{new_id()}_{token[31:83]}", token[:31] + "0" * 52):
        with pytest.raises(BadTokenError) as refusal:
            authenticate(quick_world.vault, with_check(forged))
        assert not isinstance(refusal.value, MistypedTokenError)


def test_a_revoked_token_is_refused_at_once(quick_world: World) -> None:
    token = create_token(quick_world.vault, Role.REVIEWER, "x")
    token_id = authenticate(quick_world.vault, token).token_id
    revoke_token(quick_world.vault, token_id)
    with pytest.raises(BadTokenError) as refusal:
        authenticate(quick_world.vault, token)
    assert not isinstance(refusal.value, MistypedTokenError)
    first = next(line for line in list_tokens(quick_world.vault) if line.id == token_id).revoked_at
    quick_world.advance(days=1)
    revoke_token(quick_world.vault, token_id)
    assert next(line for line in list_tokens(quick_world.vault) if line.id == token_id).revoked_at == first
    with pytest.raises(NotFoundError):
        revoke_token(quick_world.vault, new_id())


@pytest.mark.parametrize("label", ["", "x" * 81])
def test_labels_have_a_length(quick_world: World, label: str) -> None:
    before = len(list_tokens(quick_world.vault))
    with pytest.raises(VaultError, match="1 to 80 characters"):
        create_token(quick_world.vault, Role.CENTER, label)
    assert len(list_tokens(quick_world.vault)) == before


def test_roles_do_not_mix(quick_world: World) -> None:
    with pytest.raises(ForbiddenError):
        quick_world.center.require(Role.REVIEWER)
    with pytest.raises(ForbiddenError):
        quick_world.reviewer.require(Role.CENTER)
    quick_world.center.require(Role.CENTER)
