"""The attributes that are kept for searching: one table, used by all (PS3.4 §C.6).

The index makes its columns from it, the header parser its list of wanted tags,
C-FIND its answers, and the reference its page.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Level(StrEnum):
    """Query/Retrieve Level (0008,0052), from the top."""

    PATIENT = "PATIENT"
    STUDY = "STUDY"
    SERIES = "SERIES"
    IMAGE = "IMAGE"


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute of one level.

    Attributes:
        tag: Group and element.
        keyword: The standard's name of it (PS3.6).
        vr: Value representation; where the standard leaves a choice, ours.
        level: Of which entity it tells.
        indexed: It has a column of its own in the index and is matched in SQL.
        computed: It is counted or gathered by the index, never read from a file.
    """

    tag: int
    keyword: str
    vr: str
    level: Level
    indexed: bool = False
    computed: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.tag <= 0xFFFF_FFFF or len(self.vr) != 2:
            raise ValueError("an attribute has a tag and a value representation")

    @property
    def hex(self) -> str:
        """The tag as the DICOM JSON model writes it (PS3.18 §F.2.2)."""
        return f"{self.tag:08X}"


# tag, keyword, VR; "*": has a column of its own; "#": computed by the index.
_PATIENT = """
00100010 PatientName PN *
00100020 PatientID LO *
00100021 IssuerOfPatientID LO *
00100030 PatientBirthDate DA *
00100032 PatientBirthTime TM *
00100040 PatientSex CS *
00101000 OtherPatientIDs LO
00101001 OtherPatientNames PN
00101002 OtherPatientIDsSequence SQ
00102160 EthnicGroup SH *
00102201 PatientSpeciesDescription LO
00102292 PatientBreedDescription LO
00102297 ResponsiblePerson PN
00104000 PatientComments LT
00201200 NumberOfPatientRelatedStudies IS #
00201202 NumberOfPatientRelatedSeries IS #
00201204 NumberOfPatientRelatedInstances IS #
"""
_STUDY = """
00080005 SpecificCharacterSet CS
00080020 StudyDate DA *
00080030 StudyTime TM *
00080050 AccessionNumber SH *
00080051 IssuerOfAccessionNumberSequence SQ
00080061 ModalitiesInStudy CS #
00080062 SOPClassesInStudy UI #
00080090 ReferringPhysicianName PN *
00080201 TimezoneOffsetFromUTC SH
00081030 StudyDescription LO *
00081032 ProcedureCodeSequence SQ
00081060 NameOfPhysiciansReadingStudy PN *
00081080 AdmittingDiagnosesDescription LO *
00101010 PatientAge AS *
00101020 PatientSize DS *
00101030 PatientWeight DS *
00102180 Occupation SH *
001021B0 AdditionalPatientHistory LT
0020000D StudyInstanceUID UI *
00200010 StudyID SH *
00201070 OtherStudyNumbers IS *
00201206 NumberOfStudyRelatedSeries IS #
00201208 NumberOfStudyRelatedInstances IS #
"""
_SERIES = """
00080021 SeriesDate DA *
00080031 SeriesTime TM *
00080060 Modality CS *
00080070 Manufacturer LO *
00080080 InstitutionName LO *
00080081 InstitutionAddress ST
00081010 StationName SH *
0008103E SeriesDescription LO *
00081040 InstitutionalDepartmentName LO *
00081050 PerformingPhysicianName PN *
00081070 OperatorsName PN *
00081090 ManufacturerModelName LO *
00180015 BodyPartExamined CS *
00181030 ProtocolName LO *
00185100 PatientPosition CS
0020000E SeriesInstanceUID UI *
00200011 SeriesNumber IS *
00200052 FrameOfReferenceUID UI
00200060 Laterality CS *
00201209 NumberOfSeriesRelatedInstances IS #
00400244 PerformedProcedureStepStartDate DA *
00400245 PerformedProcedureStepStartTime TM *
00400253 PerformedProcedureStepID SH *
00400254 PerformedProcedureStepDescription LO
00400275 RequestAttributesSequence SQ
"""
_IMAGE = """
00080008 ImageType CS
00080016 SOPClassUID UI *
00080018 SOPInstanceUID UI *
00080022 AcquisitionDate DA *
00080023 ContentDate DA *
0008002A AcquisitionDateTime DT *
00080032 AcquisitionTime TM *
00080033 ContentTime TM *
0008001A RelatedGeneralSOPClassUID UI
00200012 AcquisitionNumber IS *
00200013 InstanceNumber IS *
00280002 SamplesPerPixel US
00280004 PhotometricInterpretation CS
00280008 NumberOfFrames IS *
00280010 Rows US *
00280011 Columns US *
00280100 BitsAllocated US *
00280101 BitsStored US
00280103 PixelRepresentation US
0040A043 ConceptNameCodeSequence SQ
0040A491 CompletionFlag CS
0040A493 VerificationFlag CS
0040A504 ContentTemplateSequence SQ
00400512 ContainerIdentifier LO
00420010 DocumentTitle ST
00700080 ContentLabel CS
00700081 ContentDescription LO
"""


def _read(level: Level, table: str) -> tuple[Attribute, ...]:
    rows = (line.split() for line in table.strip().splitlines())
    return tuple(
        Attribute(
            tag=int(row[0], 16),
            keyword=row[1],
            vr=row[2],
            level=level,
            indexed="*" in row[3:],
            computed="#" in row[3:],
        )
        for row in rows
    )


ATTRIBUTES: Final[tuple[Attribute, ...]] = (
    *_read(Level.PATIENT, _PATIENT),
    *_read(Level.STUDY, _STUDY),
    *_read(Level.SERIES, _SERIES),
    *_read(Level.IMAGE, _IMAGE),
)
BY_TAG: Final[Mapping[int, Attribute]] = MappingProxyType(
    {each.tag: each for each in ATTRIBUTES}
)
BY_KEYWORD: Final[Mapping[str, Attribute]] = MappingProxyType(
    {each.keyword: each for each in ATTRIBUTES}
)
BY_LEVEL: Final[Mapping[Level, tuple[Attribute, ...]]] = MappingProxyType(
    {
        level: tuple(each for each in ATTRIBUTES if each.level is level)
        for level in Level
    }
)
