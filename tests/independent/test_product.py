"""The product seals, the independent reader opens: from the master files and the bucket's objects, and nothing else.

One vault lives through filing, a hold, a sweep, a scrub and the hold's release; after each the master files and the
objects are copied as a thief would. The reader then says what each set of copies still opens.
"""

import ast
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.independent.reader import (
    Manifest,
    Trees,
    open_document,
    open_record,
    parse_manifest,
    parse_pack,
    read_masters,
    receipt_code,
)
from tests.independent.seal import HEAD, PIECE, TAG, UnreadableError, merkle_root
from tests.people import founded_by
from tests.people import frozen as frozen_with_authority
from tests.services.object_stores import ACCESS_KEY, SECRET_KEY
from tests.vault.holding import place_hold, release_hold
from vault import access, holds
from vault.clocks.clock import SimulatedClock
from vault.destruction import carrying_out as destruction
from vault.destruction import reclaim
from vault.home import Founding, found_vault, open_vault
from vault.law.retention import Cause
from vault.records import filing, uploads
from vault.serving import fences

SPECIMENS = Path(__file__).parent.parent / "specimens"
BUCKET = "independent-reader"
Documents = dict[str, bytes]


@dataclass(frozen=True)
class Copies:
    """What somebody has copied: masters by name, objects by name."""

    masters: Mapping[str, bytes]
    objects: Mapping[str, bytes]

    def trees(self) -> Trees:
        packs = {name: data for name, data in self.objects.items() if name.startswith("keystore/")}
        return Trees(packs, self.masters)

    def manifests(self) -> list[Manifest]:
        names = [name for name in self.objects if name.startswith("records/")]
        return [parse_manifest(name, self.objects[name]) for name in names]

    def reach(self, *among: str) -> dict[str, Documents]:
        """Every record that opens, with every document in it."""
        trees, reached = self.trees(), {}
        for manifest in self.manifests():
            try:
                record = open_record(trees, manifest, among or ("active", "held"))
            except UnreadableError:
                continue
            documents = {}
            for entry in manifest.documents:
                documents[record.slip(entry).name] = record.document(entry, self.objects[entry.object])
            reached[manifest.record] = documents
        return reached


@dataclass
class Story:
    """What was filed, what died, and the copies that were made on the way."""

    filed: dict[str, Documents] = field(default_factory=dict)
    opened: dict[str, tuple[dict[str, Any], filing.Opened, filing.Completed]] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)
    copies: dict[str, Copies] = field(default_factory=dict)
    destructions: dict[str, tuple[Any, list[str]]] = field(default_factory=dict)

    def records(self, *names: str) -> list[str]:
        return [record for name in names for record in self.groups[name]]

    def of(self, *names: str) -> dict[str, Documents]:
        return {record: self.filed[record] for record in self.records(*names)}

    def everything(self, until: str) -> dict[str, bytes]:
        """Every object there ever was, up to a moment."""
        seen: dict[str, bytes] = {}
        for moment, copies in self.copies.items():
            seen |= copies.objects
            if moment == until:
                break
        return seen


@pytest.fixture(scope="module")
def story(seaweedfs: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    home = tmp_path_factory.mktemp("independent")
    keys, clock = home / "keys", SimulatedClock(datetime(2026, 1, 5, 15, tzinfo=UTC))
    secret = SECRET_KEY.get_secret_value()
    founding = founded_by(
        Founding(
            home=home / "home",
            objects=seaweedfs,
            objects_folder=home / "objects",
            bucket=BUCKET,
            region="us-east-1",
            custodian=f"file:{keys}",
            time_zone="America/New_York",
            retention_months=24,
            access_key=ACCESS_KEY,
            secret_key=SECRET_KEY,
        )
    )
    found_vault(founding, clock)
    s3 = boto3.client(
        "s3",
        endpoint_url=seaweedfs,
        region_name="us-east-1",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=secret,
    )

    def copy() -> Copies:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        names = [item["Key"] for page in pages for item in page.get("Contents", [])]
        return Copies(
            read_masters(keys), {name: s3.get_object(Bucket=BUCKET, Key=name)["Body"].read() for name in names}
        )

    with open_vault(home / "home", clock) as vault, fences.Node(vault):
        yield tell(vault, clock, copy)
    s3.close()


def tell(vault: Any, clock: SimulatedClock, copy: Callable[[], Copies]) -> Story:
    told = Story()
    caller = access.authenticate(vault, access.create_token(vault, access.Role.CENTER, "Queens"))
    scans = sorted(path for path in SPECIMENS.iterdir() if path.suffix in {".jpg", ".png", ".pdf", ".tiff"})
    cycle = [*scans, *scans, *scans]

    def file(group: str, count: int) -> None:
        for _ in range(count):
            number = len(told.filed)
            applicant = {"name": f"Zoë 美咲 {number}", "born": None, "of": [number]}
            opened = filing.open_record(
                vault, caller, idempotency_key=f"key {number}", applicant=applicant, body=b"%d" % number
            )
            documents = {f"№ {i} {path.name}": path.read_bytes() for i, path in enumerate(cycle[number : number + 3])}
            for name, data in documents.items():
                upload = uploads.begin_upload(
                    vault, caller, opened.record_id, name, declared_size=len(data), declared_type=None
                )
                for at in range(0, len(data), 1 << 16):
                    upload.add(data[at : at + (1 << 16)])
                    if upload.part_is_full:
                        upload.send_part()
                upload.finish()
            done = filing.complete_record(vault, caller, opened.record_id)
            told.filed[opened.record_id] = documents
            told.opened[opened.record_id] = (applicant, opened, done)
            told.groups.setdefault(group, []).append(opened.record_id)

    def destroy(name: str, cause: Cause, condemned: Sequence[str]) -> None:
        time.sleep(0.3)  # the node's heartbeat catches up with the simulated clock
        frozen = frozen_with_authority(vault, cause)
        told.destructions[name] = (destruction.carry_out(vault, frozen, lambda _: None), sorted(condemned))
        told.copies[name] = copy()

    file("due, held", 1)
    file("due", 2)
    clock.advance(timedelta(days=40))
    file("due, alone in a cohort", 2)
    clock.advance(timedelta(days=650))
    file("young, held", 1)
    file("young", 1)
    hold = place_hold(vault, told.records("due, held", "young, held"), "24-cv-1")
    holds.copy_held_keys(vault)
    told.copies["filed"] = copy()

    clock.advance(timedelta(days=85))
    destroy("sweep", Cause.SWEEP, told.records("due", "due, alone in a cohort"))
    reclaim.reclaim(vault)
    told.copies["reclaimed"] = copy()
    file("after the sweep", 1)
    told.copies["filed again"] = copy()
    destroy("scrub", Cause.SCRUB, told.records("young", "after the sweep"))
    released = release_hold(vault, hold.hold_id, "a test")
    told.destructions["release"] = (released, sorted(told.records("due, held", "young, held")))
    told.copies["release"] = copy()
    destroy("second sweep", Cause.SWEEP, told.records("due, held"))
    reclaim.reclaim(vault)
    told.copies["end"] = copy()
    return told


ALIVE = {
    "filed": ("due, held", "due", "due, alone in a cohort", "young, held", "young"),
    "sweep": ("due, held", "young, held", "young"),
    "reclaimed": ("due, held", "young, held", "young"),
    "filed again": ("due, held", "young, held", "young", "after the sweep"),
    "scrub": ("due, held", "young, held"),
    "release": ("due, held", "young, held"),
    "second sweep": ("young, held",),
    "end": ("young, held",),
}
HELD = dict.fromkeys(("filed", "sweep", "reclaimed", "filed again", "scrub"), ("due, held", "young, held"))


@pytest.mark.parametrize("moment", ALIVE)
def test_the_bucket_and_the_masters_give_back_every_living_document(story: Story, moment: str) -> None:
    assert story.copies[moment].reach() == story.of(*ALIVE[moment])
    assert story.copies[moment].reach("active") == story.of(*ALIVE[moment])


@pytest.mark.parametrize("moment", ALIVE)
def test_the_held_tree_alone_gives_back_what_is_held(story: Story, moment: str) -> None:
    assert story.copies[moment].reach("held") == story.of(*HELD.get(moment, ()))


@pytest.mark.parametrize("moment", ALIVE)
def test_all_that_was_ever_written_and_the_masters_that_live_reach_none_of_the_destroyed(
    story: Story, moment: str
) -> None:
    thief = Copies(story.copies[moment].masters, story.everything(moment))
    assert thief.reach() == story.of(*ALIVE[moment])
    assert thief.reach("held") == story.of(*HELD.get(moment, ()))


def test_control_old_masters_and_old_objects_reach_everything(story: Story) -> None:
    masters = {name: key for copies in story.copies.values() for name, key in copies.masters.items()}
    assert Copies(masters, story.everything("end")).reach() == story.filed
    old = Copies(story.copies["filed"].masters, story.everything("end"))
    assert old.reach("active") == story.of(*ALIVE["filed"])


def test_control_the_held_trees_old_master_reaches_what_was_held(story: Story) -> None:
    held = {name: key for name, key in story.copies["scrub"].masters.items() if name.startswith("held")}
    assert Copies(held, story.everything("end")).reach() == story.of(*HELD["scrub"])
    assert not set(held) & set(story.copies["release"].masters)


def test_a_young_cohorts_page_lies_in_a_pack_whose_master_is_dead(story: Story) -> None:
    now = story.copies["reclaimed"]
    packs = [parse_pack(name, data) for name, data in now.objects.items() if name.startswith("keystore/active/")]
    cohorts = {manifest.cohort for manifest in now.manifests() if manifest.record in story.groups["young"]}
    holding = [pack for pack in packs if cohorts & set(pack.pages)]
    assert holding
    assert all(pack.master not in now.masters for pack in holding)
    # So whoever throws away the packs of dead masters throws away living records.
    closed = {f"keystore/active/{pack.version:016x}": b"" for pack in packs if pack.master not in now.masters}
    lost = Copies(now.masters, {**now.objects, **closed}).reach("active")
    assert lost == story.of("due, held")


@pytest.mark.parametrize("kind", ["sweep", "scrub", "release", "second sweep"])
def test_the_frozen_lists_hash_is_that_of_the_records_that_died(story: Story, kind: str) -> None:
    record, listed = story.destructions[kind]
    assert (record.listed, record.condemned) == (len(listed), len(listed))
    assert record.list_root == merkle_root(listed)
    assert any(record.old_master in copies.masters for copies in story.copies.values())
    assert record.old_master not in story.copies[kind].masters
    assert record.new_master in story.copies[kind].masters


def test_sheets_and_dates(story: Story) -> None:
    copies = story.copies["filed"]
    for manifest in copies.manifests():
        applicant, opened, completed = story.opened[manifest.record]
        record = open_record(copies.trees(), manifest)
        assert record.sheet.applicant == applicant
        assert receipt_code(manifest.record) == opened.receipt
        assert (manifest.completed_at, manifest.due_on) == (completed.completed_at, completed.due_on)
        assert len(manifest.documents) == completed.documents


def test_nothing_in_the_bucket_is_there_in_clear(story: Story) -> None:
    everything = b"".join(story.everything("end").values())
    for documents in story.filed.values():
        for name, data in documents.items():
            assert name.encode() not in everything
            assert data[1000:1100] not in everything


def refuse(opening: Callable[..., object], *inputs: object) -> None:
    with pytest.raises(UnreadableError):
        opening(*inputs)


def test_documents_that_were_cut_changed_or_exchanged_are_refused(story: Story) -> None:
    copies = story.copies["filed"]
    one, two = (m for m in copies.manifests() if m.record in story.groups["due"])
    first, second = (open_record(copies.trees(), manifest) for manifest in (one, two))
    entry, other = one.documents[:2]
    body = copies.objects[entry.object]
    first.document(entry, body)
    starts = range(HEAD, len(body), PIECE + TAG)
    assert len(starts) > 2
    for at in starts:
        for size in {at - 1, at, at + 1, at + TAG} - {len(body)}:
            refuse(first.document, entry, body[:size])
    for at in {0, 23, 24, HEAD - 1, HEAD, *(start + off for start in starts[1:3] for off in (-1, 0)), len(body) - 1}:
        refuse(first.document, entry, body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :])
    refuse(first.document, entry, copies.objects[other.object])
    refuse(first.document, replace(entry, slip=other.slip), body)
    refuse(first.document, replace(entry, id=other.id), body)
    refuse(second.document, entry, body)
    refuse(open_document, first.key, first.vault, two.record, entry.id, body)
    refuse(open_record, copies.trees(), replace(one, sheet=two.sheet))
    refuse(open_record, copies.trees(), replace(one, slot=two.slot))
    refuse(open_record, copies.trees(), replace(one, cohort=two.cohort + 1))


def test_packs_that_were_exchanged_or_changed_open_nothing(story: Story) -> None:
    copies = story.copies["filed"]
    packs = {name: data for name, data in copies.objects.items() if name.startswith("keystore/")}
    active = {name: data for name, data in packs.items() if name.startswith("keystore/active/")}
    held = [data for name, data in packs.items() if name not in active]
    assert len(active) > 1

    def reach(changes: Mapping[str, bytes]) -> dict[str, Documents]:
        return Copies(copies.masters, {**copies.objects, **changes}).reach("active")

    rotated = [*list(active.values())[1:], next(iter(active.values()))]
    assert reach(dict(zip(active, rotated, strict=True))) == {}
    assert reach(dict.fromkeys(active, held[-1])) == {}
    for part in ("wrapped", "root_page"):
        changed = {}
        for name, data in active.items():
            blob = getattr(parse_pack(name, data), part)
            at = data.index(blob) + len(blob) - 1
            changed[name] = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        assert reach(changed) == {}
    for name, data in active.items():
        pages = parse_pack(name, data).pages
        lost = {manifest.record for manifest in copies.manifests() if manifest.cohort in pages}
        assert len(pages) <= 1
        assert set(reach({name: data[:-1] + bytes([data[-1] ^ 1])})) == set(story.records(*ALIVE["filed"])) - lost


def test_the_reader_shares_nothing_with_the_product() -> None:
    allowed = {"cryptography", "tests", *sys.stdlib_module_names}
    for name in ("reader", "seal", "crafting"):
        tree = ast.parse((Path(__file__).parent / f"{name}.py").read_text())
        imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        assert {str(module).split(".")[0] for module in imported} <= allowed
        assert {str(module) for module in imported if str(module).startswith("tests")} <= {"tests.independent.seal"}
