from datetime import timedelta

from tests.cli.conftest import Operator

UNKNOWN = "0" * 26


def test_every_id_is_answered_and_the_code_says_whether_all_are_held(operator: Operator) -> None:
    gone = operator.file(1)[0]
    destruction = operator.run("sweep", "--json").data["id"]
    one, two = operator.file(2, ago=timedelta(days=1))

    partly = operator.run("hold", "place", one, UNKNOWN, gone, "--docket", "16-cv-1", "--json")

    assert partly.code == 12
    assert partly.data["answers"] == {one: "held", UNKNOWN: "unknown", gone: f"destroyed by {destruction}"}
    listed = "# the second one\n\n" + two + "  # Queens\n"
    added = operator.run("hold", "place", "--docket", "16-cv-1", "--file", "-", typed=listed)
    assert added.code == 0
    assert partly.data["hold"] in added.out
    (hold,) = operator.run("hold", "list", "--json").data
    assert set(hold) == {"id", "docket", "placed_at", "released_at", "records"}
    assert (hold["docket"], hold["records"]) == ("16-cv-1", 2)


def test_when_nothing_can_be_held_there_is_no_hold_and_all_is_answered(operator: Operator) -> None:
    nothing = operator.run("hold", "place", UNKNOWN, "x y", "--docket", "16-cv-1")
    assert nothing.code == 3
    assert nothing.out.count("unknown") == 2
    assert operator.run("hold", "list", "--all", "--json").data == []


def test_what_cannot_be_meant_is_refused(operator: Operator) -> None:
    assert operator.run("hold", "place", "--docket", "16-cv-1").code == 2
    assert operator.run("hold", "place", "--docket", "16-cv-1", "--file", "/nowhere").code == 2
    assert operator.run("hold", "place", UNKNOWN, "--docket", "People against Doe").code == 4
    assert operator.run("hold", "release", UNKNOWN).code == 3


def test_a_hold_outlives_a_scrub_and_a_release_ends_it(operator: Operator) -> None:
    held, other = operator.file(2)
    hold = operator.run("hold", "place", held, "--docket", "16-cv-1", "--json").data["hold"]

    scrub = operator.run("scrub", operator.order_scrub(), "--yes", "--json")
    assert (scrub.code, scrub.data["counts"]["records_destroyed"]) == (0, 1)
    assert operator.states() == {"retained": 1, "destroyed": 1}

    release = operator.run("hold", "release", hold, "--json")
    assert (release.code, release.data["kind"]) == (0, "release")
    assert operator.states() == {"retained": 1, "destroyed": 1}
    assert operator.run("hold", "list", "--json").data == []
    assert len(operator.run("hold", "list", "--all", "--json").data) == 1
    assert operator.run("sweep", "--json").data["counts"]["records_destroyed"] == 1
    assert operator.states() == {"destroyed": 2}
    assert other not in operator.run("destruction", "list", "--json").out
