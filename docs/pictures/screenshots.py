"""Takes the pictures of the main pages for the README: ``make screenshots``.

A node of its own, with phantoms instead of patients, in a folder that goes again; a
real browser logs in as whoever the page is for.
"""  # noqa: INP001  # a script, in no package

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import phantoms
from playwright.sync_api import Browser, Page

from tests.peers.nodes import made, serving
from tests.support.app import page_of
from tests.support.browser import chromium
from tests.support.people import session_of

HERE = Path(__file__).parent
SIZE = {"width": 1280, "height": 800}
JPEG_QUALITY = 82
READY_WITHIN_MS = 60_000
FIRST = phantoms.PHANTOMS[0]
# file → whose page, where it is, what is there once it is complete
SHOTS = {
    "studies": ("radiologist", "/studies", "tbody tr"),
    "viewer": (
        "radiologist",
        f"/viewer/viewer?StudyInstanceUIDs={phantoms.ROOT}{FIRST.number}",
        "canvas.cornerstone-canvas",
    ),
    "doors": ("administrator", "/doors", "main h1"),
    "devices": ("administrator", "/devices", "main h1"),
    "people": ("administrator", "/people", "main h1"),
    "system": ("administrator", "/system", "main h1"),
    "audit": ("privacy", "/audit", "main h1"),
}
DEVICES = {
    "CT1": ("echo", "store"),
    "MR1": ("echo", "store"),
    "READING1": ("echo", "find", "get"),
}
# Until a picture is drawn, a thumbnail has come, a chart stands.
SETTLED = "networkidle"


def imported(folder: Path, home: Path) -> None:
    """Fill a node with phantoms."""
    environment = os.environ | {
        "LEADGLASS_HOME": str(home),
        "PYTHONPATH": os.pathsep.join(each for each in sys.path if each),
    }
    command = [sys.executable, "-c", "from leadglass.cli import main; main()", "import"]
    subprocess.run([*command, str(folder)], env=environment, check=True)  # noqa: S603


def take(browser: Browser, base: str, sessions: dict[str, str]) -> None:
    """Take all of them."""
    for name, (role, path, sign) in SHOTS.items():
        with page_of(
            browser, base, sessions[role], viewport=SIZE, color_scheme="dark"
        ) as seen:
            shot(seen.page, base + path, sign, HERE / f"{name}.jpg")
        print(HERE / f"{name}.jpg")  # noqa: T201  # what there is to look at


def shot(page: Page, url: str, sign: str, file: Path) -> None:
    """Take one, once the page is complete."""
    page.goto(url)
    page.locator(sign).first.wait_for(timeout=READY_WITHIN_MS)
    page.wait_for_load_state(SETTLED, timeout=READY_WITHIN_MS)
    page.screenshot(path=file, type="jpeg", quality=JPEG_QUALITY)


def main() -> None:
    """Make the node, take the pictures, and remove it."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, home = Path(scratch) / "phantoms", Path(scratch) / "home"
        folder.mkdir()
        phantoms.write(folder)
        node = made(home, https__listen="127.0.0.1:0")
        imported(folder, home)
        for name, rights in DEVICES.items():
            node.enrol(name, networks=("10.4.0.0/24",), may=rights)
        with node.open() as opened:
            sessions = {
                role: session_of(opened, f"a-{role}", role)
                for role in {role for role, _, _ in SHOTS.values()}
            }
        with serving(node), chromium() as browser:
            take(browser, f"https://127.0.0.1:{node.https_port}", sessions)


if __name__ == "__main__":
    main()
