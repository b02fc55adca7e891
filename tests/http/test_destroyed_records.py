"""The face while records are destroyed: 410 for what is gone, and nothing that was acknowledged is lost."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from api.http.problems import problem_response
from tests.http.served import MIB, Site, assert_problem, document, eventually, pdf
from tests.people import frozen
from vault.catalogue.schema import nodes
from vault.certificates import issue_certificate
from vault.clocks.clock import SimulatedClock
from vault.destruction.carrying_out import carry_out
from vault.destruction.reclaim import reclaim
from vault.errors import SealedOffError
from vault.law.retention import Cause

START = datetime(2026, 1, 5, 15, tzinfo=UTC)
TWO_YEARS = timedelta(days=731)
CLERKS = 6


@dataclass
class Aging:
    """A site and its clock."""

    site: Site
    clock: SimulatedClock

    def advance(self, step: timedelta) -> None:
        """Move the clock, and wait for the node's next beat.

        A lease stands in the catalogue by the clock: until that beat the jump makes the node look dead, and a
        destruction would not wait for it.
        """
        self.clock.advance(step)
        query = sa.select(sa.func.count()).where(nodes.c.lease_until > self.clock.now())
        eventually(lambda: self.site.count(query) == 1)

    def destroy(self, cause: Cause) -> str:
        vault = self.site.vault
        done = carry_out(vault, frozen(vault, cause), lambda _: None)
        assert done.completed_at is not None
        return str(done.id)


@pytest.fixture
def aging(new_site: Callable[..., Site]) -> Aging:
    clock = SimulatedClock(START)
    return Aging(new_site(clock=clock), clock)


@pytest.mark.parametrize("reclaimed", [False, True])
def test_a_destroyed_record_is_gone_for_everybody(aging: Aging, reclaimed: bool) -> None:  # noqa: FBT001
    site = aging.site
    old = site.file()
    aging.advance(TWO_YEARS)
    young_content = pdf()
    young = site.file(young_content)
    assert site.read(f"/v1/records/{old}").status_code == 200
    destruction = aging.destroy(Cause.SWEEP)
    if reclaimed:
        reclaim(site.vault)
    before = site.counts()
    answers = [
        site.read(f"/v1/records/{old}"),
        site.read(document(old, "scan.pdf")),
        site.read(document(old, "never there.pdf")),
        site.put(old, pdf(), "new.pdf"),
        site.complete(old),
    ]
    for answer in answers:
        assert_problem(answer, 410, "destroyed")
        assert answer.json()["destruction_id"] == destruction
    assert site.counts() == before
    assert site.fetch(young) == young_content


def test_the_key_of_a_destroyed_record_opens_no_second_one(aging: Aging) -> None:
    site = aging.site
    body = {"applicant": {"given_name": "A", "family_name": "B"}}
    record = str(site.post("once", body).json()["record_id"])
    site.put(record, pdf())
    site.complete(record)
    aging.destroy(Cause.SCRUB)
    before = site.counts()
    assert_problem(site.post("once", body), 410, "destroyed")
    assert site.counts() == before


def test_an_upload_into_a_record_that_was_given_up_is_cut_off(aging: Aging) -> None:
    site = aging.site
    record = site.open()
    content = pdf(9 * MIB)
    before = site.counts()
    with site.wire() as wire:
        wire.send(site.put_head(record, Content_Length=str(len(content))))
        wire.send(content[: 8 * MIB])
        eventually(lambda: site.counts().unfinished == 1)
        aging.advance(timedelta(hours=73))
        destruction = aging.destroy(Cause.SWEEP)
        assert record not in site.vault.uses.records()
        wire.send(content[8 * MIB :])
        status, _, body = wire.answer()
    assert status == 410
    assert destruction.encode() in body
    site.until_quiet()
    assert site.counts() == before


def test_a_read_under_way_ends_with_the_record(aging: Aging) -> None:
    site = aging.site
    content = pdf(24 * MIB)
    record = site.file(content)
    with site.wire() as wire:
        wire.send(site.get_head(document(record, "scan.pdf"), Connection="close"))
        start = wire.socket.recv(1000)
        assert start.startswith(b"HTTP/1.1 200 ")
        aging.destroy(Cause.SCRUB)
        assert record not in site.vault.uses.records()
        _, _, body = (start + wire.read_to_end()).partition(b"\r\n\r\n")
    assert len(body) < len(content)
    assert content.startswith(body)
    assert_problem(site.read(document(record, "scan.pdf")), 410, "destroyed")


@dataclass
class Clerk:
    """Files one record after another, and keeps what was acknowledged."""

    site: Site
    stop: threading.Event
    documents: dict[tuple[str, str], bytes] = field(default_factory=dict)
    completed: set[str] = field(default_factory=set)
    statuses: set[int] = field(default_factory=set)

    def work(self) -> None:
        while not self.stop.is_set():
            opened = self.site.post()
            self.statuses.add(opened.status_code)
            if opened.status_code != 201:
                continue
            record = str(opened.json()["record_id"])
            for number, size in enumerate((900, 120_000)):
                content = pdf(size)
                answer = self.site.put(record, content, f"{number}.pdf")
                self.statuses.add(answer.status_code)
                if answer.status_code == 201:
                    self.documents[record, f"{number}.pdf"] = content
            answer = self.site.complete(record)
            self.statuses.add(answer.status_code)
            if answer.status_code == 200:
                self.completed.add(record)

    @staticmethod
    def at_work(site: Site, meanwhile: Callable[[], None]) -> "list[Clerk]":
        stop = threading.Event()
        clerks = [Clerk(site, stop) for _ in range(CLERKS)]
        with ThreadPoolExecutor(CLERKS) as threads:
            try:
                working = [threads.submit(clerk.work) for clerk in clerks]
                eventually(lambda: all(clerk.completed for clerk in clerks))
                meanwhile()
                so_far = [len(clerk.completed) for clerk in clerks]
                eventually(lambda: all(len(c.completed) > n for c, n in zip(clerks, so_far, strict=True)))
            finally:
                stop.set()
            for done in working:
                done.result()
        return clerks


def test_sweeps_lose_nothing_that_is_being_filed(aging: Aging) -> None:
    """Each sweep takes what has come due, under constant filing; all that is filed meanwhile stays."""
    site = aging.site
    old = []
    for _ in range(4):
        old.append([site.file() for _ in range(3)])
        aging.advance(timedelta(hours=24))
    aging.advance(TWO_YEARS - timedelta(days=4))
    destructions: list[str] = []

    def sweep_daily() -> None:
        for _ in range(4):
            destructions.append(aging.destroy(Cause.SWEEP))
            aging.advance(timedelta(hours=15))

    clerks = Clerk.at_work(site, sweep_daily)
    assert len(set(destructions)) == 4
    for record in [record for day in old[:2] for record in day]:
        assert_problem(site.read(f"/v1/records/{record}"), 410, "destroyed")
    for clerk in clerks:
        assert clerk.statuses <= {200, 201, 503}
        for (record, name), content in clerk.documents.items():
            assert site.fetch(record, name) == content
        for record in clerk.completed:
            assert site.read(f"/v1/records/{record}").json()["state"] == "retained"


def test_scrubs_take_all_or_nothing_of_what_is_being_filed(aging: Aging) -> None:
    site = aging.site
    destructions: set[str] = set()

    def scrub() -> None:
        for _ in range(4):
            destructions.add(aging.destroy(Cause.SCRUB))

    clerks = Clerk.at_work(site, scrub)
    living = 0
    for clerk in clerks:
        assert clerk.statuses <= {200, 201, 410, 503}
        for (record, name), content in clerk.documents.items():
            answer = site.read(document(record, name))
            if answer.status_code == 410:
                assert answer.json()["destruction_id"] in destructions
            else:
                assert answer.content == content
                living += 1
    # What was filed after the last list was frozen is there.
    assert living >= CLERKS


def test_what_a_sunset_has_left_is_423(site: Site) -> None:
    """S7."""
    answer = problem_response(SealedOffError(), request_id="0", method="GET")
    assert (answer.status_code, json.loads(bytes(answer.body))["type"]) == (423, "urn:shredvault:problem:sealed-off")
    paths = site.client.get("/openapi.json").json()["paths"]
    reading = [paths["/v1/records/{record_id}"], paths["/v1/records/{record_id}/documents/{name}"]]
    assert all("423" in path["get"]["responses"] for path in reading)


def test_a_certificate_is_answered_byte_for_byte(aging: Aging) -> None:
    site = aging.site
    site.file()
    aging.advance(TWO_YEARS)
    destruction = aging.destroy(Cause.SWEEP)
    assert_problem(site.read(f"/v1/certificates/{destruction}"), 404, "not-found")
    issued = issue_certificate(site.vault, destruction)
    answer = site.read(f"/v1/certificates/{destruction}")
    assert answer.status_code == 200
    assert answer.content == issued.document
    assert_problem(site.client.get(f"/v1/certificates/{destruction}"), 401, "token-missing")
