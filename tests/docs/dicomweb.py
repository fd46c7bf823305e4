"""The tables of the DICOMweb conformance statement, made from the routes served."""

from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any, Final, cast

from leadglass.config import Https
from leadglass.dicom.transfer_syntaxes import TRANSFER_SYNTAXES
from leadglass.pixels import pictures, renderer, views
from leadglass.pixels.transcode import DECODABLE
from leadglass.servers.dicomweb import multipart, qido, stow
from leadglass.servers.dicomweb.deleting import Delete
from leadglass.servers.dicomweb.qido import Search
from leadglass.servers.dicomweb.storing import Store
from leadglass.servers.dicomweb.table import table as whole
from leadglass.servers.dicomweb.wado import Retrieve
from leadglass.servers.dicomweb.wado_bulk import VIDEOS, RetrieveBulk
from leadglass.servers.dicomweb.wado_frames import (
    COMPRESSED,
    FRAMES_MAX,
    RetrieveFrames,
)
from leadglass.servers.dicomweb.wado_rendered import THUMBNAIL_SIDE, RetrieveRendered
from leadglass.servers.dicomweb.wado_uri import Uri
from leadglass.servers.http.routes import Route

Row = tuple[str, ...]
# Routes say what there is before anybody asks: nothing behind them is needed.
NOTHING: Final = cast("Any", None)
ROOT: Final = "/dicom-web"


def routes() -> tuple[Route, ...]:
    """Return what DICOMweb offers, as the composition root puts it together."""
    rendered = RetrieveRendered(NOTHING, NOTHING)
    services = (
        *Search(NOTHING).routes(),
        *Retrieve(NOTHING, NOTHING).routes(),
        *RetrieveBulk(NOTHING, NOTHING).routes(),
        *RetrieveFrames(NOTHING, NOTHING).routes(),
        *rendered.routes(),
        *Uri(Retrieve(NOTHING, NOTHING), rendered).routes(),
        *Store(NOTHING, Https().stored_bytes_max).routes(),
        *Delete(NOTHING, NOTHING).routes(),
    )
    return tuple(
        each
        for each in whole(services, lambda: None)
        if each.template.startswith((ROOT, "/wado"))
    )


def _code(values: Iterable[object]) -> str:
    return ", ".join(f"`{each}`" for each in values)


def resources() -> Iterator[Row]:
    """Yield each resource, its right, and in which media types it comes and goes."""
    yield ("resource", "right", "answers with", "takes")
    for each in routes():
        assert each.about is not None
        yield (
            f"`{each.method} {each.template.removeprefix(ROOT) or '/'}`",
            f"`{getattr(each.access, 'value', each.access)}`",
            _code(each.about.gives_media),
            _code(each.about.takes_media),
        )


def parameters() -> Iterator[Row]:
    """Yield the parameters that are no attributes, each with what it is for."""
    yield ("parameter", "what it is for", "of")
    found: dict[tuple[str, str], list[str]] = {}
    services = (
        ("search", "/dicom-web", "find"),
        ("retrieve", "/dicom-web", "view"),
        ("retrieve", "/dicom-web", "get"),
        ("WADO-URI", "/wado", "view"),
    )
    for service, root, right in services:
        for each in routes():
            if not each.template.startswith(root) or each.access != right:
                continue
            for one in each.about.query if each.about else ():
                of = found.setdefault((one.name, one.about), [])
                if service not in of:
                    of.append(service)
    for (name, about), of in found.items():
        yield (f"`{name}`", about, ", ".join(of))


def syntaxes() -> Iterator[Row]:
    """Yield in which media type the frames of each transfer syntax come."""
    yield ("stored as", "UID", "frames as stored", "decoded and rendered")
    for uid, each in TRANSFER_SYNTAXES.items():
        media = COMPRESSED.get(uid) or VIDEOS.get(uid, "")
        yield (
            each.name,
            f"`{uid}`",
            f"`{media}`" if media else "",
            "yes" if uid in DECODABLE else "no",
        )


def pictures_made() -> Iterator[Row]:
    """Yield the forms of rendered images."""
    yield ("media type", "of several frames", "how")
    how = {
        views.MediaType.JPEG: "baseline, colors not subsampled",
        views.MediaType.PNG: "without loss",
        views.MediaType.GIF: "greys without loss, colors dithered",
        views.MediaType.MP4: "AV1, 4:2:0; greys without loss at quality 100",
    }
    for each in views.MediaType:
        several = each in views.ANIMATIONS
        only = " (and only those)" if each not in views.PICTURES else ""
        yield (f"`{each}`", f"yes{only}" if several else "no", how[each])


def statuses() -> Iterator[Row]:
    """Yield the statuses that are not those of every request."""
    yield ("status", "of")
    found: dict[HTTPStatus, list[str]] = {}
    for each in routes():
        assert each.about is not None
        for status in (*each.about.statuses, *each.about.failing):
            right = str(getattr(each.access, "value", each.access))
            of = found.setdefault(status, [])
            if right not in of:
                of.append(right)
    for status in sorted(found):
        yield (f"{status.value} {status.phrase}", _code(found[status]))


def limits() -> Iterator[Row]:
    """Yield what can be asked for at most, beside the limits of all of HTTPS."""
    yield ("of", "at most")
    yield ("results of a search; more say so by `Warning`", f"{qido.RESULTS_MAX}")
    yield ("offset of a search", f"{qido.OFFSET_MAX}")
    yield ("frames of one answer", f"{FRAMES_MAX}")
    yield ("sides of a viewport, in pixels", f"{views.VIEWPORT_SIDE_MAX}")
    yield ("sides of a thumbnail, in pixels", f"{THUMBNAIL_SIDE}")
    yield ("frames of a GIF or a film", f"{renderer.ANIMATION_FRAMES_MAX}")
    yield ("pixels of all of them", f"{renderer.ANIMATION_PIXELS_MAX}")
    sides = f"{renderer.FILM_COLUMNS_MAX} × {renderer.FILM_ROWS_MAX}"
    yield ("sides of a film, in pixels", sides)
    yield ("pixels of a frame of it", f"{renderer.FILM_PIXELS_MAX}")
    yield ("time that a frame stands", f"{pictures.DELAY_MS_MAX} ms")
    least = f"{pictures.DELAY_MS_MIN} ms, {pictures.FILM_DELAY_MS_MIN} ms in a film"
    yield ("and at least", least)
    yield ("parts of a body that is stored", f"{multipart.PARTS_MAX}")
    yield ("instances of a body that is stored", f"{stow.INSTANCES_MAX}")


TABLES: Final = {
    "web-resources": resources,
    "web-parameters": parameters,
    "web-syntaxes": syntaxes,
    "web-pictures": pictures_made,
    "web-statuses": statuses,
    "web-limits": limits,
}
