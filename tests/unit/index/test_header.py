"""What the header parser reads is what the index finds."""

from datetime import UTC, datetime
from hashlib import sha256

import pytest
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from leadglass.access.scopes import EVERYTHING
from leadglass.database.engine import Database
from leadglass.dicom import matching
from leadglass.dicom.attributes import Level
from leadglass.dicom.header import Header, HeaderReader
from leadglass.dicom.transfer_syntaxes import EXPLICIT_VR_LE, TRANSFER_SYNTAXES
from leadglass.dicom.uids import UID
from leadglass.index.index import Index
from leadglass.index.query import Query
from leadglass.index.records import InstanceRecord, Kind
from tests.unit.index.samples import CT, keys

INDEX = Index()


def header() -> Header:
    item = Dataset()
    item.RequestedProcedureID = "RP7"
    said = Dataset()
    said.SpecificCharacterSet = "ISO_IR 192"
    said.SOPClassUID, said.SOPInstanceUID = CT, "1.1.1"
    said.StudyInstanceUID, said.SeriesInstanceUID = "1", "1.1"
    said.StudyDate, said.StudyTime = "20240517", "101500.25"
    said.PatientName, said.PatientID = "Müller^Jürgen=山田", "P 1"
    said.Modality, said.InstitutionName = "CT", "Nörd"
    said.OperatorsName = ["Op^Eins", "Op^Zwei"]
    said.SeriesNumber, said.InstanceNumber, said.Rows = 3, 4, 512
    said.PatientWeight = "70.50"
    said.RequestAttributesSequence = [item]
    held = DicomBytesIO()
    held.is_little_endian, held.is_implicit_VR = True, False
    write_dataset(held, said)
    reader = HeaderReader(TRANSFER_SYNTAXES[EXPLICIT_VR_LE])
    reader.feed(held.getvalue())
    return reader.finish()


@pytest.mark.parametrize(
    "asked",
    [
        {"PatientName": "MULLER*"},
        {"PatientName": "山田"},
        {"PatientID": "P 1"},
        {"StudyDate": "20240517", "StudyTime": "1015-1016"},
        {"ModalitiesInStudy": "CT"},
        {"InstitutionName": "Nörd"},
        {"OperatorsName": "op^zwei"},
        {"SeriesNumber": "3"},
        {"Rows": "512"},
        {
            "RequestAttributesSequence": matching.Sequence(
                keys(RequestedProcedureID="RP7")
            )
        },
    ],
)
def test_what_a_header_says_is_found(
    database: Database, asked: dict[str, str | matching.Match]
) -> None:
    read = header()
    each = InstanceRecord(
        study_uid=read.uid(0x0020000D),
        series_uid=read.uid(0x0020000E),
        instance_uid=read.uid(0x00080018),
        sop_class_uid=read.uid(0x00080016),
        transfer_syntax_uid=UID(EXPLICIT_VR_LE),
        attributes=read,
        blob="b",
        key_id="k",
        digest=sha256().digest(),
        blob_bytes=read.length,
        data_set_offset=0,
        data_set_bytes=read.length,
        source="CT1",
        received_at=datetime.now(UTC),
    )
    assert database.write(lambda tx: INDEX.add(tx, each)).kind is Kind.NEW
    for level in (Level.STUDY, Level.IMAGE):
        query = Query(
            level=level, keys=keys(**asked), scopes=(EVERYTHING,), relational=True
        )
        with database.read() as connection:
            (row,) = INDEX.find(connection, query)
        assert row.json["00100010"]["Value"][0]["Ideographic"] == "山田"
        assert row.json["00101030"]["Value"] == [70.5]
