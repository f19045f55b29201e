"""The index: its migrations, what is filed, and what each site may see of it."""

from __future__ import annotations

import hashlib
import multiprocessing
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
import sqlalchemy.exc
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from support.hub import hub_config

from appliance.config import HubConfig, HubServer
from appliance.errors import ConfigError, DatabaseError, NotFoundError
from appliance.hub.index import instances, parcels, sites, studies, trail, uptime
from appliance.hub.index.attribute_tables import attribute_backfill
from appliance.hub.index.database import FILE_NAME, MIGRATIONS, Index, url_of
from appliance.hub.index.instances import Archived, Filing, Stored
from appliance.hub.index.parcels import Opening
from appliance.hub.index.tables import metadata, study_site
from appliance.hub.index.tables import parcel as parcel_table
from appliance.hub.index.uptime import Moment
from appliance.hub.objects.keys import key_of
from appliance.hub.people import tables as people_tables
from appliance.hub.renditions import tables as renditions_tables
from appliance.model.identity import InstanceIdentity
from appliance.model.receipt import Refusal, Verdict

ANY = 1 << 62  # bytes
D1, D2 = hashlib.sha256(b"1").digest(), hashlib.sha256(b"2").digest()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index as the migrations make it."""
    data = tmp_path_factory.mktemp("template")
    Index.open(hub_config(data)).close()
    return data / FILE_NAME


@pytest.fixture
def index(tmp_path: Path, template: Path) -> Iterator[Index]:
    (tmp_path / "hub").mkdir()
    shutil.copy(template, tmp_path / "hub")
    opened = Index(url_of(hub_config(tmp_path / "hub")))
    with opened.write() as connection:
        for site in ("a", "b"):
            sites.add(connection, site, site, bytes(32), 0)
    yield opened
    opened.close()


def an_opening(name: str, length: int = 10, priority: int = 2) -> Opening:
    return Opening(name, length, priority, "", Moment(at=1_000, up=100))


def a_parcel(index: Index, name: str, site: str = "a", digest: bytes | None = None, **more: int) -> parcels.Parcel:
    """A parcel that waits for its check."""
    digest = digest or hashlib.sha256(f"{site}{name}".encode()).digest()
    with index.write() as connection:
        parcels.create(connection, site, digest, an_opening(name, **more))
        parcels.set_offset(connection, name, more.get("length", 10), Moment(at=2_000, up=200))
        found = parcels.find(connection, site, name)
    assert found
    return found


def an_instance(uid: str, digest: bytes, name: str = "x", number: int = 0, **changed: str) -> Archived:
    identity = {
        "study_instance_uid": "1.2",
        "series_instance_uid": "1.2.1",
        "sop_class_uid": "1.9",
        "sop_instance_uid": uid,
        "patient_name": "A^B",
        "patient_id": "7",
        "modality": "CT",
    }
    return Archived(
        identity=InstanceIdentity(**(identity | changed)),  # type: ignore[arg-type]
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        digest=digest,
        size=100,
        calling_ae="CT1",
        received_at=500,
        stored=Stored("as-received", key_of(name * 32, number, "dcm"), bytes(32), 200),
    )


def file(index: Index, parcel: parcels.Parcel, *items: Archived, now: int = 9_000) -> list[bool]:
    with index.write() as connection:
        filing = Filing(connection, site_id=parcel.site_id, parcel_id=parcel.id, priority=parcel.priority, now=now)
        fresh = [filing.file(position, item) for position, item in enumerate(items)]
        assert parcels.verify(connection, parcel.id, now)
    return fresh


def test_the_migrations_make_exactly_the_tables_that_the_code_knows(index: Index):
    with index.read() as connection:
        assert people_tables.metadata is metadata
        assert renditions_tables.metadata is metadata
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        config = Config()
        config.set_main_option("script_location", MIGRATIONS)
        assert context.get_current_revision() == ScriptDirectory.from_config(config).get_current_head()


def test_an_upload_from_before_the_uptime_was_counted_has_its_whole_term(tmp_path: Path):
    (tmp_path / "hub").mkdir()
    older = Index(url_of(hub_config(tmp_path / "hub")))
    older.migrate("0002")
    with older.write() as connection:
        sites.add(connection, "a", "a", bytes(32), 0)
        connection.exec_driver_sql(
            "INSERT INTO parcel (name, site_id, length, offset, priority, metadata, verdict, reason, created_at, "
            "last_byte_at) VALUES ('n', 'a', 10, 5, 2, '', 'partial', '', 1, 1)"
        )
    older.migrate()
    with older.read() as connection:
        found = parcels.find(connection, "a", "n")
        assert uptime.read(connection) == 0
    older.close()
    assert found
    assert (found.offset, found.last_byte_up) == (5, 0)


def test_an_older_hub_has_all_to_fill_in_and_the_first_site_of_a_study_sees_it(tmp_path: Path):
    (tmp_path / "hub").mkdir()
    older = Index(url_of(hub_config(tmp_path / "hub")))
    older.migrate("0010")
    with older.write() as connection:
        for site in ("a", "b"):
            sites.add(connection, site, site, bytes(32), 0)
        texts = "patient_name patient_id issuer_of_patient_id patient_birth_date patient_sex accession_number "
        texts += "study_description study_date study_time referring_physician"
        numbers = "priority first_held_at last_held_at series instances bytes conflicts identity_conflict"
        names = [*texts.split(), *numbers.split()]
        values = ["''"] * len(texts.split()) + ["0"] * len(numbers.split())
        for row in (3, 8):
            connection.exec_driver_sql(
                f"INSERT INTO study (id, study_instance_uid, {', '.join(names)}) "
                f"VALUES ({row}, '1.{row}', {', '.join(values)})"
            )
        connection.exec_driver_sql("INSERT INTO study_site VALUES (3, 'a', 20), (3, 'b', 10), (8, 'a', 5), (8, 'b', 5)")
    older.migrate()
    with older.read() as connection:
        left = connection.execute(sqlalchemy.select(attribute_backfill)).one()
        seen = connection.execute(sqlalchemy.select(study_site).where(study_site.c.sees)).all()
    older.close()
    assert (left.study_id, left.instance_id) == (8, 0)
    assert {(row.study_id, row.site_id) for row in seen} == {(3, "b"), (8, "a")}


def test_migrating_again_changes_nothing(index: Index):
    index.migrate()
    index.migrate()


def _open(data: str) -> None:
    Index.open(HubConfig(hub=HubServer(data=data))).close()


def test_processes_that_open_a_new_index_at_once_all_find_it_whole(tmp_path: Path):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_open, args=(str(tmp_path / "hub"),)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]


def test_a_commit_is_in_the_log_and_fsynced(index: Index):
    with index.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_a_transaction_that_fails_leaves_nothing(index: Index):
    def add(*names: str) -> None:
        with index.write() as connection:
            for name in names:
                sites.add(connection, name, name, bytes(32), 0)

    with pytest.raises(sqlalchemy.exc.IntegrityError):
        add("c", "a")
    with index.read() as connection:
        assert sites.find(connection, "c") is None


def test_a_file_that_is_no_database_is_an_error_with_a_sentence(tmp_path: Path):
    (tmp_path / "hub.db").write_bytes(b"not a database" * 100)
    with pytest.raises(DatabaseError, match="not a database"):
        Index.open(hub_config(tmp_path))


def test_an_index_elsewhere_is_named_by_its_url(tmp_path: Path):
    assert url_of(hub_config(tmp_path, database_url="postgresql://hub@db/index")).host == "db"
    with pytest.raises(ConfigError):
        url_of(hub_config(tmp_path, database_url="no url"))


def test_no_error_of_the_index_repeats_a_value(index: Index):
    with pytest.raises(DatabaseError) as caught, index.read() as connection:
        connection.execute(sqlalchemy.text("SELECT * FROM nothing WHERE x = :name"), {"name": "Zebrafink"})
    assert "Zebrafink" not in caught.value.message


def test_an_upload_waits_for_its_check_only_when_its_last_byte_is_safe(index: Index):
    with index.write() as connection:
        parcels.create(connection, "a", D1, an_opening("n"))
        assert parcels.set_offset(connection, "n", 9, Moment(at=5_000, up=500))
        found = parcels.find(connection, "a", "n")
        assert found
        assert (found.offset, found.verdict, found.last_byte_up) == (9, Verdict.PARTIAL, 500)
        assert parcels.first_of_each_site(connection, (), ANY) == []
        assert parcels.set_offset(connection, "n", 10, Moment(at=6_000, up=600))
        assert parcels.first_of_each_site(connection, (), ANY) == [parcels.find_by_digest(connection, "a", D1)]


def test_bytes_for_an_upload_that_is_whole_or_gone_change_nothing(index: Index):
    a_parcel(index, "n")
    with index.write() as connection:
        assert not parcels.set_offset(connection, "n", 3, Moment(1, 1))
        assert not parcels.set_offset(connection, "m", 3, Moment(1, 1))
        assert not parcels.remove(connection, "n")


def test_a_site_has_each_parcel_once_and_another_site_may_have_it_too(index: Index):
    with index.write() as connection:
        parcels.create(connection, "a", D1, an_opening("1"))
        parcels.create(connection, "b", D1, an_opening("2"))
        parcels.create(connection, "a", None, an_opening("3"))
        parcels.create(connection, "a", None, an_opening("4"))
    with pytest.raises(sqlalchemy.exc.IntegrityError), index.write() as connection:
        parcels.create(connection, "a", D1, an_opening("5"))


def test_usage_counts_the_open_uploads_of_the_site_and_the_bytes_that_await_their_check(index: Index):
    a_parcel(index, "1", length=10)
    with index.write() as connection:
        parcels.create(connection, "a", D1, an_opening("2", length=30))
        parcels.create(connection, "b", D1, an_opening("3", length=500))
        assert parcels.usage(connection, "a") == (1, 40)
        assert parcels.usage(connection, "nobody") == (0, 0)


def test_parcels_of_a_site_are_checked_by_priority_and_then_in_the_order_they_became_whole(index: Index):
    for name, priority in (("late", 2), ("prior", 3), ("stat", 0), ("next", 2)):
        a_parcel(index, name, priority=priority)
    order: list[str] = []
    busy: list[int] = []
    with index.read() as connection:
        while found := parcels.first_of_each_site(connection, busy, ANY):
            order += [one.name for one in found]
            busy += [one.id for one in found]
    assert order == ["stat", "late", "next", "prior"]


def test_each_site_that_waits_has_its_own_first_parcel(index: Index):
    for site, name in (("a", "1"), ("a", "2"), ("b", "3")):
        a_parcel(index, name, site)
    with index.read() as connection:
        assert [one.name for one in parcels.first_of_each_site(connection, (), ANY)] == ["1", "3"]
        assert [one.name for one in parcels.first_of_each_site(connection, {3}, ANY)] == ["1"]


def test_a_parcel_that_there_is_no_room_for_lets_a_smaller_one_pass(index: Index):
    for site, name, length in (("a", "large", 900), ("a", "small", 10), ("b", "larger", 1000)):
        a_parcel(index, name, site, length=length)
    with index.read() as connection:
        assert [one.name for one in parcels.first_of_each_site(connection, (), 899)] == ["small"]
        assert parcels.first_of_each_site(connection, (), -5) == []


def test_any_number_of_parcels_can_be_passed_over(index: Index):
    """More than the 32,766 values that a statement of SQLite takes, then one that may be checked."""
    count = 33_000
    row = {"site_id": "a", "digest": None, "length": 1, "offset": 1, "priority": 2, "metadata": "", "reason": ""}
    row |= {"verdict": Verdict.CHECKING, "created_at": 1, "last_byte_at": 1, "completed_at": 1}
    with index.write() as connection:
        connection.execute(sqlalchemy.insert(parcel_table), [row | {"name": f"{n}"} for n in range(count)])
        (last,) = parcels.first_of_each_site(connection, set(range(1, count)), ANY)
    assert last.name == str(count - 1)


def test_a_refused_parcel_can_begin_anew(index: Index):
    parcel = a_parcel(index, "n", digest=D1)
    with index.write() as connection:
        assert parcels.refuse(connection, parcel.id, Refusal.DIGEST, "why" * 200, 3)
        assert not parcels.refuse(connection, parcel.id, Refusal.FORMAT, "again", 4)
        refused = parcels.find_by_digest(connection, "a", D1)
        assert refused
        assert (refused.verdict, refused.refusal, len(refused.reason)) == (Verdict.REFUSED, Refusal.DIGEST, 300)
        parcels.reopen(connection, parcel.id, an_opening("m", length=12))
        anew = parcels.find_by_digest(connection, "a", D1)
    assert anew
    assert (anew.name, anew.verdict, anew.offset, anew.length, anew.refusal) == ("m", Verdict.PARTIAL, 0, 12, None)


def test_only_uploads_that_got_no_byte_for_long_expire(index: Index):
    a_parcel(index, "whole")
    with index.write() as connection:
        parcels.create(connection, "a", D1, an_opening("old"))
        parcels.create(connection, "a", D2, an_opening("slow"))
        parcels.set_offset(connection, "slow", 1, Moment(at=1, up=50_000))  # whatever the clock said
        assert [one.name for one in parcels.expired(connection, 40_000)] == ["old"]


def test_a_parcel_without_a_stated_digest_gets_its_own_unless_another_has_it(index: Index):
    a_parcel(index, "named", digest=D1)
    with index.write() as connection:
        for name in ("x", "y"):
            parcels.create(connection, "a", None, an_opening(name))
        for name, digest in (("x", D1), ("y", D2)):
            found = parcels.find(connection, "a", name)
            assert found
            parcels.name_digest(connection, found.id, "a", digest)
        named = parcels.find(connection, "a", "x"), parcels.find(connection, "a", "y")
    assert [one.digest if one else "" for one in named] == [None, D2]


def test_an_instance_is_filed_with_its_series_study_and_receipt(index: Index):
    parcel = a_parcel(index, "n", priority=1)
    items = [an_instance("1.2.1.1", D1, "a"), an_instance("1.2.2.1", D2, "b", series_instance_uid="1.2.2")]
    assert file(index, parcel, *items) == [True, True]
    with index.read() as connection:
        (study,) = studies.newest(connection, None, 10)
        receipts = instances.receipts_of(connection, parcel.id)
    assert (study.instances, study.series, study.bytes, study.conflicts) == (2, 2, 200, 0)
    assert (study.sites, study.modalities, study.priority) == (("a",), ("CT",), "urgent")
    assert not study.identity_conflict
    assert [(one.sop_instance_uid, one.digest, one.held_at) for one in receipts] == [
        ("1.2.1.1", D1.hex(), 9_000),
        ("1.2.2.1", D2.hex(), 9_000),
    ]


def test_the_same_bytes_again_are_one_copy_and_get_the_same_receipt(index: Index):
    first, again = a_parcel(index, "1"), a_parcel(index, "2")
    file(index, first, an_instance("1", D1, "a"))
    assert file(index, again, an_instance("1", D1, "b"), now=20_000) == [False]
    with index.read() as connection:
        (study,) = studies.newest(connection, None, 10)
        assert instances.receipts_of(connection, first.id) == instances.receipts_of(connection, again.id)
    assert (study.instances, study.conflicts, study.bytes) == (1, 0, 100)


def test_the_same_instance_twice_in_one_parcel_is_one_copy_with_two_receipts(index: Index):
    parcel = a_parcel(index, "1")
    assert file(index, parcel, an_instance("1", D1, "a"), an_instance("1", D1, "b")) == [True, False]
    with index.read() as connection:
        assert len(instances.receipts_of(connection, parcel.id)) == 2


def test_other_bytes_under_the_same_uid_are_both_kept_and_flagged(index: Index):
    file(index, a_parcel(index, "1"), an_instance("1", D1, "a"))
    second = a_parcel(index, "2")
    file(index, second, an_instance("1", D2, "b"))
    third = a_parcel(index, "3")
    file(index, third, an_instance("1", hashlib.sha256(b"3").digest(), "c"))
    with index.read() as connection:
        study_id, study = studies.find(connection, "1.2")
        kept = [one for series in studies.stored_of(connection, study_id) for one in series]
        assert instances.receipts_of(connection, second.id)[0].conflict
    assert [one.conflict for one in kept] == [True, True, True]
    assert (study.instances, study.conflicts) == (3, 3)


def test_images_of_another_patient_under_a_study_uid_flag_the_study(index: Index):
    file(index, a_parcel(index, "1"), an_instance("1", D1, "a"))
    file(index, a_parcel(index, "2"), an_instance("2", D2, "b", patient_id="8"))
    with index.read() as connection:
        (study,) = studies.newest(connection, None, 10)
    assert study.identity_conflict
    assert study.patient_id == "7"


@pytest.mark.parametrize(
    ("changed", "other"),
    [
        ({}, False),
        ({"patient_name": "a^b^^"}, False),
        ({"patient_name": "A^B "}, False),
        ({"patient_name": "", "patient_id": ""}, False),
        ({"patient_birth_date": "19700101"}, False),  # the study has none
        ({"patient_name": "A^C"}, True),
        ({"patient_id": "07"}, True),
    ],
)
def test_what_makes_it_another_patient_is_a_value_that_differs_and_not_one_that_is_missing(
    changed: dict[str, str], other: bool
):
    known = dict.fromkeys(InstanceIdentity.__struct_fields__, "") | {"patient_name": "A^B", "patient_id": "7"}
    assert instances.is_other_patient(known, an_instance("1", D1, **changed).identity) is other


def test_the_time_of_a_study_is_that_of_its_last_new_image(index: Index):
    file(index, a_parcel(index, "1"), an_instance("1", D1, "a"), now=1_000)
    file(index, a_parcel(index, "2"), an_instance("1", D1, "b"), now=2_000)
    with index.read() as connection:
        assert studies.newest(connection, None, 1)[0].last_held_at == 1_000
    file(index, a_parcel(index, "3"), an_instance("2", D1, "c"), now=3_000)
    with index.read() as connection:
        assert studies.newest(connection, None, 1)[0].last_held_at == 3_000


def test_a_site_sees_the_receipts_of_its_own_deliveries_alone(index: Index):
    file(index, a_parcel(index, "1", "a"), an_instance("1", D1, "a"))
    with index.read() as connection:
        assert instances.receipt_of(connection, "a", "1", D1)
        assert instances.receipt_of(connection, "b", "1", D1) is None
        assert instances.receipt_of(connection, "a", "1", D2) is None
    file(index, a_parcel(index, "2", "b"), an_instance("1", D1, "b"))
    with index.read() as connection:
        assert instances.receipt_of(connection, "b", "1", D1) == instances.receipt_of(connection, "a", "1", D1)
        assert studies.newest(connection, "b", 10)[0].sites == ("a", "b")


def test_a_more_urgent_parcel_makes_its_study_urgent_and_a_lesser_one_does_not_take_that_back(index: Index):
    for name, priority in (("1", 2), ("2", 0), ("3", 3)):
        file(index, a_parcel(index, name, priority=priority), an_instance(name, D1, name))
    with index.read() as connection:
        assert studies.newest(connection, None, 1)[0].priority == "stat"


def test_studies_come_newest_first_up_to_the_limit_and_by_site(index: Index):
    for name, site in (("1", "a"), ("2", "b"), ("3", "a")):
        item = an_instance(name, D1, name, study_instance_uid=f"1.{name}")
        file(index, a_parcel(index, name, site), item, now=int(name) * 1_000)
    with index.read() as connection:
        uids = [[one.study_instance_uid for one in studies.newest(connection, *by)] for by in ((None, 2), ("a", 9))]
    assert uids == [["1.3", "1.2"], ["1.3", "1.1"]]


def test_images_are_ordered_by_their_number_and_not_as_text(index: Index):
    numbers = ("10", "9", "", "+1", "x", "9" * 30)
    items = [
        an_instance(f"1.{n}", hashlib.sha256(t.encode()).digest(), "a", n, instance_number=t)
        for n, t in enumerate(numbers)
    ]
    file(index, a_parcel(index, "1"), *items)
    with index.read() as connection:
        study_id, _ = studies.find(connection, "1.2")
        (shown,) = studies.series_of(connection, study_id)
        (stored,) = studies.stored_of(connection, study_id)
    assert [one.instance_number for one in shown.instances][:3] == ["+1", "9", "10"]
    assert [one.sop_instance_uid for one in stored] == [one.sop_instance_uid for one in shown.instances]


def test_a_study_that_is_not_here_is_an_error_that_names_no_uid(index: Index):
    with index.read() as connection, pytest.raises(NotFoundError) as caught:
        studies.find(connection, "1.2.3' OR 1=1 --")
    assert "1.2.3" not in caught.value.message


def test_a_dictionary_belongs_to_the_site_that_sent_it(index: Index):
    with index.write() as connection:
        assert instances.add_dictionary(connection, site_id="a", digest=D1, stored_key="k", size=1, now=0)
        assert not instances.add_dictionary(connection, site_id="a", digest=D1, stored_key="l", size=1, now=0)
        assert instances.find_dictionary(connection, "a", D1) == "k"
        assert instances.find_dictionary(connection, "b", D1) is None


def test_the_audit_trail_refuses_every_change(index: Index, tmp_path: Path):
    with index.write() as connection:
        trail.record(connection, at=1, actor="me", role="shell", action="hub.show", detail="x" * 900)
    with sqlite3.connect(tmp_path / "hub" / "hub.db") as database:
        assert len(database.execute("SELECT detail FROM audit_event").fetchone()[0]) == 500
        for change in ("UPDATE audit_event SET actor = 'you'", "DELETE FROM audit_event"):
            with pytest.raises(sqlite3.IntegrityError, match="never changed"):
                database.execute(change)
    database.close()


def test_a_site_that_is_not_there_can_not_be_revoked(index: Index):
    with pytest.raises(NotFoundError), index.write() as connection:
        sites.revoke(connection, "zz", 1)
