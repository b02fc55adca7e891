"""Access tokens: made once, shown once, stored as hashes.

A token is `svt_`, the token's id, `_`, 256 random bits and a check of 20 bits, in base 32. The check tells
a typing error from a token that is unknown. Secrets have full entropy, so one SHA-256 is enough.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import zlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

import sqlalchemy as sa

from vault.catalogue.schema import access_tokens
from vault.context import Vault, note
from vault.errors import NotFoundError, VaultError
from vault.ids import TokenId, base32, is_id, new_id
from vault.ledger.publishing import publish

__all__ = [
    "BadTokenError",
    "Caller",
    "ForbiddenError",
    "MistypedTokenError",
    "Role",
    "TokenLine",
    "authenticate",
    "create_token",
    "list_tokens",
    "revoke_token",
]

LABEL_CHARACTERS_MAX: Final = 80
_PREFIX: Final = "svt_"
_SECRET_BITS: Final = 256
_SECRET_CHARACTERS: Final = 52
_CHECK_CHARACTERS: Final = 4
_CHECK_BITS: Final = 20
_TOKEN: Final = sa.select(access_tokens.c.role, access_tokens.c.secret_hash, access_tokens.c.revoked_at).where(
    access_tokens.c.id == sa.bindparam("token")
)


class Role(StrEnum):
    """What a token may do."""

    CENTER = "center"
    """File records and documents; read nothing."""
    REVIEWER = "reviewer"
    """Read records and documents, with a purpose."""
    COUNSEL = "counsel"
    """Place, widen and extend holds and see them all; hand orders in and see them; read no record (H2, H9)."""
    RECORDS_OFFICER = "records-officer"
    """Hand orders in; see orders, destructions, and the holds that are not sealed."""
    AUDITOR = "auditor"
    """See orders, destructions, and the holds that are not sealed."""


class BadTokenError(VaultError):
    """The token is unknown or was revoked."""


class MistypedTokenError(BadTokenError):
    """The token cannot be one of ours: it was cut or mistyped."""


class ForbiddenError(VaultError):
    """The token's role does not allow this."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling."""

    token_id: TokenId
    role: Role

    def require(self, *roles: Role) -> None:
        """Refuse every other role.

        Raises:
            ForbiddenError: the caller has another role.
        """
        if self.role not in roles:
            message = f"This needs a token with the role {' or '.join(roles)}; yours has the role {self.role}."
            raise ForbiddenError(message)


@dataclass(frozen=True, slots=True)
class TokenLine:
    """A token as it is listed; its secret is nowhere."""

    id: TokenId
    role: Role
    label: str
    created_at: datetime
    revoked_at: datetime | None


def create_token(vault: Vault, role: Role, label: str) -> str:
    """Make a token and return it; it cannot be shown again.

    Raises:
        VaultError: the label is empty or longer than 80 characters.
    """
    if not 0 < len(label) <= LABEL_CHARACTERS_MAX:
        message = f"The label must have 1 to {LABEL_CHARACTERS_MAX} characters."
        raise VaultError(message)
    token_id = TokenId(new_id())
    secret = base32(secrets.randbits(_SECRET_BITS), _SECRET_CHARACTERS)
    body = f"{_PREFIX}{token_id}_{secret}"
    now = vault.clock.now()
    with vault.catalogue.write() as tx:
        tx.execute(
            sa.insert(access_tokens).values(
                id=token_id, role=role, label=label, secret_hash=_hash(secret), created_at=now
            )
        )
        note(tx, now, "token created", token_id, {"role": role})
    return body + _check(body)


def authenticate(vault: Vault, token: str) -> Caller:
    """Tell whose token this is.

    Raises:
        MistypedTokenError: it has not the form of a token, or its check is wrong.
        BadTokenError: unknown or revoked.
    """
    body, check = token[:-_CHECK_CHARACTERS], token[-_CHECK_CHARACTERS:]
    token_id, _, secret = body.removeprefix(_PREFIX).partition("_")
    if not (
        token.isascii()
        and body.startswith(_PREFIX)
        and is_id(token_id)
        and len(secret) == _SECRET_CHARACTERS
        and check == _check(body)
    ):
        message = "The access token is incomplete or mistyped."
        raise MistypedTokenError(message)
    with vault.catalogue.read() as tx:
        row = tx.execute(_TOKEN, {"token": token_id}).one_or_none()
    if row is None or not hmac.compare_digest(row.secret_hash, _hash(secret)) or row.revoked_at is not None:
        message = "The access token is unknown or has been revoked."
        raise BadTokenError(message)
    return Caller(TokenId(token_id), Role(row.role))


def list_tokens(vault: Vault) -> list[TokenLine]:
    """All tokens, oldest first."""
    with vault.catalogue.read() as tx:
        rows = tx.execute(sa.select(access_tokens).order_by(access_tokens.c.created_at))
        return [TokenLine(TokenId(r.id), Role(r.role), r.label, r.created_at, r.revoked_at) for r in rows]


def revoke_token(vault: Vault, token_id: str) -> None:
    """Revoke a token, at once. Safe to repeat.

    Raises:
        NotFoundError: there is no such token.
    """
    now = vault.clock.now()
    with vault.catalogue.write() as tx:
        known = tx.execute(sa.select(access_tokens.c.revoked_at).where(access_tokens.c.id == token_id)).one_or_none()
        if known is None:
            message = "There is no token with this id; `shredvault access list` shows them."
            raise NotFoundError(message)
        if known.revoked_at is None:
            tx.execute(sa.update(access_tokens).where(access_tokens.c.id == token_id).values(revoked_at=now))
            note(tx, now, "token revoked", token_id)
    publish(vault)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("ascii", "replace")).digest()


def _check(body: str) -> str:
    return base32(zlib.crc32(body.encode("ascii", "replace")) & ((1 << _CHECK_BITS) - 1), _CHECK_CHARACTERS)
