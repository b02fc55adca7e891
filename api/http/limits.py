"""Every limit of the HTTP face, with its unit. What limits a document stands in `vault.records.documents`."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one process. The defaults suit one machine with two cores and a gigabyte for this service."""

    requests: int = 256
    """Requests under way; more are answered 503."""
    uploads: int = 64
    """Uploads under way, each with up to 8 MiB in memory; more are answered 503."""
    downloads: int = 64
    """Document answers under way, each with about 1 MiB in memory; more are answered 503."""
    threads: int = 40
    """Threads for use cases. The catalogue keeps a few connections more than that."""
    json_bytes: int = 64 * 1024
    """Body of a request that is not a document."""
    silence_s: float = 30.0
    """No byte of a body for so long, or no byte of an answer taken: the exchange ends."""
    body_s: float = 900.0
    """A whole body; a document of 25 MiB at 30 KiB/s takes that long."""
    receipts_s: float = 20.0
    """Questions about receipts in a second, of whoever asks; more are answered 429."""
    receipts_burst: int = 60
    """So many at once after a quiet time."""
    receipts: int = 4
    """Such questions under way; more are answered 503."""
    linger_s: float = 2.0
    """How long the rest of a refused body is thrown away, so that the refusal reaches who is still sending."""
    linger_bytes: int = 32 * 1024 * 1024
    """How much of a refused body is thrown away."""
    check_s: float = 5.0
    """A readiness check that takes longer has failed."""
    check_every_s: float = 1.0
    """Readiness is looked at this often at most, however often it is asked for."""
    ledger_every_s: float = 60.0
    """The ledger is compared with the bucket's this often at most, when counters are asked for."""
