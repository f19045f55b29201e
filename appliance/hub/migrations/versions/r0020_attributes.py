"""Studies are found by their attributes. What is here already is filled in by `backfill`, study by study."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0010"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Tables of patients, studies, series and instances; who sees a study; and how far they are filled."""
    _patients()
    _studies()
    _series()
    _instances()
    _sees()
    _backfill()


def _texts(names: str, length: int = 256) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.String(length=length), nullable=False) for name in names.split()]


def _content() -> sa.Column[str]:
    return sa.Column("content", sa.Text(), nullable=False)


def _of(table: str, owner: str) -> tuple[sa.Column[int], sa.ForeignKeyConstraint, sa.PrimaryKeyConstraint]:
    """The row of an owner as a table's key."""
    column = f"{owner}_id"
    return (
        sa.Column(column, _ROW_ID, autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint([column], [f"{owner}.id"], name=op.f(f"fk_{table}_{column}")),
        sa.PrimaryKeyConstraint(column, name=op.f(f"pk_{table}")),
    )


def _indexes(table: str, *columns: str, unique: bool = False) -> None:
    for column in columns:
        names = column.split()
        op.create_index(op.f(f"ix_{table}_{'_'.join(names)}"), table, names, unique=unique)


def _patients() -> None:
    op.create_table(
        "patient",
        sa.Column("id", _ROW_ID, nullable=False),
        *_texts("domain", 300),
        *_texts("patient_id issuer_of_patient_id name_alphabetic name_ideographic name_phonetic"),
        *_texts("birth_date", 8),
        *_texts("sex"),
        _content(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_patient")),
    )
    _indexes("patient", "domain patient_id", unique=True)
    _indexes("patient", "patient_id", "name_alphabetic")


def _studies() -> None:
    op.create_table(
        "study_key",
        *_of("study_key", "study"),
        sa.Column("patient_row", _ROW_ID, nullable=False),
        *_texts("study_instance_uid", 64),
        *_texts("study_date", 8),
        *_texts("study_time", 12),
        *_texts("patient_id issuer_of_patient_id name_alphabetic name_ideographic name_phonetic"),
        *_texts("birth_date", 8),
        *_texts("sex accession_number study_identifier"),
        *_texts("referring_alphabetic referring_ideographic referring_phonetic description"),
        *_texts("modalities sop_classes body_parts", 1024),
        sa.ForeignKeyConstraint(["patient_row"], ["patient.id"], name=op.f("fk_study_key_patient_row")),
    )
    _indexes("study_key", "study_date study_time study_id")
    _indexes("study_key", "study_instance_uid", unique=True)
    _indexes("study_key", "patient_row", "patient_id", "name_alphabetic", "accession_number")
    op.create_table("study_content", *_of("study_content", "study"), _content())


def _series() -> None:
    op.create_table(
        "series_key",
        *_of("series_key", "series"),
        sa.Column("study_id", _ROW_ID, nullable=False),
        *_texts("series_instance_uid", 64),
        *_texts("modality"),
        sa.Column("number", sa.BigInteger(), nullable=False),
        *_texts("body_part description"),
        *_texts("series_date", 8),
        *_texts("series_time", 12),
        *_texts("step_date", 8),
        *_texts("step_time", 12),
        *_texts("protocol station institution"),
        _content(),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_series_key_study_id")),
    )
    _indexes("series_key", "study_id number series_id", "series_instance_uid")
    op.create_table(
        "series_request",
        sa.Column("series_id", _ROW_ID, autoincrement=False, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        *_texts("scheduled_step requested_procedure accession_number"),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name=op.f("fk_series_request_series_id")),
        sa.PrimaryKeyConstraint("series_id", "position", name=op.f("pk_series_request")),
    )
    _indexes("series_request", "scheduled_step", "requested_procedure")


def _instances() -> None:
    op.create_table(
        "instance_content",
        *_of("instance_content", "instance"),
        sa.Column("number", sa.BigInteger(), nullable=False),
        _content(),
    )


def _sees() -> None:
    """Of the sites that sent a study, the first one sees it."""
    op.add_column("study_site", sa.Column("sees", sa.Boolean(), server_default=sa.true(), nullable=False))
    link = sa.table("study_site", *(sa.column(name) for name in ("study_id", "site_id", "first_at", "sees")))
    earlier = link.alias("earlier")
    before = (earlier.c.first_at < link.c.first_at) | (
        (earlier.c.first_at == link.c.first_at) & (earlier.c.site_id < link.c.site_id)
    )
    is_later = sa.exists().where(earlier.c.study_id == link.c.study_id, before)
    op.execute(link.update().where(is_later).values(sees=sa.false()))


def _backfill() -> None:
    table = op.create_table(
        "attribute_backfill",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("study_id", sa.BigInteger(), nullable=False),
        sa.Column("instance_id", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_attribute_backfill_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attribute_backfill")),
    )
    row = sa.column("id", sa.BigInteger())
    newest = sa.select(sa.func.coalesce(sa.func.max(row), 0)).select_from(sa.table("study"))
    op.execute(table.insert().values(id=1, study_id=newest.scalar_subquery(), instance_id=0))
