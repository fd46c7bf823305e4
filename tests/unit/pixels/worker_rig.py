"""What a worker does for one rendered frame, in this process."""

from dataclasses import replace

import imagecodecs

from leadglass.pixels.frames import Frames
from leadglass.pixels.pictures import picture
from leadglass.pixels.renderer import render_job
from leadglass.pixels.source import Source
from leadglass.pixels.views import MediaType, View
from tests.unit.pixels.samples import Array


class Collected:
    """Keeps what a worker would send."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes | memoryview) -> None:
        self.data += data

    def flush(self) -> None:
        """Nothing is gathered."""


def rendered(frames: Frames, view: View, head: bytes | None = None) -> Array:
    """Render the first frame; ``head`` in place of what its data set says."""
    view = replace(view, media_type=MediaType.PNG)
    job, chunks = render_job(frames, [1], view)
    data = b"".join(chunks)
    if head is not None:
        data = head + data[job["head"] :]
        job = {**job, "head": len(head)}
    out = Collected()
    picture(job, Source([data]), out)
    found: Array = imagecodecs.png_decode(bytes(out.data))
    return found
