"""Who must have signed what: the table of docs/spec/order.md, and one person for each place."""

import pytest

from vault.law.people import Person, Role
from vault.orders import QUORUMS, STANDING, Action, missing_places
from vault.orders.actions import Place

HEAD, COUNSEL, AUTHORITY = Role.AGENCY_HEAD, Role.COUNSEL, Role.RECORDS_AUTHORITY
OFFICER, AUDITOR = Role.RECORDS_OFFICER, Role.AUDITOR


def person(name: str, *roles: Role) -> Person:
    return Person(name, frozenset(roles), frozenset({name}))


STAFF = (
    person("head", HEAD),
    person("counsel", COUNSEL),
    person("authority", AUTHORITY),
    person("officer", OFFICER),
    person("auditor", AUDITOR),
)


def lacking(places: tuple[Place, ...], *names: str, people: tuple[Person, ...] = STAFF) -> int:
    return len(missing_places(places, names, people))


@pytest.mark.parametrize(
    ("action", "enough", "short"),
    [
        (Action.SCRUB, ["head", "counsel", "authority"], ["head", "counsel", "officer"]),
        (Action.DESTROY, ["officer", "head", "counsel"], ["officer", "head", "auditor"]),
        (Action.DESTROY, ["officer", "authority", "counsel"], ["head", "authority", "counsel"]),
        (Action.RELEASE, ["counsel", "officer"], ["head", "officer"]),
        (Action.RELEASE, ["counsel", "head"], ["counsel", "authority"]),
        (Action.PRESERVE, ["head", "authority"], ["head", "officer"]),
        (Action.DESTROY_AT_SUNSET, ["counsel", "authority"], ["authority"]),
        (Action.PARTIAL, ["counsel", "head"], ["counsel", "auditor"]),
        (Action.CLEAR_TIME, ["officer", "auditor"], ["officer", "counsel"]),
        (Action.ADOPT_POLICY, ["head", "counsel", "authority"], ["head", "counsel"]),
    ],
)
def test_each_action_has_its_quorum(action: Action, enough: list[str], short: list[str]) -> None:
    assert lacking(QUORUMS[action], *enough) == 0
    assert lacking(QUORUMS[action], *short) == 1
    for absent in enough:
        assert lacking(QUORUMS[action], *(name for name in enough if name != absent)) == 1


def test_every_action_has_a_quorum_of_two_at_least() -> None:
    assert set(QUORUMS) == set(Action)
    assert all(len(places) >= 2 for places in (*QUORUMS.values(), STANDING))


def test_one_person_fills_one_place_whatever_their_roles() -> None:
    everything = person("everything", *Role)
    for places in QUORUMS.values():
        assert lacking(places, "everything", "everything", people=(everything,)) == len(places) - 1


def test_people_are_put_where_they_are_needed() -> None:
    """Whoever could fill two places must not take the one that only the other could fill."""
    both = person("a-both", COUNSEL, HEAD)
    for second in (person("z-counsel", COUNSEL), person("z-head", HEAD)):
        assert lacking(QUORUMS[Action.PRESERVE], "a-both", second.name, people=(both, second)) == 0
    people = (both, person("b-counsel", COUNSEL), person("c-both", COUNSEL, AUTHORITY))
    assert lacking(QUORUMS[Action.SCRUB], *(p.name for p in people), people=people) == 0


def test_strangers_fill_no_place() -> None:
    assert lacking(STANDING, "head", "counsel", "somebody") == 1
    assert lacking(STANDING) == 3
