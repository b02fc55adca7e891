"""When a service behind the vault fails: a clear refusal, nothing counts, and it works again afterwards."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx2
import pytest
import sqlalchemy as sa

from tests.http.served import MIB, Site, assert_problem, document, eventually, pdf
from tests.services.fault_proxy import Fault, FaultProxy


@pytest.fixture
def site(new_site: Callable[..., Site], proxy: FaultProxy) -> Site:
    """A vault whose way to its bucket can be broken."""
    return new_site(way=proxy.url)


@contextmanager
def refused(proxy: FaultProxy) -> Iterator[None]:
    proxy.refuse()
    try:
        yield
    finally:
        proxy.accept_again()


def assert_try_again(answer: httpx2.Response, status: int = 503) -> None:
    assert_problem(answer, status)
    assert int(answer.headers["retry-after"]) > 0


def test_without_the_bucket_nothing_is_filed(site: Site, proxy: FaultProxy) -> None:
    record = site.open()
    small, large = pdf(), pdf(9 * MIB)
    before = site.counts()
    with refused(proxy):
        assert_try_again(site.put(record, small))
        assert_try_again(site.put(record, large))
        assert site.counts() == before
    assert site.put(record, small).status_code == 201
    assert site.put(record, large, "large.pdf").status_code == 201
    assert site.fetch(record, "large.pdf") == large


def test_without_the_bucket_nothing_is_completed(site: Site, proxy: FaultProxy) -> None:
    record = site.open()
    site.put(record, pdf())
    with refused(proxy):
        assert_try_again(site.complete(record))
        assert site.value("SELECT completed_at FROM records WHERE id = :record", record=record) is None
    assert site.complete(record).status_code == 200


def test_records_are_opened_without_the_bucket(site: Site, proxy: FaultProxy) -> None:
    site.open()
    with refused(proxy):
        assert site.post().status_code == 201


@pytest.mark.parametrize("cut", [100_000, 8 * MIB, 15 * MIB])
def test_an_upload_during_which_the_bucket_goes_does_not_count(site: Site, proxy: FaultProxy, cut: int) -> None:
    content = pdf(20 * MIB)
    record = site.open()
    before = site.counts()
    proxy.set(Fault(cut_up_after=cut))
    assert_try_again(site.put(record, content))
    proxy.clear()
    after = site.counts()
    # Parts whose abortion could not be sent lie there unseen; `recover` aborts them.
    assert after._replace(unfinished=before.unfinished) == before
    assert after.unfinished <= before.unfinished + 1
    assert site.put(record, content).status_code == 201
    assert site.fetch(record) == content


def test_an_answer_during_which_the_bucket_goes_ends_early(site: Site, proxy: FaultProxy) -> None:
    content = pdf(8 * MIB)
    record = site.file(content)
    proxy.set(Fault(cut_down_after=3 * MIB))
    with site.wire() as wire:
        wire.send(site.get_head(document(record, "scan.pdf")))
        head, _, body = wire.read_to_end().partition(b"\r\n\r\n")
    proxy.clear()
    assert head.startswith(b"HTTP/1.1 200 ")
    assert 0 < len(body) < len(content)
    assert content.startswith(body)
    assert site.fetch(record) == content


def test_a_read_that_the_bucket_refuses_says_so(site: Site, proxy: FaultProxy) -> None:
    record = site.file()
    with refused(proxy):
        assert_try_again(site.read(document(record, "scan.pdf")))
        assert site.read(f"/v1/records/{record}").status_code == 200
    assert site.read(document(record, "scan.pdf")).status_code == 200


def test_a_read_is_on_record_before_its_first_byte(site: Site, proxy: FaultProxy) -> None:
    content = pdf()
    record = site.file(content)
    proxy.set(Fault(blackhole=True))
    with site.wire() as wire:
        wire.send(site.get_head(document(record, "scan.pdf")))
        eventually(lambda: len(site.reads_of(record)) == 1)
        wire.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            wire.socket.recv(1)
    proxy.clear()
    assert site.reads_of(record)[0].purpose == "application-review"


def test_readiness_follows_the_bucket(site: Site, proxy: FaultProxy) -> None:
    def ready() -> int:
        return site.client.get("/readyz").status_code

    assert ready() == 200
    with refused(proxy):
        eventually(lambda: ready() == 503)
        answer = site.client.get("/readyz")
        assert answer.headers["retry-after"]
        assert answer.json()["checks"]["bucket"] != "ok"
        assert answer.json()["checks"]["catalogue"] == answer.json()["checks"]["lease"] == "ok"
        assert site.client.get("/healthz").status_code == 200
    eventually(lambda: ready() == 200)


def test_a_full_disk_is_told(new_site: Callable[..., Site]) -> None:
    site = new_site()
    content = pdf()
    record = site.file(content)
    receiving = site.open()

    def limit(connection: object, _: object) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]  # type: ignore[attr-defined]
        connection.execute(f"PRAGMA max_page_count = {pages}").close()  # type: ignore[attr-defined]

    engine = site.vault.catalogue._database.readers
    sa.event.listen(engine, "connect", limit)
    engine.dispose()
    try:
        answers: list[httpx2.Response] = []
        while not answers or answers[-1].status_code == 201:
            before = site.counts()
            answers.append(site.post(body={"applicant": {"family_name": "B", "more": {"a": "x" * 500}}}))
            assert len(answers) < 100
        assert_try_again(answers[-1], 507)
        assert site.counts() == before
        puts: list[httpx2.Response] = []
        while not puts or puts[-1].status_code == 201:
            documents = site.counts().documents
            puts.append(site.put(receiving, pdf(), f"{len(puts)}.pdf"))
            assert len(puts) < 32
        assert_try_again(puts[-1], 507)
        assert site.counts().documents == documents
    finally:
        sa.event.remove(engine, "connect", limit)
        engine.dispose()
    assert site.post().status_code == 201
    assert site.put(receiving, pdf(), f"{len(puts)}.pdf").status_code == 201
    assert site.fetch(record) == content


def test_without_a_lease_nothing_is_served(new_site: Callable[..., Site]) -> None:
    site = new_site(lease=False)
    before = site.counts()
    assert_try_again(site.post())
    assert_try_again(site.put("0" * 26, pdf()))
    assert_try_again(site.read(f"/v1/records/{'0' * 26}"))
    assert site.counts() == before
    answer = site.client.get("/readyz")
    assert (answer.status_code, answer.json()["checks"]["catalogue"]) == (503, "ok")
    assert answer.json()["checks"]["lease"] != "ok"
    site.node.beat()
    assert site.post().status_code == 201
    eventually(lambda: site.client.get("/readyz").status_code == 200)


def test_without_the_custodian_nothing_is_served(new_site: Callable[..., Site]) -> None:
    site = new_site()
    record, content = site.open(), pdf()
    assert site.put(record, content).status_code == 201
    before = site.counts()
    keys, away = site.folder / "keys", site.folder / "keys-away"
    shutil.move(keys, away)
    try:
        for answer in (site.put(record, pdf(), "new.pdf"), site.post()):
            assert_problem(answer, 503)
        assert_problem(site.read(document(record, "scan.pdf")), 503)
    finally:
        shutil.move(away, keys)
    assert site.counts() == before._replace(reads=before.reads + 1)
    assert site.fetch(record) == content
