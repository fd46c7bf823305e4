"""WADO-RS (PS3.18 §10.4): instances and their metadata.

Instances leave as they are stored, unless a client asks for another transfer syntax
and says which; the only other one there is is Explicit VR Little Endian.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPMethod, HTTPStatus
from typing import Final

from leadglass.access.rights import Right
from leadglass.archive.fetch import InstanceLocation, Retrieval
from leadglass.archive.metadata import Metadata, bulk_url, events
from leadglass.archive.viewing import Viewings
from leadglass.audit.builders import Service
from leadglass.dicom.model.xml import xml_pieces
from leadglass.dicom.part10 import FileMeta, encode_part10_header
from leadglass.dicom.transfer_syntaxes import EXPLICIT_VR_LE
from leadglass.dicom.uids import UID
from leadglass.pixels.transcode import DECODABLE, Transcoder
from leadglass.servers.dicomweb.outgoing import (
    MULTIPART,
    Begun,
    Part,
    about,
    begin,
    entity_tag,
    not_acceptable,
    several,
    single,
    unchanged,
    url_of,
    wishes,
)
from leadglass.servers.dicomweb.respond import FORMS, JSON, XML, Form, choose
from leadglass.servers.http.answers import Answer
from leadglass.servers.http.routes import About, Call, Handler, Route

DICOM: Final = "application/dicom"
OCTETS: Final = "application/octet-stream"
STUDY: Final = "/studies/{study}"
SERIES: Final = STUDY + "/series/{series}"
INSTANCE: Final = SERIES + "/instances/{instance}"


@dataclass(frozen=True, slots=True)
class Retrieve:
    """Answers what asks for stored instances.

    Attributes:
        viewings: The use case.
        transcoder: For other transfer syntaxes.
        root: Path of the service.
        service: By which name it stands on the record.
    """

    viewings: Viewings
    transcoder: Transcoder
    root: str = "/dicom-web"
    service: Service = Service.WADO_RS

    def routes(self) -> Iterator[Route]:
        """Yield the routes of §10.4.1.1.1 and §10.4.1.1.2."""
        levels = (
            (STUDY, "of a study"),
            (SERIES, "of a series"),
            (INSTANCE, "of one"),
        )
        for path, which in levels:
            yield self._route(
                path,
                Right.GET,
                self.instances,
                about(
                    f"Retrieve instances {which}",
                    (MULTIPART, DICOM),
                    statuses=(HTTPStatus.PARTIAL_CONTENT,),
                ),
            )
            yield self._route(
                f"{path}/metadata",
                Right.VIEW,
                self.metadata,
                about(f"Retrieve metadata {which}", FORMS),
            )

    def _route(
        self, template: str, access: Right, handler: Handler, told: About
    ) -> Route:
        return Route(
            method=HTTPMethod.GET,
            template=self.root + template,
            access=access,
            handler=handler,
            about=told,
        )

    # --- instances --------------------------------------------------------------------

    def instances(self, call: Call) -> Answer:
        """Answer with whole instances, as Part 10 files."""
        wanted = [each for each in wishes(call) if each.takes(DICOM)]
        is_single = "instance" in call.path and any(
            each.is_single and each.kind != "*/*" for each in wanted[:1]
        )
        wanted = [each for each in wanted if is_single or each.is_multipart]
        syntaxes = frozenset(each.syntax for each in wanted)
        if not syntaxes:
            raise not_acceptable(f"there is {DICOM}, in multipart/related")
        retrieval = begin(self.viewings, call, Right.GET, self.service)
        targets = {
            each.instance_uid: _target(each, syntaxes) for each in retrieval.locations
        }
        if not any(targets.values()):
            retrieval.finish()
            raise not_acceptable("there is no such transfer syntax of this")
        tag = entity_tag(retrieval.locations, sorted(syntaxes), is_single)
        known = unchanged(retrieval, call, tag)
        if known is not None:
            return known
        headers = {"etag": tag}
        if is_single:
            (location,) = retrieval.locations
            target = targets[location.instance_uid] or EXPLICIT_VR_LE
            content = self._file(retrieval, location, target)
            is_stored = target == location.transfer_syntax_uid
            return single(
                retrieval,
                f"{DICOM}; transfer-syntax={target}",
                content,
                headers=headers,
                length_bytes=location.blob_bytes if is_stored else None,
            )
        is_whole = all(targets.values())
        status = HTTPStatus.OK if is_whole else HTTPStatus.PARTIAL_CONTENT
        parts = self._files(retrieval, targets)
        are_stored = all(
            targets[each.instance_uid] == each.transfer_syntax_uid
            for each in retrieval.locations
        )
        return several(
            retrieval,
            DICOM,
            parts,
            status=status,
            headers=headers,
            lengths=(
                (_headers(UID(each.transfer_syntax_uid)), each.blob_bytes)
                for each in (retrieval.locations if are_stored else ())
            ),
        )

    def _files(
        self, retrieval: Retrieval, targets: dict[str, UID | None]
    ) -> Iterator[Part]:
        for location in retrieval.locations:
            target = targets[location.instance_uid]
            if target is None:
                retrieval.failed()
                continue
            yield location, _headers(target), self._file(retrieval, location, target)

    def _file(
        self, retrieval: Retrieval, location: InstanceLocation, target: UID
    ) -> Iterator[bytes]:
        stored = UID(location.transfer_syntax_uid)
        if target == stored:
            yield from map(bytes, retrieval.file(location))
            return
        meta = FileMeta(UID(location.sop_class_uid), UID(location.instance_uid), target)
        data_set = map(bytes, retrieval.data_set(location))
        chunks = self.transcoder.transcode(data_set, stored, target)
        first = next(chunks, b"")
        yield encode_part10_header(meta) + first
        yield from chunks

    # --- metadata ---------------------------------------------------------------------

    def metadata(self, call: Call) -> Answer:
        """Answer with all but the bulk data, in JSON or XML."""
        accepts = [value for name, value in call.query if name == "accept"]
        form = choose(accepts or call.headers.getlist("accept"))
        retrieval = begin(self.viewings, call, Right.VIEW, self.service)
        base = call.base + self.root
        tag = entity_tag(retrieval.locations, form.value, base)
        known = unchanged(retrieval, call, tag)
        if known is not None:
            return known
        headers = {"etag": tag}
        if form is Form.XML:
            return several(retrieval, XML, _documents(retrieval, base), headers=headers)
        media_type = form.value if form is Form.PLAIN_JSON else JSON
        body = Begun(self._array(retrieval, base))
        return Answer(200, media_type, body, headers)

    def _array(self, retrieval: Retrieval, base: str) -> Iterator[bytes]:
        """Yield an array of the instances' objects."""

        def address(location: InstanceLocation) -> str:
            return url_of(base, location)

        separator = b"["
        try:
            found = Metadata(self.viewings.parts).json(retrieval, address)
            for location, content in found:
                yield separator + next(content, b"")
                yield from content
                retrieval.sent(location)
                separator = b","
            yield b"]"
        finally:
            retrieval.finish()


def _headers(syntax: UID) -> dict[str, str]:
    return {"Content-Type": f"{DICOM}; transfer-syntax={syntax}"}


def _target(location: InstanceLocation, syntaxes: frozenset[str]) -> UID | None:
    """Return the transfer syntax that an instance is given in; ``None``: in none."""
    stored = UID(location.transfer_syntax_uid)
    if syntaxes & {"", "*", stored}:
        return stored
    if EXPLICIT_VR_LE in syntaxes and stored in DECODABLE:
        return EXPLICIT_VR_LE
    return None


def _documents(retrieval: Retrieval, base: str) -> Iterator[Part]:
    for location in retrieval.locations:
        yield location, {"Content-Type": XML}, _document(retrieval, location, base)


def _document(
    retrieval: Retrieval, location: InstanceLocation, base: str
) -> Iterator[bytes]:
    with retrieval.open(location) as stored:
        uri = bulk_url(url_of(base, location))
        yield from xml_pieces(events(stored, location), uri)
