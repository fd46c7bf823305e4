"""The viewer in a real browser: images come up, right, and nothing is asked elsewhere.

Chromium renders in software; its picture is compared with ours of the same frame.
"""

import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import imagecodecs
import numpy as np
import pydicom
import pytest
from playwright.sync_api import Browser
from pydicom.data import get_testdata_file

from leadglass.servers.http.authentication import SESSION_COOKIE
from tests.peers.nodes import made, serving
from tests.support.browser import Seen, chromium
from tests.support.node import RunningNode
from tests.support.people import session_of

SHOWN_WITHIN_MS = 90_000
# A CT of one slice, and an ultrasound of 30 frames in JPEG.
FILES = {"ct": "CT_small.dcm", "ultrasound": "color3d_jpeg_baseline.dcm"}
# What two renderings of the same frame have in common at least: they scale
# differently.
LIKENESS_MIN = 0.95
SIDE = 48


@dataclass
class Site:
    """A node with images, and who may see them."""

    node: RunningNode
    cookie: str
    paths: dict[str, Path]
    browser: Browser

    @property
    def base(self) -> str:
        return f"https://127.0.0.1:{self.node.https_port}"

    @contextmanager
    def page(self, *, with_session: bool = True) -> Iterator[Seen]:
        context = self.browser.new_context(ignore_https_errors=True)
        if with_session:
            context.add_cookies(
                [
                    {
                        "name": SESSION_COOKIE,
                        "value": self.cookie,
                        "url": self.base,
                        "secure": True,
                        "httpOnly": True,
                        "sameSite": "Strict",
                    }
                ]
            )
        try:
            yield Seen(context.new_page(), self.base)
        finally:
            context.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("viewer") / "home"
    node = made(home, https__listen="127.0.0.1:0")
    paths = {name: Path(str(get_testdata_file(file))) for name, file in FILES.items()}
    subprocess.run(
        [sys.executable, "-c", "from leadglass.cli import main; main()", "import"]
        + [str(path) for path in paths.values()],
        env=os.environ | {"LEADGLASS_HOME": str(home), **python_path()},
        check=True,
        capture_output=True,
    )
    with node.open() as opened:
        cookie = session_of(opened, "reader", "radiologist")
    with serving(node), chromium() as browser:
        yield Site(node, cookie, paths, browser)


def python_path() -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def gray(png: bytes) -> np.ndarray:
    picture = imagecodecs.png_decode(png).astype(np.float64)
    return picture if picture.ndim == 2 else picture[..., :3].mean(axis=2)


def fitted(picture: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return the middle of a picture in which another is fitted, and cut the rest."""
    height, width = picture.shape
    scale = min(height / rows, width / columns)
    tall, wide = int(rows * scale), int(columns * scale)
    top, left = (height - tall) // 2, (width - wide) // 2
    return picture[top : top + tall, left : left + wide]


def small(picture: np.ndarray) -> np.ndarray:
    """Return the middle of a picture, where the viewer writes nothing, made small."""
    height, width = picture.shape
    middle = picture[height // 8 : -height // 8, width // 8 : -width // 8]
    rows = np.array_split(middle, SIDE, axis=0)
    bands = np.array([band.mean(axis=0) for band in rows])
    return np.array([band.mean(axis=1) for band in np.array_split(bands, SIDE, axis=1)])


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(small(one).ravel(), small(other).ravel())[0, 1])


@pytest.mark.parametrize("name", FILES)
def test_an_image_comes_up_as_we_would_render_it(site: Site, name: str) -> None:
    read = pydicom.dcmread(site.paths[name], stop_before_pixels=True)
    reference = rendered(site, read)
    with site.page() as seen:
        seen.page.goto(
            f"{site.base}/viewer/viewer?StudyInstanceUIDs={read.StudyInstanceUID}"
        )
        canvas = seen.page.locator("canvas.cornerstone-canvas").first
        canvas.wait_for(timeout=SHOWN_WITHIN_MS)
        best = 0.0
        for _ in range(40):
            shown = gray(canvas.screenshot(type="png"))
            if shown.std() > 1:
                best = max(best, likeness(fitted(shown, *reference.shape), reference))
            if best >= LIKENESS_MIN:
                break
            seen.page.wait_for_timeout(500)
        assert best >= LIKENESS_MIN
        assert seen.faults == []


def rendered(site: Site, read: pydicom.Dataset) -> np.ndarray:
    """Return our own picture of the first frame."""
    path = (
        f"/dicom-web/studies/{read.StudyInstanceUID}/series/{read.SeriesInstanceUID}"
        f"/instances/{read.SOPInstanceUID}/frames/1/rendered"
    )
    with site.node.open() as opened:
        authority = opened.authority.node_credentials().authorities
    context = ssl.create_default_context(cadata=authority.decode())
    with httpx.Client(base_url=site.base, verify=context, trust_env=False) as client:
        answer = client.get(
            path,
            headers={
                "accept": "image/png",
                "cookie": f"{SESSION_COOKIE}={site.cookie}",
            },
        )
    assert answer.status_code == 200, answer.text
    return gray(answer.content)


def test_who_has_not_logged_in_gets_no_viewer(site: Site) -> None:
    with site.page(with_session=False) as seen:
        for path in ("/viewer/", "/viewer/app-config.js", "/viewer/viewer"):
            answer = seen.page.context.request.get(f"{site.base}{path}")
            assert answer.status == 401
            assert "refresh" not in answer.headers  # that is for who navigates
