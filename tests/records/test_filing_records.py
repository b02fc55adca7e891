"""Opening and completing records: repetition, ownership, cohorts."""

import threading
from datetime import date

import pytest

from keystore import COHORT_SLOTS
from tests.vault.world import World
from vault.access import Caller, ForbiddenError, Role, authenticate, create_token
from vault.errors import DestroyedError, IdempotencyConflictError, NotFoundError, RecordIncompleteError
from vault.ids import is_id, new_id
from vault.records.filing import Opened, complete_record, open_record, own_record
from vault.records.manifests import manifest_name
from vault.trees import keyring
from vault.trees.keyring import record_key


def ask(world: World, key: str = "k", body: bytes = b"{}", caller: Caller | None = None) -> Opened:
    return open_record(world.vault, caller or world.center, idempotency_key=key, applicant={"name": "A"}, body=body)


def count(world: World) -> int:
    return int(world.value("SELECT COUNT(*) FROM records"))


def test_a_repetition_gets_the_same_record_and_receipt(world: World) -> None:
    first = ask(world)
    again = ask(world)
    assert is_id(first.record_id)
    assert (again.record_id, again.receipt) == (first.record_id, first.receipt)
    assert (first.repeated, again.repeated) == (False, True)
    assert len(first.receipt) == 35
    assert count(world) == 1


def test_the_same_key_with_another_body_is_refused(quick_world: World) -> None:
    ask(quick_world)
    with pytest.raises(IdempotencyConflictError):
        ask(quick_world, body=b"{ }")
    assert count(quick_world) == 1


def test_another_center_may_use_the_same_key(quick_world: World) -> None:
    other = authenticate(quick_world.vault, create_token(quick_world.vault, Role.CENTER, "two"))
    assert ask(quick_world).record_id != ask(quick_world, caller=other).record_id
    assert count(quick_world) == 2


def test_after_destruction_the_key_answers_destroyed(quick_world: World) -> None:
    opened = ask(quick_world)
    quick_world.advance(hours=80)
    done = quick_world.sweep()
    with pytest.raises(DestroyedError) as failure:
        ask(quick_world)
    assert failure.value.destruction_id == done.id
    with pytest.raises(DestroyedError):
        complete_record(quick_world.vault, quick_world.center, opened.record_id)
    assert count(quick_world) == 1


def test_a_repetition_that_a_sweep_overtakes_answers_destroyed(
    quick_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(quick_world)
    quick_world.advance(hours=80)
    honest = record_key

    def late(*args: object) -> object:
        monkeypatch.undo()
        quick_world.sweep()
        return honest(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(keyring, "record_key", late)
    with pytest.raises(DestroyedError):
        ask(quick_world)


def test_reviewers_cannot_file_and_centers_see_only_their_own(quick_world: World) -> None:
    record = quick_world.file()
    other = authenticate(quick_world.vault, create_token(quick_world.vault, Role.CENTER, "two"))
    with pytest.raises(ForbiddenError):
        ask(quick_world, caller=quick_world.reviewer)
    with pytest.raises(NotFoundError) as of_another:
        complete_record(quick_world.vault, other, record.id)
    with pytest.raises(NotFoundError) as of_nobody:
        complete_record(quick_world.vault, other, new_id())
    assert str(of_another.value) == str(of_nobody.value), "the answer tells whether the record exists"
    with pytest.raises(ForbiddenError):
        complete_record(quick_world.vault, quick_world.reviewer, record.id)
    for odd in ("", "x", "../" + record.id, record.id.upper()):
        with pytest.raises(NotFoundError):
            complete_record(quick_world.vault, quick_world.center, odd)
    assert count(quick_world) == 1


def test_another_center_is_not_told_that_a_record_was_destroyed(quick_world: World) -> None:
    record = quick_world.file()
    other = authenticate(quick_world.vault, create_token(quick_world.vault, Role.CENTER, "two"))
    quick_world.advance(days=800)
    quick_world.sweep()
    with quick_world.vault.catalogue.read() as tx:
        with pytest.raises(NotFoundError):
            own_record(tx, other, record.id)
        with pytest.raises(DestroyedError):
            own_record(tx, quick_world.center, record.id)


def test_threads_with_one_key_open_one_record(quick_world: World) -> None:
    answers: list[Opened] = []
    together = threading.Barrier(12)

    def run() -> None:
        together.wait()
        answers.append(ask(quick_world))

    threads = [threading.Thread(target=run) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 12
    assert len({(opened.record_id, opened.receipt) for opened in answers}) == 1
    assert [opened.repeated for opened in answers].count(False) == 1
    assert count(quick_world) == 1
    assert quick_world.value("SELECT COUNT(*) FROM cohorts") == 1
    # Of those who came too late to open the cohort nobody made a version of the tree for nothing.
    assert quick_world.value("SELECT COUNT(*) FROM roots WHERE tree = 'active'") == 2


def test_threads_with_many_keys_get_a_slot_each(quick_world: World) -> None:
    together = threading.Barrier(6)

    def run(number: int) -> None:
        together.wait()
        for turn in range(4):
            ask(quick_world, f"{number}-{turn}")

    threads = [threading.Thread(target=run, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert quick_world.value("SELECT COUNT(DISTINCT slot) FROM records") == count(quick_world) == 24
    assert quick_world.value("SELECT COUNT(*) FROM cohorts") == 1


def test_the_clock_starts_at_completion_on_the_civil_date(quick_world: World) -> None:
    record = quick_world.open()
    quick_world.upload(record)
    quick_world.advance(hours=13.9)  # 2026-01-05 23:54 in New York, the 6th in UTC
    completed = complete_record(quick_world.vault, quick_world.center, record.id)
    assert completed.due_on == date(2028, 1, 6)
    quick_world.advance(days=1)
    again = complete_record(quick_world.vault, quick_world.center, record.id)
    assert again == completed
    assert quick_world.vault.bucket.size(manifest_name(record.id)) > 0


def test_a_record_without_documents_is_not_completed(quick_world: World) -> None:
    record = quick_world.open()
    with pytest.raises(RecordIncompleteError):
        quick_world.complete(record)
    assert quick_world.value("SELECT completed_at FROM records") is None
    quick_world.upload(record)
    quick_world.complete(record)


def test_a_document_that_arrives_during_completion_is_in_the_manifest(
    quick_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = quick_world.open()
    quick_world.upload(record, "a")
    honest = quick_world.vault.bucket.put
    manifests: list[bytes] = []

    def put(name: str, body: bytes) -> None:
        if name.startswith("records/"):
            manifests.append(body)
            if len(manifests) == 1:
                quick_world.upload(record, "b")
        honest(name, body)

    monkeypatch.setattr(quick_world.vault.bucket, "put", put)
    completed = complete_record(quick_world.vault, quick_world.center, record.id)
    assert completed.documents == 2
    assert manifests[-1].count(b"documents/") == 2
    quick_world.assert_readable(record)


def test_a_full_cohort_is_followed_by_another(quick_world: World) -> None:
    first = quick_world.file()
    quick_world.run(f"UPDATE cohorts SET next_slot = {COHORT_SLOTS - 1}")
    last, next_one = quick_world.file(), quick_world.file()
    assert [quick_world.place(r) for r in (first, last, next_one)] == [(1, 1), (1, COHORT_SLOTS - 1), (2, 1)]
    quick_world.assert_readable(first, last, next_one)
    quick_world.advance(days=800)
    quick_world.sweep()
    quick_world.assert_destroyed(first, last, next_one)


def test_records_of_one_week_share_a_cohort_and_no_more(quick_world: World) -> None:
    places = []
    for _ in range(9):
        places.append(quick_world.place(quick_world.open())[0])
        quick_world.advance(days=1)
    assert places == [1] * 7 + [2] * 2


def test_a_cohort_closed_by_a_destruction_takes_no_more(quick_world: World) -> None:
    quick_world.file()
    quick_world.scrub()
    newer = quick_world.file()
    assert quick_world.place(newer)[0] == 2
    quick_world.assert_readable(newer)


def test_ids_and_receipts_are_random(quick_world: World) -> None:
    opened = [ask(quick_world, str(n)) for n in range(30)]
    assert len({o.record_id for o in opened}) == len({o.receipt for o in opened}) == 30
    assert len({o.record_id[:3] for o in opened}) > 20
