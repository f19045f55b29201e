"""Which attributes the index keeps of each level, for answers (PS3.4 C.6.1.1, C.6.2.1; PS3.18 10.6.1.2, 10.6.3.3)."""

from __future__ import annotations

from typing import Final

from pydicom.datadict import tag_for_keyword


def _tags(keywords: str) -> frozenset[int]:
    return frozenset(tag for keyword in keywords.split() if (tag := tag_for_keyword(keyword)) is not None)


PATIENT: Final = _tags(
    """PatientName PatientID IssuerOfPatientID TypeOfPatientID IssuerOfPatientIDQualifiersSequence PatientBirthDate
    PatientBirthTime PatientSex OtherPatientIDs OtherPatientIDsSequence OtherPatientNames EthnicGroup PatientComments
    PatientSpeciesDescription ResponsiblePerson"""
)
STUDY: Final = _tags(
    """StudyInstanceUID StudyDate StudyTime AccessionNumber IssuerOfAccessionNumberSequence StudyID StudyDescription
    ProcedureCodeSequence ReferringPhysicianName PhysiciansOfRecord NameOfPhysiciansReadingStudy
    ConsultingPhysicianName AdmittingDiagnosesDescription PatientAge PatientSize PatientWeight Occupation
    AdditionalPatientHistory PregnancyStatus RequestedProcedureDescription RequestingPhysician RequestingService
    StudyComments TimezoneOffsetFromUTC"""
)
SERIES: Final = _tags(
    """SeriesInstanceUID Modality SeriesNumber SeriesDescription SeriesDescriptionCodeSequence SeriesDate SeriesTime
    Laterality BodyPartExamined AnatomicRegionSequence PatientPosition ProtocolName OperatorsName
    PerformingPhysicianName PerformedProcedureStepID PerformedProcedureStepStartDate PerformedProcedureStepStartTime
    PerformedProcedureStepDescription RequestAttributesSequence FrameOfReferenceUID InstitutionName
    InstitutionalDepartmentName StationName Manufacturer ManufacturerModelName DeviceSerialNumber SoftwareVersions
    TimezoneOffsetFromUTC"""
)
INSTANCE: Final = _tags(
    """SOPClassUID SOPInstanceUID InstanceNumber ImageType ContentDate ContentTime AcquisitionDate AcquisitionTime
    AcquisitionDateTime AcquisitionNumber InstanceCreationDate InstanceCreationTime Rows Columns BitsAllocated
    NumberOfFrames PhotometricInterpretation LossyImageCompression ConceptNameCodeSequence CompletionFlag
    VerificationFlag ContentLabel ContentDescription ContentCreatorName DocumentTitle MIMETypeOfEncapsulatedDocument
    TimezoneOffsetFromUTC"""
)
EVERY: Final = PATIENT | STUDY | SERIES | INSTANCE
LAST: Final = max(EVERY)
