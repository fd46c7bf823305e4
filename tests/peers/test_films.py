"""Films in a real browser: frame by frame what our pictures show, at its time."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
import pytest
from playwright.sync_api import Page

from leadglass.config import Pixels
from leadglass.pixels.frames import Frames
from leadglass.pixels.renderer import Renderer
from leadglass.pixels.transcode import Transcoder
from leadglass.pixels.views import MediaType, View
from tests.support.browser import chromium
from tests.unit.pixels.samples import sample
from tests.unit.pixels.test_frames import Stored

# Seeks to the middle of each frame's time and reads what is shown then.
PLAY = """async ([film, times]) => {
  const video = document.createElement('video');
  video.muted = true;
  video.src = 'data:video/mp4;base64,' + film;
  await new Promise((done, failed) => {
    video.onloadeddata = done;
    video.onerror = () => failed(new Error(video.error.message));
  });
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  const context = canvas.getContext('2d', {willReadFrequently: true});
  const frames = [];
  for (const time of times) {
    // A seek can end before its frame has taken the place of the last one.
    const presented = new Promise((done) => video.requestVideoFrameCallback(done));
    const sought = new Promise((done) => { video.onseeked = done; });
    video.currentTime = time;
    await Promise.all([presented, sought]);
    context.drawImage(video, 0, 0);
    const {data} = context.getImageData(0, 0, canvas.width, canvas.height);
    let text = '';
    for (const byte of data) text += String.fromCharCode(byte);
    frames.push(btoa(text));
  }
  return {width: canvas.width, height: canvas.height, duration: video.duration, frames};
}"""


@dataclass(frozen=True)
class Case:
    """A file, how it is shown, and how far at most the film is from the pictures."""

    name: str
    view: View
    numbers: tuple[int, ...]
    frame_ms: float
    mean_error_max: float


# Of 255; measured with libaom 3.13: 1.4, 0 (greys are exact), 1.4.
CASES = (
    Case("emri_small_RLE.dcm", View(), tuple(range(1, 11)), 100.0, 2.0),
    Case("emri_small_RLE.dcm", View(quality=100), (3, 1, 9), 100.0, 0.0),
    Case(
        "color3d_jpeg_baseline.dcm",
        View(viewport=(201, 151)),
        tuple(range(1, 8)),
        33.3,
        3.0,
    ),
)


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    with Transcoder(Pixels(worker_count_max=1)) as workers:
        yield Renderer(workers)


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with chromium() as browser:
        yield browser.new_page()


def shown(page: Page, film: bytes, times_s: list[float]) -> dict[str, Any]:
    found = page.evaluate(PLAY, [base64.b64encode(film).decode(), times_s])
    size = (found["height"], found["width"], 4)
    found["frames"] = [
        np.frombuffer(base64.b64decode(each), np.uint8).reshape(size)[..., :3]
        for each in found["frames"]
    ]
    return dict(found)


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case.name}-{case.view.quality}"
)
def test_a_film_shows_what_pictures_show(
    case: Case, renderer: Renderer, page: Page
) -> None:
    file = sample(case.name)
    frames = Frames(Stored(file.data), file.syntax)

    def made(kind: MediaType, numbers: tuple[int, ...]) -> bytes:
        view = View.from_json(case.view.to_json() | {"media_type": str(kind)})
        return b"".join(renderer.render(frames, numbers, view))

    count = len(case.numbers)
    middles_s = [(n + 0.5) * case.frame_ms / 1000 for n in range(count)]
    found = shown(page, made(MediaType.MP4, case.numbers), middles_s)
    assert found["duration"] == pytest.approx(count * case.frame_ms / 1000, abs=0.01)
    for number, frame in zip(case.numbers, found["frames"], strict=True):
        picture = imagecodecs.png_decode(made(MediaType.PNG, (number,))).astype(int)
        if picture.ndim == 2:
            picture = picture[..., None]
        error = np.abs(frame - picture).mean()
        assert error <= case.mean_error_max
