"""WADO-RS rendered images and thumbnails (PS3.18 §10.4.1.1.3 and .4)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from http import HTTPMethod, HTTPStatus
from typing import Final

from leadglass.access.rights import Right
from leadglass.archive.fetch import InstanceLocation, Retrieval
from leadglass.archive.viewing import Viewings
from leadglass.audit.builders import Service
from leadglass.errors import NotFound
from leadglass.pixels.frames import Frames
from leadglass.pixels.renderer import Renderer
from leadglass.pixels.views import (
    ANIMATIONS,
    FUNCTIONS,
    PICTURES,
    QUALITY_DEFAULT,
    MediaType,
    Region,
    View,
    Window,
)
from leadglass.servers.dicomweb.outgoing import (
    Wish,
    about,
    begin,
    entity_tag,
    not_acceptable,
    recorded,
    single,
    unchanged,
    wishes,
)
from leadglass.servers.dicomweb.wado import INSTANCE, SERIES, STUDY
from leadglass.servers.dicomweb.wado_frames import frame_numbers, frames_of
from leadglass.servers.http.answers import Answer, Problem
from leadglass.servers.http.routes import Call, Parameter, Route

THUMBNAIL_SIDE: Final = 128  # pixels; what a list of series shows
# Instances of a study that are tried until one has an image: reports and the like
# come in tens.
_TRIED_MAX: Final = 50
# Films are of instances and of frames, not of a study's first image.
_LEVELS: Final = (
    (STUDY, "the first image of a study", PICTURES),
    (SERIES, "the first image of a series", PICTURES),
    (INSTANCE, "an instance", tuple(MediaType)),
    (INSTANCE + "/frames/{frames}", "frames", tuple(MediaType)),
)
_NUMBER: Final = "-?[0-9]{1,9}"
# §8.3.5.
_PARAMETERS: Final = (
    Parameter("annotation", "What is burnt in", choices=("technique",)),
    Parameter("quality", "Of JPEG and MP4, from 1 to 100", pattern="^[0-9]{1,3}$"),
    Parameter(
        "viewport",
        "Width and height to fit into, and the region of the image",
        pattern=f"^{_NUMBER},{_NUMBER}(,{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER})?$",
    ),
    Parameter(
        "window",
        "Center and width, and linear, linear-exact or sigmoid",
        pattern="^[^,]+,[^,]+(,(linear|linear-exact|sigmoid))?$",
    ),
)
_OPTIONS: Final = frozenset({"accept", *(each.name for each in _PARAMETERS)})


@dataclass(frozen=True, slots=True)
class RetrieveRendered:
    """Answers what asks for pictures; of a study or a series, of its first image.

    Attributes:
        viewings: The use case.
        renderer: Renders, in processes of its own.
        root: Path of the service.
        service: By which name it stands on the record.
    """

    viewings: Viewings
    renderer: Renderer
    root: str = "/dicom-web"
    service: Service = Service.WADO_RS

    def routes(self) -> Iterator[Route]:
        """Yield the routes."""
        for path, which, media in _LEVELS:
            for name, summary, handler, forms in (
                ("rendered", "Render", self.rendered, media),
                ("thumbnail", "Render small", self.thumbnail, PICTURES),
            ):
                yield Route(
                    method=HTTPMethod.GET,
                    template=f"{self.root}{path}/{name}",
                    access=Right.VIEW,
                    handler=handler,
                    about=about(f"{summary} {which}", forms, _PARAMETERS),
                )

    def rendered(self, call: Call) -> Answer:
        """Answer with one picture, in its own size or within a viewport."""
        return self._picture(call, None)

    def thumbnail(self, call: Call) -> Answer:
        """Answer with one small picture."""
        return self._picture(call, (THUMBNAIL_SIDE, THUMBNAIL_SIDE))

    def _picture(self, call: Call, viewport: tuple[int, int] | None) -> Answer:
        wanted = wishes(call)
        may_move = viewport is None and "instance" in call.path
        forms = tuple(MediaType) if may_move else PICTURES
        view = view_of(call.query, wanted, viewport, forms)
        asked = call.path.get("frames")
        numbers = None if asked is None else frame_numbers(asked)
        retrieval = begin(self.viewings, call, Right.VIEW, self.service)
        # The forms in the order of the wishes decide with the image which it is.
        tag = entity_tag(retrieval.locations, view, numbers, wanted)
        known = unchanged(retrieval, call, tag)
        if known is not None:
            return known
        with recorded(retrieval):
            location, count = _first_image(retrieval)
            is_moving = count > 1 if numbers is None else len(numbers) > 1
            if view.media_type is MediaType.MP4 and not is_moving:
                view = replace(view, media_type=_form(wanted, PICTURES))
        if numbers is None:
            is_animated = view.media_type in ANIMATIONS and "instance" in call.path
            numbers = tuple(range(1, count + 1)) if is_animated else (1,)
        content = self._content(retrieval, location, numbers, view)
        return single(
            retrieval,
            view.media_type,
            content,
            headers={"etag": tag},
            about=location,
        )

    def _content(
        self,
        retrieval: Retrieval,
        location: InstanceLocation,
        numbers: Sequence[int],
        view: View,
    ) -> Iterator[bytes]:
        with retrieval.open(location) as stored:
            frames: Frames = frames_of(stored, location)
            yield from self.renderer.render(frames, numbers, view)


def _first_image(retrieval: Retrieval) -> tuple[InstanceLocation, int]:
    """Return the first instance with pixel data, and how many frames it has.

    Raises:
        NotFound: None of the first has any.
    """
    for location in retrieval.locations[:_TRIED_MAX]:
        try:
            with retrieval.open(location) as stored:
                return location, frames_of(stored, location).count
        except NotFound:
            continue
    raise NotFound("no such resource")


def view_of(
    query: Sequence[tuple[str, str]],
    wanted: Sequence[Wish],
    viewport: tuple[int, int] | None = None,
    forms: Sequence[MediaType] = PICTURES,
) -> View:
    """Read how a picture should look (§8.3.5).

    Raises:
        Problem: 400, a parameter is none; 406, no such picture is made.
        PeerError: A value is out of range.
    """
    options = dict(query)
    if len(options) != len(query) - sum(name == "accept" for name, _ in query) + (
        "accept" in options
    ):
        raise _bad("a parameter is given twice")
    if not options.keys() <= _OPTIONS:
        raise _bad("a parameter is unknown")
    media_type = _form(wanted, forms)
    region = None
    if "viewport" in options:
        viewport, region = _viewport(options["viewport"])
    window = _window(options["window"]) if "window" in options else None
    quality = QUALITY_DEFAULT
    if "quality" in options:
        (quality,) = _numbers(options["quality"], (1,))
    return View(
        media_type=media_type,
        quality=quality,
        window=window,
        viewport=viewport,
        region=region,
        has_overlays=_has_overlays(options.get("annotation", "")),
    )


def _form(wanted: Sequence[Wish], offered: Sequence[MediaType]) -> MediaType:
    """Return in which form a picture is wanted most, of those that there are.

    Raises:
        Problem: 406, in none of them.
    """
    for wish in wanted:
        for form in offered:
            if wish.is_single and wish.takes(form):
                return form
    told = "" if MediaType.MP4 in offered else "; films are of several frames"
    raise not_acceptable("there are " + ", ".join(offered) + told)


def _has_overlays(text: str) -> bool:
    """Read which annotations are burnt in (§8.3.5.1.2).

    Of the two, ``technique`` are the planes of the image; who the ``patient`` is
    does not go into a picture.
    """
    if text not in {"", "technique"}:
        raise _bad("the only annotation is technique")
    return bool(text)


def _viewport(text: str) -> tuple[tuple[int, int], Region | None]:
    """Read ``vw,vh`` or ``vw,vh,sx,sy,sw,sh`` (§8.3.5.1.3)."""
    numbers = _numbers(text, (2, 6))
    return (
        (numbers[0], numbers[1]),
        Region(*numbers[2:]) if len(numbers) == 6 else None,
    )


def _window(text: str) -> Window:
    """Read ``center,width,function`` (§8.3.5.1.4)."""
    parts = text.split(",")
    if len(parts) not in {2, 3}:
        raise _bad("a window is its center, width and function")
    function = FUNCTIONS.get(parts[2] if len(parts) == 3 else "linear")
    if function is None:
        raise _bad("there is no such function of a window")
    try:
        return Window(float(parts[0]), float(parts[1]), function)
    except ValueError:
        raise _bad("a window is made of numbers") from None


def _numbers(text: str, counts: tuple[int, ...]) -> tuple[int, ...]:
    parts = text.split(",") if text else []
    digits = [each.removeprefix("-") for each in parts]
    if len(parts) not in counts or not all(
        each.isascii() and each.isdigit() and len(each) < 10 for each in digits
    ):
        raise _bad("a parameter is not made of whole numbers")
    return tuple(map(int, parts))


def _bad(detail: str) -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, detail)
