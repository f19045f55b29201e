"""What the hub says about a parcel, over the line and on a stick: a fact of the index."""

from __future__ import annotations

from sqlalchemy import Connection

from appliance.hub.index import instances, parcels
from appliance.model.receipt import ParcelVerdict, Verdict


def verdict_of(connection: Connection, site: str, digest: bytes) -> ParcelVerdict:
    """The verdict on the site's own parcel; with the receipts when it is verified."""
    parcel = parcels.find_by_digest(connection, site, digest)
    if parcel is None:
        return ParcelVerdict(parcel=digest.hex(), verdict=Verdict.UNKNOWN)
    verified = parcel.verdict is Verdict.VERIFIED
    return ParcelVerdict(
        parcel=digest.hex(),
        verdict=parcel.verdict,
        offset=parcel.offset,
        refusal=parcel.refusal,
        reason=parcel.reason,
        receipts=instances.receipts_of(connection, parcel.id) if verified else (),
    )
