"""Runs ministack in its own environment, with one import key for all imports.

The emulator makes an RSA key of 4096 bits for each import, half a second of a processor, and the tests import some
hundred times. That our client wraps to the key it was just given is shown on `strict_kms`.
"""

from functools import cache

from cryptography.hazmat.primitives.asymmetric import rsa

rsa.generate_private_key = cache(rsa.generate_private_key)

from ministack.app import main  # type: ignore[import-not-found]  # noqa: E402  # after what it is to find

main()
