"""Site secrets: made, parsed, compared."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.hub.credentials import Credential, accepts, new_secret, parse_bearer
from appliance.hub.index.sites import Site


def a_site(secret_digest: bytes) -> Site:
    return Site("site-1", "One", secret_digest, 0, None, None, None)


def test_a_fresh_secret_is_accepted_and_only_its_digest_is_kept():
    secret, digest = new_secret("site-1")
    credential = parse_bearer(f"Bearer {secret}")
    assert credential is not None
    assert credential.site == "site-1"
    assert accepts(a_site(digest), credential)
    assert secret.partition(".")[2].encode() not in digest
    assert digest == hashlib.sha256(secret.partition(".")[2].encode()).digest()


def test_two_secrets_are_never_the_same():
    assert len({new_secret("a")[0] for _ in range(50)}) == 50


def test_the_secret_is_the_part_behind_the_dot_as_the_unit_sends_it():
    secret, digest = new_secret("a")
    padded = parse_bearer(f"Bearer {secret}=")
    assert padded is not None
    assert padded.secret_digest == digest


@pytest.mark.parametrize("kept", [None, "other", "revoked"])
def test_an_unknown_site_another_secret_and_a_revoked_site_are_refused_alike(kept: str | None):
    secret, digest = new_secret("site-1")
    credential = parse_bearer(f"Bearer {secret}")
    assert credential is not None
    site = {
        None: None,
        "other": a_site(bytes(32)),
        "revoked": replace(a_site(digest), revoked_at=5),
    }[kept]
    assert not accepts(site, credential)


def test_nobody_gets_in_with_the_digest_that_stands_for_nobody():
    assert not accepts(None, Credential("x", bytes(32)))


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Basic c2l0ZTpwdw==",
        "Bearer site-1",
        "Bearer site-1.",
        "Bearer site-1.short",
        "Bearer SITE." + "a" * 43,
        "Bearer ../x." + "a" * 43,
        "Bearer site-1." + "a" * 44,
        "Bearer site-1." + "a" * 42 + "!",
        "Bearer  site-1." + "a" * 43,
        "Bearer site-1." + "a" * 43 + "\n",
    ],
)
def test_what_is_no_credential_of_ours_is_none(header: str | None):
    assert parse_bearer(header) is None


@given(st.text())
def test_no_header_however_hostile_breaks_the_parser(header: str):
    credential = parse_bearer(header)
    assert credential is None or len(credential.secret_digest) == 32
