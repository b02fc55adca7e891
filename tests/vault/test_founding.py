"""Founding and opening a home."""

import json
import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.services.object_stores import ACCESS_KEY, SECRET_KEY, settings
from vault import home
from vault.catalogue import Catalogue, keys
from vault.clocks.clock import SimulatedClock, SystemClock
from vault.errors import CustodianError, HomeError, PolicyError
from vault.home import Founding, Home, found_vault, open_vault
from vault.objects import Bucket, ObjectStoreError
from vault.trees import keyring, mirror


@pytest.fixture
def founding(tmp_path: Path, seaweedfs: str) -> Founding:
    return Founding(
        home=tmp_path / "home",
        objects=seaweedfs,
        objects_folder=tmp_path / "objects",
        bucket=settings(None).bucket,
        region="us-east-1",
        custodian=f"file:{tmp_path}/keys",
        time_zone="America/New_York",
        retention_months=24,
        access_key=ACCESS_KEY,
        secret_key=SECRET_KEY,
    )


def test_a_vault_is_founded_once(founding: Founding) -> None:
    assert found_vault(founding)
    settings_before = (founding.home / "vault.json").read_bytes()
    with open_vault(founding.home) as vault:
        masters = vault.custody.at(founding.custodian).names()
        assert masters == {f"active-{vault.vault_id.hex()}", f"held-{vault.vault_id.hex()}"}
        assert set(vault.bucket.names("")) == {
            "keystore/active/0000000000000001",
            "keystore/held/0000000000000001",
            "ledger/0000000000000001",
        }
    assert not found_vault(founding)
    assert (founding.home / "vault.json").read_bytes() == settings_before
    with open_vault(founding.home) as vault:
        assert vault.custody.at(founding.custodian).names() == masters
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in founding.home.iterdir()}
    assert modes["bucket.json"] == modes["catalogue.db"] == 0o600
    assert stat.S_IMODE(founding.home.stat().st_mode) == 0o700
    assert SECRET_KEY.get_secret_value() not in settings_before.decode()


def test_other_choices_are_refused(founding: Founding, tmp_path: Path) -> None:
    found_vault(founding)
    for other, name in (
        (replace(founding, bucket="another"), "bucket"),
        (replace(founding, region="eu-west-1"), "region"),
        (replace(founding, custodian=f"file:{tmp_path}/others"), "custodian"),
        (replace(founding, objects="aws"), "objects"),
    ):
        with pytest.raises(HomeError, match=name):
            found_vault(other)
    assert not found_vault(founding)


def test_impossible_choices_leave_no_vault(founding: Founding) -> None:
    for wrong, error in (
        (replace(founding, time_zone="Mars/Olympus"), PolicyError),
        (replace(founding, retention_months=0), PolicyError),
        (replace(founding, custodian="file:relative"), CustodianError),
        (replace(founding, custodian=f"file:{founding.home}/keys"), CustodianError),
    ):
        with pytest.raises(error):
            found_vault(wrong)
        assert not (founding.home / "vault.json").exists()
    assert found_vault(founding)


def test_a_folder_with_something_else_is_left_alone(founding: Founding) -> None:
    founding.home.mkdir()
    (founding.home / "letter.txt").write_text("dear")
    with pytest.raises(HomeError, match="not empty"):
        found_vault(founding)
    assert [path.name for path in founding.home.iterdir()] == ["letter.txt"]


class CutOffError(BaseException):
    pass


def cut_after(monkeypatch: pytest.MonkeyPatch, where: object, name: str, *, calls: int, before: bool) -> None:
    honest: Callable[..., object] = getattr(where, name)
    count = 0

    def cut(*args: object, **named: object) -> object:
        nonlocal count
        count += 1
        if count == calls and before:
            raise CutOffError
        answer = honest(*args, **named)
        if count == calls:
            raise CutOffError
        return answer

    monkeypatch.setattr(where, name, cut)


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize(
    ("where", "name", "calls"),
    [
        (home, "write_json", 1),
        (home, "write_json", 2),
        (Bucket, "ensure", 1),
        (Catalogue, "migrate", 1),
        (keyring, "found", 1),
        (keyring, "found", 2),
        (mirror, "write", 1),
        (mirror, "write", 2),
        (keys, "save_staged", 2),
        (os, "fsync", 1),
        (os, "fsync", 2),
    ],
)
def test_a_founding_that_was_cut_off_is_finished_by_the_next(
    founding: Founding, monkeypatch: pytest.MonkeyPatch, where: object, name: str, calls: int, *, before: bool
) -> None:
    cut_after(monkeypatch, where, name, calls=calls, before=before)
    with pytest.raises(CutOffError):
        found_vault(founding)
    monkeypatch.undo()
    found_vault(founding)
    with open_vault(founding.home) as vault:
        assert len(vault.custody.at(founding.custodian).names()) == 2
    assert not found_vault(founding)


def test_what_is_no_vault_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(HomeError, match="init"), open_vault(tmp_path / "nowhere"):
        pass
    for text in ("", "{", "[]", '"x"', '{"format": 2}', "{}"):
        (tmp_path / "vault.json").write_text(text)
        with pytest.raises(HomeError):
            Home.at(tmp_path)


def test_the_catalogue_of_another_vault_is_refused(founding: Founding) -> None:
    found_vault(founding)
    path = founding.home / "vault.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"vault_id": "00" * 16}))
    with pytest.raises(HomeError, match="another vault"), open_vault(founding.home):
        pass
    path.write_text(json.dumps(content))
    with open_vault(founding.home, SimulatedClock(SystemClock().now())):
        pass


def test_a_store_that_does_not_answer_founds_nothing(founding: Founding) -> None:
    with pytest.raises(ObjectStoreError):
        found_vault(replace(founding, objects="http://127.0.0.1:9"))
    with pytest.raises(ObjectStoreError):
        found_vault(replace(founding, secret_key=SecretStr("mistyped")))
    assert list(founding.home.iterdir()) == []
    assert found_vault(founding)


def test_a_founding_that_was_cut_off_is_told_from_one_that_is_done(
    founding: Founding, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cut_after(monkeypatch, keyring, "found", calls=1, before=True)
    with pytest.raises(CutOffError):
        found_vault(founding)
    monkeypatch.undo()
    other = replace(founding, custodian=f"file:{tmp_path}/others")
    with pytest.raises(
        HomeError, match=r"was cut off, with another choice of: custodians\. Repeat that one, or delete"
    ):
        found_vault(other)
    shutil.rmtree(founding.home)
    assert found_vault(other)
    with pytest.raises(HomeError, match="was founded with another choice of: custodians"):
        found_vault(founding)
