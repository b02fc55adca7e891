"""Certificates of destruction: facts that were observed, signed by the vault, on paper, and checked by anybody."""

from __future__ import annotations

from . import verify_certificate
from .issuing import Certificate, issue_certificate, issue_missing, list_certificates, load_certificate
from .ledger_extract import extract_ledger
from .paper import render

__all__ = [
    "Certificate",
    "extract_ledger",
    "issue_certificate",
    "issue_missing",
    "list_certificates",
    "load_certificate",
    "render",
    "verify_certificate",
]
