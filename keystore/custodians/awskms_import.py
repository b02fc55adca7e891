"""The material of a master at KMS: made here, wrapped to KMS's import key, imported, wiped.

After this there is no copy of it outside KMS. The wrapped blob and the import token are useless without KMS, and
with KMS would bring a deleted master back; so neither leaves these functions.
"""

from __future__ import annotations

import ctypes
from datetime import datetime
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from keystore.errors import CustodianError
from keystore.secret import Key

from .awskms_client import Kms

__all__ = ["import_fresh_material"]

_WRAPPING_BITS: Final = 4096


def import_fresh_material(kms: Kms, key_id: str, valid_to: datetime) -> None:
    """Give the empty key `key_id` 32 fresh random bytes, which KMS deletes by itself at `valid_to`.

    Raises:
        CustodianError: KMS did not take them; or it did and its answer was lost.
    """
    given = kms.ask(
        "get_parameters_for_import",
        KeyId=key_id,
        WrappingAlgorithm="RSAES_OAEP_SHA_256",
        WrappingKeySpec=f"RSA_{_WRAPPING_BITS}",
    )
    with Key.generate() as material:
        blob = _wrapped(material, _wrapping_key(given["PublicKey"]))
    kms.ask(
        "import_key_material",
        KeyId=key_id,
        ImportToken=given["ImportToken"],
        EncryptedKeyMaterial=blob,
        ExpirationModel="KEY_MATERIAL_EXPIRES",
        ValidTo=valid_to,
    )


def _wrapping_key(der: bytes) -> RSAPublicKey:
    try:
        key = load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm) as broken:
        message = "KMS gave an import key that cannot be read."
        raise CustodianError(message) from broken
    if not isinstance(key, RSAPublicKey) or key.key_size != _WRAPPING_BITS:
        message = f"KMS gave an import key that is not RSA with {_WRAPPING_BITS} bits."
        raise CustodianError(message)
    return key


def _wrapped(material: Key, to: RSAPublicKey) -> bytes:
    # `cryptography` takes only `bytes` here, which Python never overwrites. This object is ours alone, made for
    # one call, so it is overwritten where it stands.
    handed = bytes(material.reveal())
    try:
        return to.encrypt(handed, OAEP(MGF1(SHA256()), SHA256(), label=None))
    finally:
        ctypes.memset(ctypes.c_char_p(handed), 0, len(handed))
