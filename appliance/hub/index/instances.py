"""Studies, series, instances and their receipts: filed once, found again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, Table, insert, select, update

from appliance.errors import DatabaseError
from appliance.hub.index.attributes import Attributes, content_of
from appliance.hub.index.tables import header_dictionary, instance, parcel, receipt, series, study, study_site
from appliance.model.identity import InstanceIdentity
from appliance.model.receipt import Receipt
from appliance.part10.attributes import Content

_PATIENT = ("patient_name", "patient_id", "issuer_of_patient_id", "patient_birth_date", "patient_sex")
STUDY_FIELDS = (
    *_PATIENT,
    "accession_number",
    "study_description",
    "study_date",
    "study_time",
    "referring_physician",
)
_SERIES = ("modality", "body_part", "series_description", "series_number")


@dataclass(frozen=True)
class Stored:
    """The objects of an instance, durable in the store; `digest` and `size` are those of the Part 10 file."""

    form: str
    key: str
    digest: bytes
    size: int
    recipe_key: str | None = None


@dataclass(frozen=True)
class Archived:
    """An instance ready to be filed; `digest` and `size` are of its data set. Not `stored`: it was held before.

    `header`: the attributes to be found by.
    """

    identity: InstanceIdentity
    transfer_syntax_uid: str
    digest: bytes
    size: int
    calling_ae: str
    received_at: int
    stored: Stored | None
    header: Content = field(default_factory=dict)


def is_other_patient(known: Mapping[str, str], identity: InstanceIdentity) -> bool:
    """Whether an instance names another patient than its study does.

    What one of the two leaves empty says nothing: many devices leave the birth date out of what they derive.
    """
    pairs = ((known[name], getattr(identity, name)) for name in _PATIENT)
    return any(one and other and _folded(one) != _folded(other) for one, other in pairs)


def _folded(text: str) -> str:
    """Without what devices change in a name: case, and separators at the end (PS3.5 6.2.1.2)."""
    return " ".join(text.rstrip("^= ").casefold().split())


class Filing:
    """Files the instances of one parcel inside one transaction."""

    def __init__(self, connection: Connection, *, site_id: str, parcel_id: int, priority: int, now: int) -> None:
        self._connection = connection
        self._site_id, self._parcel_id, self._priority, self._now = site_id, parcel_id, priority, now
        self._attributes = Attributes(connection)
        self._studies: dict[str, int] = {}
        self._series: dict[tuple[int, str], int] = {}

    def file(self, position: int, item: Archived) -> bool:
        """Files it, with its receipt. False: these very bytes were held before, so its objects are not needed."""
        study_id, same_patient = self._study(item.identity)
        known = self._connection.execute(
            select(instance.c.id).where(
                instance.c.sop_instance_uid == item.identity.sop_instance_uid, instance.c.digest == item.digest
            )
        ).scalar()
        instance_id = known or self._add(study_id, item, same_patient=same_patient)
        self._connection.execute(
            insert(receipt).values(parcel_id=self._parcel_id, position=position, instance_id=instance_id)
        )
        return known is None

    def _study(self, identity: InstanceIdentity) -> tuple[int, bool]:
        """Its row, and whether it is of the patient that the instance names."""
        uid = identity.study_instance_uid
        if uid not in self._studies:
            row = self._connection.execute(select(study).where(study.c.study_instance_uid == uid)).one_or_none()
            self._studies[uid] = row.id if row else self._add_study(identity)
            self._note_study(self._studies[uid])
        study_id = self._studies[uid]
        patient = select(*(study.c[name] for name in _PATIENT)).where(study.c.id == study_id)
        other = is_other_patient(self._connection.execute(patient).one()._asdict(), identity)
        if other:
            self._connection.execute(update(study).where(study.c.id == study_id).values(identity_conflict=True))
        return study_id, not other

    def _add_study(self, identity: InstanceIdentity) -> int:
        values = {name: getattr(identity, name) for name in STUDY_FIELDS}
        counters = {"series": 0, "instances": 0, "bytes": 0, "conflicts": 0, "identity_conflict": False}
        times = {"first_held_at": self._now, "last_held_at": self._now, "priority": self._priority}
        uid = identity.study_instance_uid
        return self._insert(study, study_instance_uid=uid, **values, **counters, **times)

    def _note_study(self, study_id: int) -> None:
        """This site sent something of the study, with this priority. The first one sees it."""
        this = study.c.id == study_id
        sooner = this & (study.c.priority > self._priority)
        self._connection.execute(update(study).where(sooner).values(priority=self._priority))
        sites = select(study_site.c.site_id).where(study_site.c.study_id == study_id)
        known = self._connection.execute(sites).scalars().all()
        if self._site_id not in known:
            values = {"study_id": study_id, "site_id": self._site_id, "first_at": self._now, "sees": not known}
            self._connection.execute(insert(study_site).values(**values))

    def _series_of(self, study_id: int, identity: InstanceIdentity) -> int:
        key = (study_id, identity.series_instance_uid)
        if key not in self._series:
            this = (series.c.study_id == study_id) & (series.c.series_instance_uid == identity.series_instance_uid)
            known = self._connection.execute(select(series.c.id).where(this)).scalar()
            self._series[key] = known or self._add_series(study_id, identity)
        return self._series[key]

    def _add_series(self, study_id: int, identity: InstanceIdentity) -> int:
        self._bump(study, study_id, series=1)
        values = {name: getattr(identity, name) for name in _SERIES}
        uid = identity.series_instance_uid
        return self._insert(series, study_id=study_id, series_instance_uid=uid, instances=0, **values)

    def _add(self, study_id: int, item: Archived, *, same_patient: bool) -> int:
        stored = item.stored
        if stored is None:
            raise DatabaseError("The index lost an instance while a parcel was checked")
        series_id = self._series_of(study_id, item.identity)
        conflict = self._flag_others(item.identity.sop_instance_uid)
        instance_id = self._insert(
            instance,
            study_id=study_id,
            series_id=series_id,
            sop_class_uid=item.identity.sop_class_uid,
            sop_instance_uid=item.identity.sop_instance_uid,
            transfer_syntax_uid=item.transfer_syntax_uid,
            instance_number=item.identity.instance_number,
            frames=item.identity.number_of_frames,
            digest=item.digest,
            bytes=item.size,
            form=stored.form,
            stored_key=stored.key,
            stored_digest=stored.digest,
            stored_bytes=stored.size,
            recipe_key=stored.recipe_key,
            conflict=conflict,
            calling_ae=item.calling_ae[:64],
            received_at=item.received_at,
            held_at=self._now,
        )
        self._bump(study, study_id, instances=1, bytes=item.size, conflicts=int(conflict))
        self._connection.execute(update(study).where(study.c.id == study_id).values(last_held_at=self._now))
        self._bump(series, series_id, instances=1)
        content = content_of(item.identity, item.header)
        self._attributes.file(study_id, series_id, instance_id, content, same_patient=same_patient)
        return instance_id

    def _flag_others(self, sop_instance_uid: str) -> bool:
        """Flags what is held under this UID with other bytes, and says whether there is any."""
        same = instance.c.sop_instance_uid == sop_instance_uid
        others = self._connection.execute(
            select(instance.c.id, instance.c.study_id, instance.c.conflict).where(same)
        ).all()
        for other in others:
            if not other.conflict:
                self._connection.execute(update(instance).where(instance.c.id == other.id).values(conflict=True))
                self._bump(study, other.study_id, conflicts=1)
        return bool(others)

    def _insert(self, table: Table, **values: object) -> int:
        key = self._connection.execute(insert(table).values(**values)).inserted_primary_key
        return int(key[0])  # type: ignore[index]

    def _bump(self, table: Table, row_id: int, **by: int) -> None:
        columns = table.c
        values = {name: columns[name] + amount for name, amount in by.items()}
        self._connection.execute(update(table).where(columns.id == row_id).values(**values))


def receipts_of(connection: Connection, parcel_id: int) -> tuple[Receipt, ...]:
    """The receipts of a verified parcel, in its order."""
    query = (
        select(instance.c.sop_instance_uid, instance.c.digest, instance.c.held_at, instance.c.conflict)
        .join(receipt, receipt.c.instance_id == instance.c.id)
        .where(receipt.c.parcel_id == parcel_id)
        .order_by(receipt.c.position)
    )
    return tuple(_receipt(*row) for row in connection.execute(query))


def receipt_of(connection: Connection, site_id: str, sop_instance_uid: str, digest: bytes) -> Receipt | None:
    """The receipt of an instance that this site delivered."""
    query = (
        select(instance.c.sop_instance_uid, instance.c.digest, instance.c.held_at, instance.c.conflict)
        .join(receipt, receipt.c.instance_id == instance.c.id)
        .join(parcel, parcel.c.id == receipt.c.parcel_id)
        .where(
            instance.c.sop_instance_uid == sop_instance_uid,
            instance.c.digest == digest,
            parcel.c.site_id == site_id,
        )
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return _receipt(*row) if row else None


def _receipt(sop_instance_uid: str, digest: bytes, held_at: int, conflict: bool) -> Receipt:
    return Receipt(sop_instance_uid=sop_instance_uid, digest=digest.hex(), held_at=held_at, conflict=conflict)


def find_dictionary(connection: Connection, site_id: str, digest: bytes) -> str | None:
    """The store key of a header that this site may name as a dictionary."""
    this = (header_dictionary.c.site_id == site_id) & (header_dictionary.c.digest == digest)
    return connection.execute(select(header_dictionary.c.stored_key).where(this)).scalar()


def add_dictionary(
    connection: Connection, *, site_id: str, digest: bytes, stored_key: str, size: int, now: int
) -> bool:
    """Lets the site name this header from now on. False: it may already."""
    if find_dictionary(connection, site_id, digest):
        return False
    connection.execute(
        insert(header_dictionary).values(site_id=site_id, digest=digest, stored_key=stored_key, bytes=size, held_at=now)
    )
    return True


def held(connection: Connection, identities: Sequence[tuple[str, bytes]]) -> set[tuple[str, bytes]]:
    """Those of the given (SOP Instance UID, digest) that are held already."""
    found = set()
    for uid, digest in identities:
        this = (instance.c.sop_instance_uid == uid) & (instance.c.digest == digest)
        if connection.execute(select(instance.c.id).where(this)).scalar() is not None:
            found.add((uid, digest))
    return found
