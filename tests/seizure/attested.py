"""What the vault attests, and whether it is true (W4): certificates of what died, and one history of all that happened.

Everything is judged from what was recorded: a certificate by the program that anybody has, the ledger by a reader that
shares nothing with the product but the specification. The adversary has the key that signs, too: so a signature proves
nothing here that another recorded state contradicts.
"""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import sqlalchemy as sa

from tests.independent.ledger import History, read_history
from tests.independent.seal import UnreadableError
from vault.catalogue.destructions import list_destructions, load
from vault.catalogue.schema import record_states
from vault.certificates import Certificate, extract_ledger, list_certificates, render
from vault.certificates.verify_certificate import InvalidError, verify
from vault.context import Vault
from vault.ids import RecordId
from vault.log.stored import entries, size_of
from vault.receipts.answers import Receipts, receipt_facts
from vault.receipts.list_proofs import ListTrees
from vault.records.receipt_codes import code_of

if TYPE_CHECKING:
    from tests.seizure.judges import Seizure
    from tests.seizure.spoils import Spoils

OF_RECORDS = ("sweep", "scrub", "destroy", "sunset")
RECEIPTS = 4
"""Of so many destroyed and so many living records the answer to their receipts is recorded."""
WON = "That nobody copied both the data and the old master key before this destruction was complete."
"""With such copies the adversary wins (the positive control); so every certificate has to say it."""
NO_CLAIM = "none claimed: the custodian is software, and promises nothing about old disk blocks"


def papers_of(vault: Vault, *, printed: bool) -> Iterator[tuple[str, bytes]]:
    """Everything that a vault gives to whoever asks about its destructions, by name; on paper too where asked for."""
    with vault.catalogue.read() as tx:
        issued = list_certificates(tx)
    for one in issued:
        yield f"{one.id}/certificate.json", one.document
        yield f"{one.id}/ledger.json", extract_ledger(vault, one.id)
        if printed and one is issued[-1]:
            yield f"{one.id}/certificate.pdf", render(one.content, {"key": "-", "value": "-"})
    receipts = Receipts(vault)
    for record in _some_ids(vault):
        yield f"receipts/{code_of(record)}", repr(receipt_facts(receipts.answer(code_of(record)))).encode()


def _some_ids(vault: Vault) -> Iterator[RecordId]:
    with vault.catalogue.read() as tx:
        for dead in (record_states.c.destruction_id.is_not(None), record_states.c.destruction_id.is_(None)):
            yield from tx.execute(sa.select(record_states.c.id).where(dead).limit(RECEIPTS)).scalars().all()


def by_papers(seizure: "Seizure", spoils: "Spoils") -> Iterator[str]:
    """W4: what is complete is certified; certificates verify, and none of a record that was opened; they claim no more.

    A destruction that a rebuild took over has none: what was observed of it is lost with the catalogue.
    """
    vault = seizure.world.vault
    with vault.catalogue.read() as tx:
        done = [one for one in list_destructions(tx) if one.completed_at and one.kind in OF_RECORDS]
        issued = {one.id: one for one in list_certificates(tx)}
        rows = tx.execute(sa.select(record_states.c.id, record_states.c.destruction_id)).all()
    for one in done:
        if one.id not in issued and "old_master" in one.observed:
            yield f"the complete {one.kind} {one.id} has no certificate"
    certificates = {str(row.id): issued.get(row.destruction_id) for row in rows}
    for certificate in issued.values():
        yield from _wrong_in(certificate, vault, seizure.stage.real.assurance.kind)
    trees = ListTrees()
    with vault.catalogue.read() as tx:
        lists = {name: trees.get(vault, tx, load(tx, name)) for name in issued}
    roots = {name: bytes.fromhex(one.content["list_root"]) for name, one in issued.items()}
    for record in seizure.workload.destroyed:
        certified = certificates.get(record.id)
        if certified is None:
            continue
        tree = lists[certified.id]
        if tree is None or tree.prove(record.id, roots[certified.id]) is None:
            yield f"the destroyed record {record.id} is not on the list that its certificate names"
        if record.id in spoils.opened or record.id in spoils.documents:
            yield f"certificate {certified.id} verifies, and its record {record.id} was opened"


def _wrong_in(certificate: Certificate, vault: Vault, kind: str) -> Iterator[str]:
    content, key = certificate.content, f"{vault.signing.verifier}\n".encode()
    try:
        verify(certificate.document, key, extract_ledger(vault, certificate.id))
    except InvalidError as wrong:
        yield f"certificate {certificate.id} is not valid: {wrong}"
    if WON not in content["cannot_prove"]:
        yield f"certificate {certificate.id} does not say what copies of the old master undo"
    if content["counts"]["destroyed"]:
        if content["keys"]["assurance"]["kind"] != kind:
            yield f"certificate {certificate.id} says another assurance than the custodian gives"
        claims_nothing = content["sanitization"]["sanitization_method"] == NO_CLAIM
        if claims_nothing is not (kind == "software"):
            yield f"certificate {certificate.id} claims what a {kind} custodian cannot give"


def by_history(seizure: "Seizure", _: "Spoils") -> Iterator[str]:
    """W4: every state of the ledger ever recorded, the journal, and every signed checkpoint are one history."""
    objects: dict[str, bytes] = {}
    for entry, content in seizure.recorder.recording.every("bucket"):
        kind, where = entry.split(" ", 1)
        name = where.partition("@")[0]
        if kind == "object" and name.startswith("ledger/") and objects.setdefault(name, content) != content:
            yield f"there were two of {name}: two histories"
    vault = seizure.world.vault
    if gone := set(objects) - {version.name for version in vault.bucket.versions("ledger/")}:
        yield f"{len(gone)} objects of the ledger are gone"
    try:
        history = read_history(objects, seizure.vault_id)
    except UnreadableError:
        yield "the recorded ledger is no whole history"
        return
    yield from _wrong_in_journal(vault, history)
    keys = {str(vault.signing.verifier)}
    notes = [*history.notes, *_notes_on_papers(seizure.recorder.recording.newest("papers"))]
    for note in notes:
        try:
            history.require(note, keys)
        except UnreadableError:
            yield "a signed checkpoint is not of this history"


def _wrong_in_journal(vault: Vault, history: History) -> Iterator[str]:
    with vault.catalogue.read() as tx:
        journal = entries(tx, 0, size_of(tx))
    ours = [
        {
            "id": one.id,
            "at": one.at.isoformat(),
            "event": one.event,
            "subject": one.subject,
            "facts": one.facts,
            "salt": one.salt.hex(),
        }
        for one in journal
    ]
    if ours[: len(history.entries)] != history.entries:
        yield "the journal of the catalogue is not what the ledger says"
    if any(one["event"] == "completed" for one in ours[len(history.entries) :]):
        yield "a destruction is complete of which the ledger does not know"


def _notes_on_papers(papers: Iterator[tuple[str, bytes]]) -> Iterator[str]:
    for name, content in papers:
        if name.endswith("certificate.json"):
            yield str(json.loads(content)["certificate"]["ledger"]["checkpoint"])
        elif name.endswith("ledger.json"):
            yield str(json.loads(content)["checkpoint"])
