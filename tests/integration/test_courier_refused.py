"""Bad sticks: changed by a bit, of a stranger, for another hub, with claims and links. Nothing of them is taken."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest
from support.courier import Both, told, verb
from support.hub import add_site

from appliance.courier import cipher, listing
from appliance.courier.listing import Contents, StickFile
from appliance.courier.seal import digest_of_secret

pytestmark = pytest.mark.usefixtures("looking_often")


def test_a_parcel_with_a_changed_bit_is_named_and_the_others_are_taken(both: Both) -> None:
    both.fill(3)
    both.courier.exported()
    path = both.courier.files[1]
    for at in (30, -1, path.stat().st_size // 2):
        changed = bytearray(path.read_bytes())
        changed[at] ^= 4
        path.write_bytes(changed)
        done = both.brought(exit_code=4)
        changed[at] ^= 4
        path.write_bytes(changed)
        assert [problem["parcel"] for problem in done["damaged"]] == [path.stem]
        assert "changed on the stick" in done["damaged"][0]["reason"]
        assert done["verified"] == 2
    assert both.brought()["verified"] == 3


def test_a_list_with_a_changed_bit_is_refused_as_a_whole(both: Both) -> None:
    both.fill(1)
    both.courier.exported()
    path = both.courier.site / "list"
    good = path.read_bytes()
    for at in (0, 40, good.index(b"\n") + 5, len(good) - 1):
        changed = bytearray(good)
        changed[at] ^= 1
        path.write_bytes(changed)
        done = both.brought(exit_code=4)
        assert done["error"]
        assert both.held() == 0
    assert not (both.courier.site / "receipts").exists()


def test_a_strangers_stick_is_refused(both: Both) -> None:
    """Who can encrypt to the hub's key has no site's secret."""
    both.fill(1)
    both.courier.exported()
    for secret, why in (("site-1.strangers-secret", "not sealed with the secret"), (None, "no such site")):
        if secret is None:
            both.courier.site.rename(both.courier.site.with_name("site-9"))
        else:
            seal(both, secret, [])
        done = both.brought(exit_code=4)
        assert why in done["error"]
    assert both.held() == 0


def seal(both: Both, secret: str, files: list[StickFile], hub_key: str = "") -> None:
    """A list by who has this secret."""
    content = listing.write_list(
        files,
        Contents(reply_to=cipher.new_key()[1]),
        site="site-1",
        at=1,
        hub_key=hub_key or cipher.public_of(both.courier.hub_keys[0]),
        secret_digest=digest_of_secret(secret),
    )
    (both.courier.site / "list").write_bytes(content)


def test_a_revoked_site_is_refused(both: Both) -> None:
    both.fill(1)
    both.courier.exported()
    assert verb(both.hub_toml, "hub", "site", "revoke", "site-1").exit_code == 0
    assert "revoked" in both.brought(exit_code=4)["error"]
    assert both.held() == 0


def test_another_sites_list_under_this_sites_name_is_refused(both: Both) -> None:
    both.fill(1)
    both.courier.exported()
    add_site(both.hub.config, "site-2")
    shutil.copytree(both.courier.site, both.courier.site.with_name("site-2"))
    done = both.bring("--json")
    first, second = told(done)["sites"]
    assert (first["verified"], second["verified"], done.exit_code) == (1, 0, 4)
    assert second["error"]


def test_a_stick_for_another_hub_is_said_to_be_one(both: Both) -> None:
    both.fill(1)
    both.courier.exported()
    seal(both, both.hub.secret, [], cipher.new_key()[1])
    assert "another hub's key" in both.brought(exit_code=4)["error"]


def test_another_parcel_under_a_parcels_name_is_refused(both: Both) -> None:
    """By a site that has the secret: the digest names the parcel."""
    both.fill(1)
    both.courier.exported()
    (path,) = both.courier.files
    other = cipher.encrypt_bytes(b"something else", cipher.public_of(both.courier.hub_keys[0]))
    path.write_bytes(other)
    seal(both, both.hub.secret, [StickFile(path.stem, 14, len(other), hashlib.sha256(other).hexdigest())])
    done = both.brought(exit_code=4)
    assert "not the parcel" in done["damaged"][0]["reason"]
    assert both.hub.rows("SELECT * FROM parcel") == []


def test_a_huge_claim_costs_nothing(both: Both) -> None:
    both.fill(1)
    both.courier.exported()
    (path,) = both.courier.files
    sealed, key = path.read_bytes(), both.hub.secret
    digest = hashlib.sha256(sealed).hexdigest()
    for size in (1 << 49, 1, 0):
        seal(both, key, [StickFile(path.stem, size, len(sealed), digest)])
        done = both.brought(exit_code=4)
        assert len(done["damaged"]) == 1, size
    assert both.hub.rows("SELECT * FROM parcel") == []
    assert list((both.hub.data / "courier").iterdir()) == []


def test_links_pipes_and_missing_files_are_named_and_never_followed(both: Both, tmp_path: Path) -> None:
    both.fill(4)
    both.courier.exported()
    link, pipe, missing, good = both.courier.files
    outside = tmp_path / "outside"
    link.rename(outside)
    link.symlink_to(outside)
    pipe.unlink()
    os.mkfifo(pipe)
    missing.unlink()
    done = both.brought(exit_code=4)
    assert {problem["parcel"] for problem in done["damaged"]} == {link.stem, pipe.stem, missing.stem}
    assert done["verified"] == 1
    assert good.exists()


def test_receipts_are_for_this_unit_and_this_secret_alone(both: Both) -> None:
    both.fill(1)
    assert both.courier.receipts().exit_code == 4  # there are none
    both.courier.exported()
    both.brought()
    path = both.courier.site / "receipts"
    good = path.read_bytes()
    for at in (0, good.index(b"\n") + 3, len(good) - 1):
        changed = bytearray(good)
        changed[at] ^= 1
        path.write_bytes(changed)
        assert both.courier.receipts().exit_code == 4
    assert both.unit.value("SELECT count(*) FROM instance WHERE state = 'delivered'") == 0
    path.write_bytes(good)
    (both.unit.data / "courier.key").unlink()
    assert both.courier.receipts().exit_code == 2
    assert both.unit.value("SELECT count(*) FROM instance WHERE state = 'delivered'") == 0


def test_a_receipt_with_another_digest_delivers_nothing(both: Both) -> None:
    both.fill(1)
    both.courier.exported()
    both.brought()
    with both.unit.database() as database:
        database.execute("UPDATE instance SET digest = zeroblob(32)")
    taken = told(both.courier.receipts("--json"))
    assert (taken["delivered"], taken["instances"]) == (0, 0)
    assert both.unit.value("SELECT count(*) FROM instance WHERE state = 'delivered'") == 0
