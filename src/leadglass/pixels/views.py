"""What a rendered image should look like (PS3.18 §8.3.5), as values that check."""

import math
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, Self

from leadglass.errors import PeerError

# 4K screens have 3840; enlarging further takes seconds, and shows nothing more.
VIEWPORT_SIDE_MAX: Final = 4096
QUALITY_DEFAULT: Final = 90
PRESETS_MAX: Final = 256  # stored windows or VOI LUTs of one image; real ones have few
# Beyond 64-bit samples after any sensible rescale; keeps the arithmetic finite.
WINDOW_MAX: Final = 1e20


class MediaType(StrEnum):
    """What an image can be rendered as.

    MP4 holds AV1: the wheels that could make other films (PyAV, imageio-ffmpeg)
    carry x264, which is under the GPL.
    """

    JPEG = "image/jpeg"
    PNG = "image/png"
    GIF = "image/gif"
    MP4 = "video/mp4"


# One frame or more, and those of several frames.
PICTURES: Final = (MediaType.JPEG, MediaType.PNG, MediaType.GIF)
ANIMATIONS: Final = frozenset({MediaType.GIF, MediaType.MP4})


class Function(StrEnum):
    """VOI LUT Function (PS3.3 C.11.2.1.2.1 and C.11.2.1.3)."""

    LINEAR = "LINEAR"
    LINEAR_EXACT = "LINEAR_EXACT"
    SIGMOID = "SIGMOID"


# PS3.18 §8.3.5.1.4 writes them small and with a hyphen.
FUNCTIONS = MappingProxyType(
    {
        "linear": Function.LINEAR,
        "linear-exact": Function.LINEAR_EXACT,
        "sigmoid": Function.SIGMOID,
    }
)


@dataclass(frozen=True, slots=True)
class Window:
    """Which values become grey: all below are black, all above are white."""

    center: float
    width: float
    function: Function = Function.LINEAR

    def __post_init__(self) -> None:
        """Check it.

        Raises:
            PeerError: There is no such window.
        """
        least = 1.0 if self.function is Function.LINEAR else 0.0
        if (
            not math.isfinite(self.center)
            or not math.isfinite(self.width)
            or max(abs(self.center), self.width) > WINDOW_MAX
            or self.width < least
            or self.width <= 0
        ):
            raise PeerError("there is no such window")


@dataclass(frozen=True, slots=True)
class Region:
    """A part of the image in its pixels; a negative size mirrors it."""

    left: int
    top: int
    width: int
    height: int

    def __post_init__(self) -> None:
        """Check it.

        Raises:
            PeerError: It is empty.
        """
        if not (self.width and self.height) or min(self.left, self.top) < 0:
            raise PeerError("a region must lie in the image and hold a pixel")

    def check(self, rows: int, columns: int) -> None:
        """Refuse a region that reaches over the image's edge.

        Raises:
            PeerError: It does.
        """
        if self.left + abs(self.width) > columns or self.top + abs(self.height) > rows:
            raise PeerError("a region must lie in the image and hold a pixel")


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """How frames are rendered.

    Attributes:
        quality: Of JPEG and MP4, 1 to 100.
        window: In place of those in the image.
        preset: Which of the image's own windows or VOI LUTs, from 0 on.
        viewport: Width and height that the image must fit into, in pixels; None:
            its own size.
        has_overlays: Whether overlay planes are burnt in, in white.
    """

    media_type: MediaType = MediaType.JPEG
    quality: int = QUALITY_DEFAULT
    window: Window | None = None
    preset: int = 0
    viewport: tuple[int, int] | None = None
    region: Region | None = None
    has_overlays: bool = False

    def __post_init__(self) -> None:
        """Check it.

        Raises:
            PeerError: Something is out of range.
        """
        if not 1 <= self.quality <= 100:
            raise PeerError("the quality must be from 1 to 100")
        if not 0 <= self.preset < PRESETS_MAX:
            raise PeerError("there is no such preset")
        if self.viewport is not None and not all(
            1 <= side <= VIEWPORT_SIDE_MAX for side in self.viewport
        ):
            raise PeerError(f"a viewport's sides must be 1 to {VIEWPORT_SIDE_MAX}")

    def size(self, rows: int, columns: int) -> tuple[int, int]:
        """Return rows and columns of the result for an image of that size."""
        if self.region is not None:
            rows, columns = abs(self.region.height), abs(self.region.width)
        if self.viewport is None:
            return rows, columns
        scale = min(self.viewport[0] / columns, self.viewport[1] / rows)
        return max(1, round(rows * scale)), max(1, round(columns * scale))

    def to_json(self) -> dict[str, Any]:
        """Return it for a worker."""
        window, region = self.window, self.region
        return {
            "media_type": str(self.media_type),
            "quality": self.quality,
            "window": window and (window.center, window.width, str(window.function)),
            "preset": self.preset,
            "viewport": self.viewport,
            "region": region and (region.left, region.top, region.width, region.height),
            "has_overlays": self.has_overlays,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Take what `to_json` has made."""
        window, region, viewport = (
            values[each] for each in ("window", "region", "viewport")
        )
        return cls(
            media_type=MediaType(values["media_type"]),
            quality=values["quality"],
            window=window and Window(window[0], window[1], Function(window[2])),
            preset=values["preset"],
            viewport=viewport and (viewport[0], viewport[1]),
            region=region and Region(*region),
            has_overlays=values["has_overlays"],
        )
