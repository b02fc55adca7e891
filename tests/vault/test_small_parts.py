"""The parts that are pure: due dates, types and sizes of documents, the Merkle root; and tokens."""

import calendar
import hashlib
import zlib
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vault.world import PNG_END, PNG_HEAD, World
from vault.access import (
    BadTokenError,
    ForbiddenError,
    MistypedTokenError,
    Role,
    authenticate,
    create_token,
    list_tokens,
    revoke_token,
)
from vault.clocks.clock import SimulatedClock, SystemClock, civil_date
from vault.errors import (
    BadDocumentError,
    DocumentTooLargeError,
    DocumentTruncatedError,
    EmptyDocumentError,
    NotFoundError,
    PolicyError,
    UnsupportedTypeError,
    VaultError,
)
from vault.ids import base32, is_id, new_id
from vault.law.plausible import last_completion
from vault.law.policy import Policy, due_on
from vault.log.merkle import tree_hash
from vault.records.documents import DOCUMENT_BYTES_MAX, Inspection, MediaType, padme
from vault.wording import number_of

# --- due dates ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("completed", "months", "due"),
    [
        ("2016-02-29", 24, "2018-03-01"),
        ("2016-02-28", 24, "2018-03-01"),
        ("2016-02-29", 48, "2020-03-01"),
        ("2016-02-28", 48, "2020-02-29"),
        ("2014-02-28", 24, "2016-02-29"),
        ("2015-12-31", 24, "2018-01-01"),
        ("2016-01-01", 24, "2018-01-02"),
        ("2026-01-31", 1, "2026-03-01"),
        ("2024-01-31", 1, "2024-03-01"),
        ("2026-08-31", 6, "2027-03-01"),
        ("2026-10-31", 1, "2026-12-01"),
        ("2026-12-15", 1, "2027-01-16"),
        ("2026-11-30", 120, "2036-12-01"),
        ("1999-12-31", 2, "2000-03-01"),
        ("2099-12-31", 2, "2100-03-01"),
    ],
)
def test_due_on(completed: str, months: int, due: str) -> None:
    assert due_on(date.fromisoformat(completed), months) == date.fromisoformat(due)


DATES = st.dates(date(2000, 1, 1), date(2150, 1, 1))
MONTHS = st.integers(1, 120)


@given(DATES, MONTHS)
def test_due_on_is_the_same_day_or_the_months_last_plus_one(completed: date, months: int) -> None:
    before = due_on(completed, months) - timedelta(days=1)
    assert (before.year * 12 + before.month) - (completed.year * 12 + completed.month) == months
    assert before.day == min(completed.day, calendar.monthrange(before.year, before.month)[1])


@given(DATES, MONTHS, st.integers(-70, 70))
def test_whoever_completed_by_the_last_completion_is_due_and_nobody_later(day: date, months: int, by: int) -> None:
    last = last_completion(day, months)
    completed = last + timedelta(days=by)
    assert (due_on(completed, months) <= day) is (by <= 0)


@given(DATES, DATES, MONTHS)
def test_who_completes_later_is_never_due_earlier(one: date, two: date, months: int) -> None:
    first, second = sorted((one, two))
    assert due_on(first, months) <= due_on(second, months)
    assert due_on(first, months) < due_on(first, months + 1)


@pytest.mark.parametrize(
    ("instant", "zone", "day"),
    [
        ("2017-01-01T04:59:59Z", "America/New_York", "2016-12-31"),
        ("2017-01-01T05:00:00Z", "America/New_York", "2017-01-01"),
        ("2026-07-01T03:59:59Z", "America/New_York", "2026-06-30"),
        ("2026-07-01T04:00:00Z", "America/New_York", "2026-07-01"),
        ("2026-03-08T06:59:59Z", "America/New_York", "2026-03-08"),
        ("2026-11-01T03:59:59Z", "America/New_York", "2026-10-31"),
        ("2026-11-02T04:59:59Z", "America/New_York", "2026-11-01"),
        ("2026-01-01T09:59:59Z", "Pacific/Kiritimati", "2026-01-01"),
        ("2026-01-01T10:00:00Z", "Pacific/Kiritimati", "2026-01-02"),
        ("2026-01-01T10:59:59Z", "Pacific/Pago_Pago", "2025-12-31"),
        ("2024-02-29T18:29:59Z", "Asia/Kolkata", "2024-02-29"),
        ("2024-02-29T18:30:00Z", "Asia/Kolkata", "2024-03-01"),
    ],
)
def test_civil_date(instant: str, zone: str, day: str) -> None:
    assert civil_date(datetime.fromisoformat(instant), ZoneInfo(zone)) == date.fromisoformat(day)


ZONES = st.sampled_from(["Pacific/Kiritimati", "America/New_York", "Pacific/Pago_Pago", "Australia/Lord_Howe", "UTC"])


@given(st.datetimes(datetime(2020, 1, 1), datetime(2050, 1, 1), timezones=st.just(UTC)), ZONES)  # noqa: DTZ001
def test_a_civil_date_ends_at_local_midnight(instant: datetime, zone: str) -> None:
    day = civil_date(instant, ZoneInfo(zone))
    midnight = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))
    assert midnight <= instant.astimezone(ZoneInfo(zone))
    assert civil_date(midnight.astimezone(UTC), ZoneInfo(zone)) == day
    assert civil_date(midnight.astimezone(UTC) - timedelta(microseconds=1), ZoneInfo(zone)) == day - timedelta(days=1)


@pytest.mark.parametrize(
    "zone", ["", "Mars/Olympus", "../../etc/passwd", "America", "/etc/localtime", "x\0y", "New York"]
)
def test_a_policy_needs_a_time_zone(zone: str) -> None:
    with pytest.raises(PolicyError):
        Policy(1, zone)


@pytest.mark.parametrize(("months", "hours"), [(0, 72), (121, 72), (-1, 72), (24, 0), (24, 721)])
def test_a_policy_has_limits(months: int, hours: int) -> None:
    with pytest.raises(PolicyError):
        Policy(1, "UTC", months, hours)


@pytest.mark.parametrize(("months", "hours"), [(1, 1), (120, 720)])
def test_a_policy_reaches_its_limits(months: int, hours: int) -> None:
    assert Policy(1, "UTC", months, hours).zone.key == "UTC"


def test_the_simulated_clock_runs_and_is_moved() -> None:
    clock = SimulatedClock(datetime(2030, 1, 1, tzinfo=UTC))
    first = clock.now()
    assert datetime(2030, 1, 1, tzinfo=UTC) <= first < datetime(2030, 1, 1, 0, 1, tzinfo=UTC)
    clock.advance(timedelta(days=2))
    assert clock.now() - first >= timedelta(days=2)
    assert SystemClock().now().utcoffset() == timedelta(0)


# --- documents ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "padded"),
    [
        (0, 0),
        (1, 1),
        (2, 2),
        (3, 3),
        (8, 8),
        (9, 10),
        (17, 18),
        (100, 104),
        (1000, 1024),
        (10_000, 10_240),
        (2**20, 2**20),
        (2**20 + 1, 2**20 + 2**15),
        (DOCUMENT_BYTES_MAX, DOCUMENT_BYTES_MAX),
    ],
)
def test_padme(size: int, padded: int) -> None:
    assert padme(size) == padded


@given(st.integers(0, 2 * DOCUMENT_BYTES_MAX), st.integers(0, 2 * DOCUMENT_BYTES_MAX))
def test_padme_grows_little_and_in_order(one: int, two: int) -> None:
    assert one <= padme(one) <= one * 1.12
    assert padme(padme(one)) == padme(one)
    if one <= two:
        assert padme(one) <= padme(two)


def test_padme_leaves_few_sizes() -> None:
    assert len({padme(size) for size in range(100_000, 200_000)}) < 40


JPEG = b"\xff\xd8\xff\xe0" + bytes(50) + b"\xff\xd9"
PDF = b"%PDF-1.7\n" + bytes(50) + b"\n%%EOF\n"
PNG = PNG_HEAD + bytes(50) + PNG_END
TIFF_LITTLE = b"II*\0" + (20).to_bytes(4, "little") + bytes(40)
TIFF_BIG = b"MM\0*" + (20).to_bytes(4, "big") + bytes(40)


def inspect(content: bytes, cuts: list[int] | None = None) -> tuple[MediaType | None, int, bytes] | type[Exception]:
    inspection = Inspection()
    edges = [0, *sorted(cut % (len(content) + 1) for cut in cuts or []), len(content)]
    try:
        for start, end in pairwise(edges):
            inspection.add(content[start:end])
        digest = inspection.finish()
    except BadDocumentError as refusal:
        return type(refusal)
    return inspection.media_type, inspection.size, digest


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (JPEG, MediaType.JPEG),
        (JPEG + bytes(2000), MediaType.JPEG),
        (PDF, MediaType.PDF),
        (PNG, MediaType.PNG),
        (TIFF_LITTLE, MediaType.TIFF),
        (TIFF_BIG, MediaType.TIFF),
    ],
)
def test_accepted_types(content: bytes, media_type: MediaType) -> None:
    assert inspect(content) == (media_type, len(content), hashlib.sha256(content).digest())


@pytest.mark.parametrize(
    ("content", "refusal"),
    [
        (b"", EmptyDocumentError),
        (b"x", UnsupportedTypeError),
        (b"PK\x03\x04" + bytes(100), UnsupportedTypeError),
        (b" %PDF-1.7 %%EOF", UnsupportedTypeError),
        (b"\xff\xd8", UnsupportedTypeError),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", UnsupportedTypeError),
        (JPEG[:-1], DocumentTruncatedError),
        (JPEG + bytes(2100), DocumentTruncatedError),
        (PDF[:-4], DocumentTruncatedError),
        (PNG[:-1], DocumentTruncatedError),
        (TIFF_LITTLE[:21], DocumentTruncatedError),
        (TIFF_BIG[:21], DocumentTruncatedError),
        (b"II*\0", DocumentTruncatedError),
        (b"%PDF-", DocumentTruncatedError),
        (b"II*\0" + b"\xff" * 40, DocumentTruncatedError),
    ],
)
def test_refused_documents(content: bytes, refusal: type[BadDocumentError]) -> None:
    assert inspect(content) is refusal


CONTENT = st.sampled_from(
    [JPEG, PDF, PNG, TIFF_BIG, TIFF_LITTLE, JPEG[:-1], PDF[:-3], TIFF_BIG[:21], b"II*\0", b"", b"ab"]
)


@given(CONTENT, st.lists(st.integers(0, 5000)), st.binary(max_size=3000))
def test_how_it_comes_in_pieces_changes_nothing(content: bytes, cuts: list[int], tail: bytes) -> None:
    assert inspect(content + tail, cuts) == inspect(content + tail)


def test_the_limit_is_exact() -> None:
    inspection = Inspection()
    inspection.add(PNG_HEAD + bytes(DOCUMENT_BYTES_MAX - 8))
    assert inspection.size == DOCUMENT_BYTES_MAX
    with pytest.raises(DocumentTooLargeError):
        inspection.add(b"x")
    with pytest.raises(DocumentTooLargeError):
        Inspection().add(bytes(DOCUMENT_BYTES_MAX + 1))


# --- the Merkle root ----------------------------------------------------------------------------------

LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]


@pytest.mark.parametrize(
    ("count", "root"),
    [
        (0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
        (2, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
        (3, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
        (4, "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
        (5, "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"),
        (6, "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"),
        (7, "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"),
        (8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
    ],
)
def test_the_roots_of_certificate_transparency(count: int, root: str) -> None:
    assert tree_hash(LEAVES[:count]).hex() == root


def recursive(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word by word."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + recursive(leaves[:split]) + recursive(leaves[split:])).digest()


@given(st.lists(st.binary(max_size=40), max_size=70))
def test_the_root_is_that_of_the_definition(leaves: list[bytes]) -> None:
    assert tree_hash(leaves) == recursive(leaves)


# --- ids and tokens -----------------------------------------------------------------------------------


@given(st.text(max_size=40))
def test_few_texts_are_ids(text: str) -> None:
    assert is_id(text) is (len(text) == 26 and set(text) <= set("0123456789abcdefghjkmnpqrstvwxyz"))
    assert is_id(new_id())
    assert not is_id(new_id() + "\n")


@given(st.integers(0, 2**60 - 1))
def test_base32_can_be_read_back(number: int) -> None:
    digits = "0123456789abcdefghjkmnpqrstvwxyz"
    assert sum(digits.index(c) * 32**n for n, c in enumerate(reversed(base32(number, 12)))) == number


def test_a_token_is_shown_once_and_kept_as_a_hash(quick_world: World) -> None:
    token = create_token(quick_world.vault, Role.CENTER, "Desk 3")
    assert len(token) == 4 + 26 + 1 + 52 + 4
    assert token.startswith("svt_")
    caller = authenticate(quick_world.vault, token)
    assert caller.role is Role.CENTER
    secret = token[31:83]
    assert (
        quick_world.value(f"SELECT secret_hash FROM access_tokens WHERE id = '{caller.token_id}'")
        == hashlib.sha256(secret.encode()).digest()
    )
    quick_world.vault.catalogue.close()
    stored = quick_world.catalogue_at_rest()
    assert caller.token_id.encode() in stored, "the control finds what is there"
    assert secret.encode() not in stored
    assert secret[:20].encode() not in stored
    assert secret not in repr(list_tokens(quick_world.vault)) + repr(caller)


def other(character: str) -> str:
    return "0" if character != "0" else "1"


def test_every_typing_error_is_told_from_an_unknown_token(quick_world: World) -> None:
    token = create_token(quick_world.vault, Role.REVIEWER, "x")
    for at in range(len(token)):
        with pytest.raises(MistypedTokenError):
            authenticate(quick_world.vault, token[:at] + other(token[at]) + token[at + 1 :])
        with pytest.raises(MistypedTokenError):
            authenticate(quick_world.vault, token[:at])
    for odd in ("", "svt_", " " + token, token + " ", token.upper(), token + "é", "\0" * 87, "svt_" + "_" * 83):
        with pytest.raises(MistypedTokenError):
            authenticate(quick_world.vault, odd)
    assert authenticate(quick_world.vault, token).role is Role.REVIEWER


def with_check(body: str) -> str:
    return body + base32(zlib.crc32(body.encode()) & (2**20 - 1), 4)


def test_an_unknown_token_is_no_typing_error(quick_world: World) -> None:
    token = create_token(quick_world.vault, Role.REVIEWER, "x")
    for forged in (f"svt_{new_id()}_{token[31:83]}", token[:31] + "0" * 52):
        with pytest.raises(BadTokenError) as refusal:
            authenticate(quick_world.vault, with_check(forged))
        assert not isinstance(refusal.value, MistypedTokenError)


def test_a_revoked_token_is_refused_at_once(quick_world: World) -> None:
    token = create_token(quick_world.vault, Role.REVIEWER, "x")
    token_id = authenticate(quick_world.vault, token).token_id
    revoke_token(quick_world.vault, token_id)
    with pytest.raises(BadTokenError) as refusal:
        authenticate(quick_world.vault, token)
    assert not isinstance(refusal.value, MistypedTokenError)
    first = next(line for line in list_tokens(quick_world.vault) if line.id == token_id).revoked_at
    quick_world.advance(days=1)
    revoke_token(quick_world.vault, token_id)
    assert next(line for line in list_tokens(quick_world.vault) if line.id == token_id).revoked_at == first
    with pytest.raises(NotFoundError):
        revoke_token(quick_world.vault, new_id())


@pytest.mark.parametrize("label", ["", "x" * 81])
def test_labels_have_a_length(quick_world: World, label: str) -> None:
    before = len(list_tokens(quick_world.vault))
    with pytest.raises(VaultError, match="1 to 80 characters"):
        create_token(quick_world.vault, Role.CENTER, label)
    assert len(list_tokens(quick_world.vault)) == before


def test_roles_do_not_mix(quick_world: World) -> None:
    with pytest.raises(ForbiddenError):
        quick_world.center.require(Role.REVIEWER)
    with pytest.raises(ForbiddenError):
        quick_world.reviewer.require(Role.CENTER)
    quick_world.center.require(Role.CENTER)


settings.register_profile("vault", deadline=None, max_examples=100)
settings.load_profile("vault")


def test_counts_are_told_in_english() -> None:
    assert [number_of(2, noun) for noun in ("day", "copy", "record", "entry")] == [
        "2 days",
        "2 copies",
        "2 records",
        "2 entries",
    ]
    assert (number_of(1, "day", "is", "are"), number_of(0, "day", "is", "are")) == ("1 day is", "0 days are")
