"""Which presentation contexts are taken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import AllTransferSyntaxes
from pynetdicom import AllStoragePresentationContexts, QueryRetrievePresentationContexts, sop_class

from appliance.dimse.negotiation import TRANSFER_SYNTAXES, VERIFICATION, accepted, negotiate, storage_offer
from appliance.dimse.pdu import ProposedContext

EXPLICIT, IMPLICIT, DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99"
OFFER = storage_offer()


def result_of(abstract: str, *transfers: str, deflated: bool = False) -> tuple[int, str]:
    (result,) = negotiate((ProposedContext(1, abstract, transfers),), storage_offer(deflated=deflated))
    return result.result, result.transfer_syntax


@pytest.mark.parametrize("uid", [str(c.abstract_syntax) for c in AllStoragePresentationContexts])
def test_every_storage_sop_class_is_taken(uid: str) -> None:
    assert result_of(uid, EXPLICIT) == (0, EXPLICIT)


@pytest.mark.parametrize(
    "uid",
    [
        VERIFICATION,
        "1.2.840.10008.1.20.1",  # storage commitment, push model
        "1.2.840.10008.3.1.2.3.3",  # modality performed procedure step
        "1.2.840.10008.5.1.4.1.1.3",  # retired Ultrasound Multi-frame
        "1.2.840.10008.5.1.4.1.1.88.1",  # retired Text SR trial
        "1.2.840.113619.4.26",  # private (GE 3D model)
        "1.3.46.670589.5.0.1",  # private (Philips)
        "1.2.840.10008.5.1.4.1.1.999",  # of a later edition of the standard
    ],
)
def test_what_a_modality_needs_and_retired_private_and_unknown_classes_are_taken(uid: str) -> None:
    assert result_of(uid, IMPLICIT) == (0, IMPLICIT)


@pytest.mark.parametrize(
    "uid",
    [str(c.abstract_syntax) for c in QueryRetrievePresentationContexts]
    + [
        "1.2.840.10008.1.20.2",  # storage commitment, pull model
        "1.2.840.10008.1.3.10",  # a DICOMDIR
        sop_class.HangingProtocolStorage,  # type: ignore[attr-defined]
        EXPLICIT,
        "1.2.840.10008.3.1.1.1",
        "",
        "../../etc/passwd",
        "1.2.x",
    ],
)
def test_what_is_no_object_of_a_study_is_refused(uid: str) -> None:
    assert result_of(uid, EXPLICIT)[0] == 3


@pytest.mark.parametrize("uid", [str(uid) for uid in AllTransferSyntaxes])
def test_every_transfer_syntax_is_taken_but_deflated_and_referenced_ones(uid: str) -> None:
    refused = {DEFLATED, "1.2.840.10008.1.2.4.204", "1.2.840.10008.1.2.4.205"}
    assert result_of("1.2.840.10008.5.1.4.1.1.2", uid)[0] == (4 if uid in refused else 0)


def test_deflated_is_offered_only_when_the_configuration_says_so() -> None:
    assert result_of("1.2.840.10008.5.1.4.1.1.2", DEFLATED, deflated=True) == (0, DEFLATED)
    assert result_of("1.2.840.10008.5.1.4.1.1.2", DEFLATED)[0] == 4


def test_the_first_acceptable_encoding_that_the_sender_names_is_taken() -> None:
    jpeg = "1.2.840.10008.1.2.4.70"
    assert result_of("1.2.840.10008.5.1.4.1.1.2", DEFLATED, jpeg, EXPLICIT) == (0, jpeg)
    assert result_of("1.2.840.10008.5.1.4.1.1.2", IMPLICIT, jpeg) == (0, IMPLICIT)


@given(
    st.lists(
        st.builds(
            ProposedContext,
            st.integers(0, 127).map(lambda number: 2 * number + 1),
            st.one_of(st.text(max_size=70), st.sampled_from([VERIFICATION, "1.2.840.10008.5.1.4.1.1.2"])),
            st.lists(st.one_of(st.text(max_size=70), st.sampled_from([*TRANSFER_SYNTAXES])), max_size=4).map(tuple),
        ),
        max_size=20,
        unique_by=lambda context: context.id,
    ).map(tuple)
)
def test_each_proposed_context_gets_one_answer_and_only_the_accepted_can_be_used(
    proposed: tuple[ProposedContext, ...],
) -> None:
    results = negotiate(proposed, OFFER)
    assert [result.id for result in results] == [context.id for context in proposed]
    usable = accepted(proposed, results)
    assert set(usable) == {result.id for result in results if result.result == 0}
    for context in proposed:
        if context.id in usable:
            assert usable[context.id].transfer_syntax in context.transfer_syntaxes
