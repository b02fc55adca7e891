"""The certificate on paper: a tagged PDF for a records officer to sign and a judge to read.

It repeats the signed JSON and adds nothing; whoever doubts it checks that. Plain HTML goes through WeasyPrint, with
fonts of the system and nothing fetched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from html import escape
from math import ceil
from typing import Any, Final
from zoneinfo import ZoneInfo

from .facts import REHEARSAL

__all__ = ["render"]

_KINDS: Final = {
    "sweep": "Destruction of records whose retention had ended",
    "scrub": "Destruction of all records that were not held, on an order",
    "destroy": "Destruction of named records, on an order",
    "sunset": "Destruction at the end of the program",
}
_RECLAIMED: Final = {"done": "deleted", "partly": "deleted but for what is locked", "not yet": "not deleted yet"}
_PLACES: Final = ("Name", "Title", "Signature", "Place and date")
_STYLE: Final = """
@page { size: letter; margin: 22mm 20mm 24mm 24mm;
  @bottom-left { content: "Certificate " string(id); font: 7.5pt "DejaVu Sans Mono", monospace; color: #444 }
  @bottom-right { content: "Page " counter(page) " of " counter(pages); font: 8pt "DejaVu Serif", serif; color: #444 } }
html { font: 9.5pt/1.42 "DejaVu Serif", serif; color: #111 }
.id { string-set: id content() }
header { border-bottom: 1.6pt solid #111; padding-bottom: 7pt; margin-bottom: 11pt }
header p { margin: 0 }
.program { font-variant: small-caps; letter-spacing: .06em; font-size: 10.5pt }
h1 { font-size: 19pt; font-weight: normal; margin: 3pt 0 3pt; line-height: 1.2 }
h2 { font-size: 11pt; margin: 13pt 0 4pt; padding-bottom: 2pt; border-bottom: .5pt solid #888; break-after: avoid }
.statement { font-size: 11pt; margin: 0 0 4pt }
table { width: 100%; border-collapse: collapse }
th { width: 30%; text-align: left; font-weight: normal; color: #444; vertical-align: top; padding: 1.6pt 8pt 1.6pt 0 }
td { vertical-align: top; padding: 1.6pt 0; overflow-wrap: anywhere }
tr { break-inside: avoid }
code { font: 7.8pt/1.35 "DejaVu Sans Mono", monospace; overflow-wrap: anywhere }
ul { margin: 0; padding-left: 13pt } li { margin: 1.5pt 0 }
.boxed { border: .8pt solid #111; padding: 2pt 9pt 8pt; margin-top: 11pt; break-inside: avoid } .boxed h2 { border: 0 }
.boxed h2 { margin: 6pt 0 2pt }
.signing { break-inside: avoid } .signing td { border-bottom: .6pt solid #111; height: 25pt }
.signing th { vertical-align: bottom }
section:last-of-type { break-inside: avoid }
.rehearsal { position: fixed; top: 82mm; left: -18mm; width: 210mm; text-align: center; transform: rotate(-38deg);
  font: bold 78pt "DejaVu Sans", sans-serif; color: rgba(190, 0, 0, .26); letter-spacing: .04em }
.warning { border: 1.4pt solid #b00000; color: #b00000; padding: 5pt 8pt; font-weight: bold; margin: 0 0 10pt }
"""


def render(content: Mapping[str, Any], signature: Mapping[str, str]) -> bytes:
    """The certificate as PDF.

    Args:
        content: what the certificate says, the member `certificate` of its document.
        signature: the vault's signature, its member `signature`.
    """
    # It takes a second to import, and whoever does not print does not wait for it.
    from weasyprint import HTML  # noqa: PLC0415

    pdf = HTML(string=_page(content, signature)).write_pdf(pdf_tags=True)
    assert isinstance(pdf, bytes)
    return pdf


def _page(content: Mapping[str, Any], signature: Mapping[str, str]) -> str:
    rehearsal = content["format"] == REHEARSAL
    title = f"{'REHEARSAL: ' if rehearsal else ''}Certificate of Destruction"
    parts = [
        '<div class="rehearsal">REHEARSAL</div>' if rehearsal else "",
        (
            f'<header><p class="program">{escape(content["program"]["name"])}</p><h1>{title}</h1>'
            f"<p>{escape(_KINDS[content['kind']])}</p>"
            f'<p>Certificate <code class="id">{escape(content["id"])}</code></p></header>'
        ),
        '<p class="warning">This is the paper of a rehearsal on made-up data. It certifies nothing.</p>'
        if rehearsal
        else "",
        f'<p class="statement">{escape(_statement(content))}</p>',
        _section("Authority", _authority(content)),
        _section("Records", _records(content)),
        _section("How it was done, and what was observed", _method(content)),
        _boxed("What was not destroyed", content["not_destroyed"]),
        _boxed("What this certificate cannot prove", content["cannot_prove"]),
        _signing(),
        _section("Identification", _identification(content, signature)),
    ]
    head = f"<head><meta charset='utf-8'><title>{title} {escape(content['id'])}</title><style>{_STYLE}</style></head>"
    return f'<!doctype html><html lang="en">{head}<body>{"".join(parts)}</body></html>'


def _statement(content: Mapping[str, Any]) -> str:
    counts, at = content["counts"], _when(content, content["times"]["completed_at"])
    if not counts["listed"]:
        return f"No record was to be destroyed on {at}. The list was empty, no key was destroyed, and nothing was lost."
    failed = (
        f" Of {_many(counts['failed'], 'record')} on the list the key was missing: they are not certified as destroyed."
        if counts["failed"]
        else ""
    )
    if not counts["destroyed"]:
        withdrawn = f"{counts['withdrawn']} of them were withdrawn" if failed else "all were withdrawn"
        return f"Of {counts['listed']} records on the list, none was destroyed: {withdrawn} before {at}.{failed}"
    return (
        f"On {at} the destruction of {_many(counts['destroyed'], 'record')} was complete. The master key under which "
        "they were sealed was destroyed; all records that remain had been carried over to a new one. No copy of the "
        f"sealed records, wherever it is, can be opened with any key that the vault still has.{failed}"
    )


def _authority(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    authority = content["authority"]
    rows = [
        ("Done under", escape(authority["text"])),
        ("Policy", f"version {authority['policy_version']}<br><code>SHA-256 {authority['policy_sha256']}</code>"),
    ]
    if authority["order"] is not None:
        rows.append(("Order", f"<code>{escape(authority['order'])}</code>"))
    for approver in authority["approvers"]:
        roles = escape(", ".join(approver["roles"]))
        rows.append(("Approved by", f"{escape(approver['person'])}, {roles}<br><code>{escape(approver['key'])}</code>"))
    return rows


def _records(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    counts, dates = content["counts"], content["dates"]
    rows = [
        ("On the list", str(counts["listed"])),
        ("Destroyed", f"<strong>{counts['destroyed']}</strong>"),
        ("Withdrawn from the list", str(counts["withdrawn"])),
        ("Held, and not listed", str(counts["held_out"])),
        ("Pending", str(counts["pending"])),
        ("Failed: their keys were missing", str(counts["failed"])),
    ]
    if dates is None:
        rows.append(("Dates", "not told: there were fewer than 10 records"))
    else:
        rows += [(name, _range(dates[member])) for name, member in (("Filed", "filed"), ("Due from", "due"))]
        overdue = content["overdue_days"]
        rows.append(("Longest overdue", "none was complete" if overdue is None else _many(overdue, "day")))
    deadline = content["deadline"]
    if deadline is not None:
        verdict = "met" if deadline["met"] else "MISSED"
        rows.append(
            (
                "Deadline",
                f"{escape(deadline['what'])}: {_day(deadline['last_day'])}, {verdict}. {escape(deadline['why'])}",
            )
        )
    return rows


def _method(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    sanitization, times, keys, seen = (content[name] for name in ("sanitization", "times", "keys", "verification"))
    rows = [
        ("Technique", escape(sanitization["sanitization_technique"])),
        ("Method (NIST SP 800-88)", escape(sanitization["sanitization_method"])),
        ("Begun · complete", f"{_when(content, times['started_at'])} · {_when(content, times['completed_at'])}"),
        ("Time taken from", escape(_clocks(times))),
    ]
    if keys is not None:
        assurance = keys["assurance"]
        cancel = "It could be cancelled." if assurance["can_be_cancelled"] else "It cannot be cancelled."
        processes = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in seen["processes"].items())
        rows += [
            ("Destroyed master key", f"<code>{escape(keys['old_master'])}</code>, epoch {keys['old_epoch']}"),
            ("New master key", f"<code>{escape(keys['new_master'])}</code>, epoch {keys['new_epoch']}"),
            ("Custodian", f"<code>{escape(keys['custodian'])}</code>"),
            (
                "The custodian's word",
                (
                    f"{escape(assurance['kind'])}. Takes effect: {escape(assurance['takes_effect'])}. {cancel} "
                    f"Copies: {escape(assurance['copies'])}"
                ),
            ),
            (
                "Seen afterwards",
                (
                    f"The custodian says the key is {escape(seen['state_read_back'])}; it refused to use it "
                    f"{_many(seen['refused_uses'], 'time')} in a row."
                ),
            ),
            ("Processes of the vault", f"that let go of the old keys: {escape(processes)}"),
        ]
    rows.append(
        (
            "Sealed remains",
            f"{_RECLAIMED[content['reclaim']['state']]} when this was issued. {escape(content['reclaim']['note'])}",
        )
    )
    return rows


def _clocks(times: Mapping[str, Any]) -> str:
    """What was compared at the moment of condemning, and how far apart it was."""
    sources = ", ".join(times["sources"])
    read = [datetime.fromisoformat(at) for at in times["readings"].values()]
    if len(read) < 2:  # noqa: PLR2004  # nothing to compare
        return sources
    return f"{sources}; they agreed within {_many(max(1, ceil((max(read) - min(read)).total_seconds())), 'second')}"


def _identification(content: Mapping[str, Any], signature: Mapping[str, str]) -> list[tuple[str, str]]:
    entries = ", ".join(f"{entry['id']} ({entry['event']})" for entry in content["ledger"]["entries"])
    return [
        ("Vault", f"<code>{content['program']['vault']}</code>"),
        ("List of records", f"<code>Merkle root {content['list_root']}</code>"),
        ("Entries of the ledger", escape(entries)),
        ("Software", escape(content["sanitization"]["tool_used"])),
        ("Issued", _when(content, content["times"]["issued_at"])),
        ("Signed with", f"<code>{escape(signature['key'])}</code>"),
        ("Signature (Ed25519)", f"<code>{escape(signature['value'])}</code>"),
        ("To check it", "<code>verify_certificate.py certificate.json --key vault.key --ledger ledger.json</code>"),
    ]


def _section(title: str, rows: Iterable[tuple[str, str]]) -> str:
    lines = "".join(f'<tr><th scope="row">{name}</th><td>{text}</td></tr>' for name, text in rows)
    return f"<section><h2>{title}</h2><table>{lines}</table></section>"


def _boxed(title: str, sentences: Iterable[str]) -> str:
    lines = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f'<section class="boxed"><h2>{title}</h2><ul>{lines}</ul></section>'


def _signing() -> str:
    rows = "".join(f'<tr><th scope="row">{place}</th><td></td></tr>' for place in _PLACES)
    return f'<section class="signing"><h2>Records officer</h2><table>{rows}</table></section>'


def _when(content: Mapping[str, Any], instant: str) -> str:
    """An instant in the program's time zone, for people."""
    local = datetime.fromisoformat(instant).astimezone(ZoneInfo(content["program"]["time_zone"]))
    return f"{local:%B} {local.day}, {local:%Y, %H:%M:%S %Z}"


def _day(day: str) -> str:
    one = date.fromisoformat(day)
    return f"{one:%B} {one.day}, {one.year}"


def _range(days: Mapping[str, str] | None) -> str:
    return "none was complete" if days is None else f"{_day(days['first'])} to {_day(days['last'])}"


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
