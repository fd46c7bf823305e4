"""The rows of the web app: in a real browser, from the click to what is seen.

Chromium draws in software, on the same cores as the node. It trusts the node's
certificate, so that it keeps files as it does for people. There is no peer: Debian's
Orthanc comes with no list of this kind, and with no viewer.
"""

import base64
import hashlib
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from playwright.sync_api import Error as PlaywrightError

from bench import data
from bench.measuring import Bench, Sample, Samples, alternate, result
from bench.process import BenchError, Stopwatch
from bench.results import OURS, Goal, Result
from leadglass.servers.http.authentication import SESSION_COOKIE
from tests.peers.nodes import made, serving
from tests.support.browser import CHROMIUM, FLAGS
from tests.support.node import RunningNode
from tests.support.people import session_of

SIZE = {"width": 1280, "height": 800}
SEEN_WITHIN_S = 60
LOOK_S = 0.02
# What the node does by itself after it has got images; the first question comes later.
SETTLE_S = 5.0
STUDY = "tr[data-study]"
# When the viewer says that it has drawn an image, in ms since 1970; 0 before. To look
# at the canvas all the time would slow down what is measured: that is done once.
WATCH = """document.addEventListener('CORNERSTONE_IMAGE_RENDERED', () => {
  window.drawnAt ??= performance.timeOrigin + performance.now();
}, true);"""
DRAWN_AT = "() => window.drawnAt ?? 0"
# The difference of the brightest and the darkest pixel across the middle of the image.
DRAWN = """() => {
  const canvas = document.querySelector('canvas.cornerstone-canvas');
  const drawn = canvas?.width ? canvas.getContext('2d') : null;
  if (!drawn) return 0;
  const { width, height } = canvas;
  const row = drawn.getImageData(width / 4, height / 2, width / 2, 1);
  const values = row.data.filter((_, index) => index % 4 === 0);
  return Math.max(...values) - Math.min(...values);
}"""
CONTRAST_MIN = 20
# When the browser has painted what is there now, in ms since the page was asked for.
PAINTED = """() => new Promise((tell) => requestAnimationFrame(
  () => requestAnimationFrame(() => tell(performance.now()))))"""


@dataclass(frozen=True, slots=True)
class Site:
    """A node with studies, and a browser for whoever may see them."""

    node: RunningNode
    browser: Browser
    session: str
    beside: Sequence[int]

    @property
    def base(self) -> str:
        return f"https://127.0.0.1:{self.node.https_port}"

    @contextmanager
    def visit(self) -> Iterator[BrowserContext]:
        """Give a browser that has kept nothing yet."""
        context = self.browser.new_context(viewport=SIZE)  # type: ignore[arg-type]
        context.add_cookies(
            [{"name": SESSION_COOKIE, "value": self.session, "url": self.base}]
        )
        try:
            yield context
        finally:
            context.close()

    def timed(self, act: Callable[[BrowserContext], float]) -> Sample:
        """Take one value, in ms, in a browser that has kept nothing yet."""
        assert self.node.process is not None
        with self.visit() as context:
            watch = Stopwatch(self.node.process.pid, self.beside)
            taken_ms = act(context)
            return Sample(taken_ms, watch.stop().foreign_cores)


@contextmanager
def site(bench: Bench, folders: Sequence[Path]) -> Iterator[Site]:
    """Serve these images to a browser."""
    bench.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=bench.scratch) as folder:
        node = made(Path(folder) / "home", https__listen="127.0.0.1:0")
        with node.open() as opened:
            session = session_of(opened, "reader", "radiologist")
        subprocess.run(
            [
                *(sys.executable, "-c", "from leadglass.cli import main; main()"),
                *("import", *map(str, folders)),
            ],
            env=os.environ | {"LEADGLASS_HOME": str(node.home)},
            check=True,
            capture_output=True,
        )
        with serving(node), sync_playwright() as playwright:
            assert node.https_port is not None
            time.sleep(SETTLE_S)
            browser = playwright.chromium.launch(
                executable_path=CHROMIUM,
                args=[*FLAGS, trusting(node.https_port)],
            )
            assert node.process is not None
            beside = [each for each in children() if each != node.process.pid]
            try:
                yield Site(node, browser, session, beside)
            finally:
                browser.close()


def children() -> list[int]:
    """Return the processes that we started: the node, and the browser's driver."""
    task = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    return [int(each) for each in task.read_text().split()]


def trusting(port: int) -> str:
    """Return the option by which Chromium trusts the key of a server."""
    sent = ssl.get_server_certificate(("127.0.0.1", port))
    key = x509.load_pem_x509_certificate(sent.encode()).public_key()
    encoded = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    digest = base64.b64encode(hashlib.sha256(encoded).digest()).decode()
    return f"--ignore-certificate-errors-spki-list={digest}"


def until(page: Page, holds: Callable[[Page], bool], what: str) -> float:
    """Look until something holds; return how long it took, in ms."""
    start = time.perf_counter()
    while not holds(page):
        if time.perf_counter() - start > SEEN_WITHIN_S:
            message = f"{what} was not seen within {SEEN_WITHIN_S} s"
            raise BenchError(message)
        time.sleep(LOOK_S)
    return 1_000 * (time.perf_counter() - start)


def at_most_ms(bound: int) -> Goal:
    return Goal(f"≤ {bound:,} ms", is_minimum=False, bound=bound, reference=None)


def taken(site: Site, repeats: int, act: Callable[[BrowserContext], float]) -> Samples:
    return alternate("ms", repeats, {OURS: partial(site.timed, act)})


# --- the study list -----------------------------------------------------------


def studies(bench: Bench) -> list[Result]:
    """Open the list of many studies, search it as somebody types, and scroll."""
    many = bench.sizes.studies_listed
    repeats = max(3, bench.sizes.repeats)

    def painted(site: Site, context: BrowserContext) -> float:
        page = context.new_page()
        page.goto(f"{site.base}/studies", wait_until="commit")
        page.locator(STUDY).first.wait_for()
        return float(page.evaluate(PAINTED))

    def searched(site: Site, context: BrowserContext) -> float:
        page = context.new_page()
        page.goto(f"{site.base}/studies", wait_until="load")
        patient = f"P{data.patient_of_study(many // 2):07d}"
        words = page.locator("#words")
        words.press_sequentially(patient[:-1])
        until(page, lambda seen: seen.locator(STUDY).count() < 50, "what was typed")
        words.press_sequentially(patient[-1])
        shown = f"{STUDY}:not(:has-text('{patient}'))"
        return until(page, lambda seen: not seen.locator(shown).count(), "a patient")

    def scrolled(site: Site, context: BrowserContext) -> float:
        page = context.new_page()
        page.goto(f"{site.base}/studies", wait_until="load")
        before = page.locator(STUDY).count()
        page.keyboard.press("End")
        return until(
            page, lambda seen: seen.locator(STUDY).count() > before, "more of them"
        )

    with site(bench, [bench.sets.studies(0, many)]) as served:
        rows = {
            f"The study list of {many:,} studies, until it is painted": (painted, 1000),
            "The same: from the last key to the studies of a patient": (searched, 1000),
            "The same: the next 50 studies as somebody scrolls": (scrolled, 1000),
        }
        return [
            result(
                "app-studies",
                title,
                "ms",
                at_most_ms(bound),
                taken(served, repeats, partial(act, served)),
            )
            for title, (act, bound) in rows.items()
        ]


# --- the viewer ---------------------------------------------------------------


def viewer(bench: Bench) -> list[Result]:
    """Open a large CT from the study list: the first time, and once more."""
    slices = bench.sizes.slices_viewed
    repeats = max(3, bench.sizes.repeats)

    def once_more(site: Site, context: BrowserContext) -> float:
        first(site, context)
        return opened(context.pages[0], site)

    def first(site: Site, context: BrowserContext) -> float:
        context.add_init_script(WATCH)
        return opened(context.new_page(), site)

    with site(bench, [bench.sets.stack(slices)]) as served:
        rows = {
            f"First image of a CT of {slices} slices, opened from the list": once_more,
            "The same, by a browser that has never opened the viewer": first,
        }
        return [
            result(
                "app-viewer",
                title,
                "ms",
                at_most_ms(2000),
                taken(served, repeats, partial(act, served)),
            )
            for title, act in rows.items()
        ]


def opened(page: Page, site: Site) -> float:
    """Open the first study of the list; return ms until an image stands there."""
    page.goto(f"{site.base}/studies", wait_until="networkidle")
    start_ms = 1_000 * time.time()
    page.locator("a.open").first.click(no_wait_after=True)
    until(page, lambda seen: evaluated(seen, DRAWN_AT) > 0, "the first image")
    drawn_ms = evaluated(page, DRAWN_AT)
    until(page, lambda seen: evaluated(seen, DRAWN) >= CONTRAST_MIN, "its contrast")
    return drawn_ms - start_ms


def evaluated(page: Page, script: str) -> float:
    """Return a number of a page; 0 while it goes over to another."""
    try:
        return float(page.evaluate(script))
    except PlaywrightError:
        return 0.0
