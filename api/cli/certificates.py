"""`shredvault certificate`: look at certificates of destruction, hand them out, and check them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from vault import canonical
from vault.certificates import (
    Certificate,
    extract_ledger,
    issue_missing,
    list_certificates,
    load_certificate,
    render,
    verify_certificate,
)
from vault.home import open_vault

from .exits import CommandError, ExitCode, at_named_path
from .manual import described
from .screen import facts, note, print_json, say, table, when
from .settings import HomeOption, JsonOption, load_settings

__all__ = ["certificate_app"]

_COUNTS: Final = ("listed", "destroyed", "withdrawn", "held_out", "pending", "failed")
"""In the order of the paper."""

CertificateId = Annotated[
    str, typer.Argument(metavar="ID", help="The certificate, which has the id of its destruction: `certificate list`.")
]

certificate_app = typer.Typer(no_args_is_help=True, help="Look at certificates of destruction, export and check them.")


@certificate_app.command("list")
@described
def list_all(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List all certificates, oldest first; first issues those that a crash left out."""
    with open_vault(load_settings(home=home).home_folder) as vault:
        without = issue_missing(vault)
        with vault.catalogue.read() as tx:
            found = list_certificates(tx)
    if as_json:
        print_json({"certificates": [_line(one) for one in found], "without": without})
        return
    if found:
        lines = [_line(one) for one in found]
        rows = [(line["id"], line["kind"], line["destroyed"], when(line["completed_at"])) for line in lines]
        table(("certificate", "kind", "destroyed", "complete"), rows)
    else:
        say("There are no certificates yet.")
    for destruction_id in without:
        note(f"Destruction {destruction_id} has none: what a certificate says of it was not observed.")


def _line(certificate: Certificate) -> dict[str, Any]:
    content = certificate.content
    return {
        "id": certificate.id,
        "kind": content["kind"],
        "destroyed": content["counts"]["destroyed"],
        "completed_at": datetime.fromisoformat(content["times"]["completed_at"]),
        "issued_at": certificate.issued_at,
    }


@certificate_app.command()
@described
def show(*, certificate_id: CertificateId, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show what a certificate says. With --json, its content as it was signed."""
    with open_vault(load_settings(home=home).home_folder) as vault:
        content = load_certificate(vault, certificate_id).content
    if as_json:
        print_json(content)
        return
    counts, deadline = content["counts"], content["deadline"]
    pairs = [
        ("certificate", f"{content['id']} ({content['kind']})"),
        ("authority", content["authority"]["text"]),
        ("approved by", ", ".join(one["person"] for one in content["authority"]["approvers"])),
        *((name.replace("_", " "), str(counts[name])) for name in _COUNTS),
        ("complete", when(datetime.fromisoformat(content["times"]["completed_at"]))),
    ]
    if deadline is not None:
        pairs.append(
            ("deadline", f"{deadline['last_day']}: {'met' if deadline['met'] else 'MISSED'}. {deadline['why']}")
        )
    facts(pairs)
    for title, member in (("It was not destroyed:", "not_destroyed"), ("It cannot prove:", "cannot_prove")):
        say(title)
        for sentence in content[member]:
            say(f"  - {sentence}")


@certificate_app.command()
@described
def export(
    *,
    certificate_id: CertificateId,
    to: Annotated[Path, typer.Option("--to", help="A folder for the files; made where there is none.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a certificate for whoever needs it: to read, to check, and with what checks it.

    certificate.json is what the vault signed, certificate.pdf is the same to read and to sign by hand, ledger.json the
    part of the ledger that belongs to it, vault.key the vault's public key, and verify_certificate.py a program that
    checks them all on a machine without Shredvault and without a network.

    \b
    Example:
      shredvault certificate export 6h1n8p4s2d9g0j5k7m3q1r8v4x --to certificate-2028-01
    """  # noqa: D301
    with open_vault(load_settings(home=home).home_folder) as vault:
        found = load_certificate(vault, certificate_id)
        signature = canonical.decode(found.document)["signature"]
        files = {
            "certificate.json": found.document,
            "certificate.pdf": render(found.content, signature),
            "ledger.json": extract_ledger(vault, certificate_id),
            "vault.key": f"{vault.signing.verifier}\n".encode(),
            "verify_certificate.py": Path(verify_certificate.__file__).read_bytes(),
        }
    with at_named_path():
        to.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (to / name).write_bytes(content)
    if as_json:
        print_json({"folder": to, "files": sorted(files)})
        return
    say(f"Written to {to}: {', '.join(sorted(files))}.")
    say("Whoever checks it must have vault.key from somebody they trust, not from this folder alone.")


@certificate_app.command()
@described
def verify(
    *,
    certificate: Annotated[Path, typer.Argument(metavar="FILE", help="certificate.json")],
    key: Annotated[Path, typer.Option("--key", help="The vault's public key, from somebody you trust.")],
    ledger: Annotated[Path | None, typer.Option("--ledger", help="The part of the ledger that belongs to it.")] = None,
) -> None:
    """Check a certificate offline and say VALID or INVALID, and why. Needs no vault.

    It is the same program as verify_certificate.py of `certificate export`.
    """
    words = [str(certificate), "--key", str(key), *(["--ledger", str(ledger)] if ledger else [])]
    code = verify_certificate.main(words)
    if code == verify_certificate.UNREADABLE:
        raise CommandError(ExitCode.USAGE, "Name the files as they lie; the certificate was not looked at.")
    if code:
        raise CommandError(ExitCode.INCIDENT, "The certificate proves nothing as it is.")
