"""Draws the pictures of the documentation: ``python docs/pictures/draw.py``.

Each is an SVG on a card of its own, so that it can be read on a light and on a dark
page. A test compares the files with what this draws.
"""  # noqa: INP001  # a script, in no package

from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from types import MappingProxyType

HERE = Path(__file__).parent

INK, LINE, CARD = "#1f2933", "#7b8794", "#f5f7fa"
COLOURS = {
    "pure": "#d9e8f6",
    "port": "#e0f0dc",
    "use": "#fbe7c6",
    "edge": "#f6d9d9",
    "root": "#e7def3",
    "out": "#ffffff",
}
STYLE = (
    "text{font:14px ui-sans-serif,system-ui,sans-serif;fill:#1f2933}"
    ".small{font-size:12px;fill:#52606d}.name{font-weight:600}"
)


class Drawing:
    """An SVG that grows by boxes, texts and arrows; lengths in pixels."""

    def __init__(self, width: int, height: int, title: str) -> None:
        """Begin with an empty card."""
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"',
            f' width="{width}" height="{height}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4"',
            ' markerWidth="8" markerHeight="8" orient="auto-start-reverse">',
            f'<path d="M0 0L8 4L0 8z" fill="{LINE}"/></marker></defs>',
            f'<rect width="{width}" height="{height}" rx="12" fill="{CARD}"/>',
        ]

    def text(self, x: float, y: float, text: str, kind: str = "", at: str = "") -> None:
        """Write a line; ``at`` is ``middle`` or nothing."""
        anchor = f' text-anchor="{at}"' if at else ""
        self._parts.append(
            f'<text x="{x:g}" y="{y:g}" class="{kind}"{anchor}>{escape(text)}</text>'
        )

    def box(
        self, place: tuple[int, int, int, int], colour: str, name: str, *lines: str
    ) -> None:
        """Draw a box (x, y, width, height) with a name and lines below it."""
        x, y, width, height = place
        self._parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" '
            f'fill="{COLOURS[colour]}" stroke="{LINE}"/>'
        )
        self.text(x + width / 2, y + 21, name, "name", "middle")
        for number, line in enumerate(lines):
            self.text(x + width / 2, y + 39 + 16 * number, line, "small", "middle")

    def arrow(self, *points: tuple[int, int]) -> None:
        """Draw a line through points that ends in a tip."""
        path = "M" + "L".join(f"{x} {y}" for x, y in points)
        self._parts.append(
            f'<path d="{path}" fill="none" stroke="{LINE}" stroke-width="1.5" '
            'marker-end="url(#tip)"/>'
        )

    def svg(self) -> str:
        """Return the whole."""
        return "\n".join([*self._parts, "</svg>", ""])


HOUSE: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    (
        "pure",
        "values in, values out",
        (
            ("errors", "every deliberate error"),
            ("config", "every setting, once"),
            ("dicom", "the standard as values"),
            ("wire", "protocol without I/O"),
            ("access", "who may do what"),
        ),
    ),
    ("port", "waiting: the disk", (("database", "encrypted SQL, group commit"),)),
    (
        "port",
        "ports and their adapters",
        (
            ("identity", "who it is"),
            ("vault", "sealed blobs, keys"),
            ("index", "what is searched"),
            ("audit", "what happened"),
            ("pixels", "walled codecs"),
        ),
    ),
    ("use", "decides and records first", (("archive", "use cases: ingest, find, …"),)),
    (
        "use",
        "proof",
        (("assurance", "scans, reviews, controls → findings"),),
    ),
    ("edge", "waiting: the network", (("servers", "TLS; DIMSE, HTTPS, pages"),)),
    ("root", "puts it together", (("app", "composition root"), ("cli", "commands"))),
)


CAPTION = (
    "An arrow says: may import. Lowest row: errors ← config ← dicom ← wire, access; "
    "top row: app ← cli."
)


def house() -> str:
    """Draw the folders, the deepest at the bottom, as they may import."""
    row, gap, width = 62, 24, 1000
    height = len(HOUSE) * (row + gap) + gap
    drawing = Drawing(width, height + 24, "The house of Leadglass")
    drawing.text(206, height + 6, CAPTION, "small")
    for number, (colour, what, folders) in enumerate(reversed(HOUSE)):
        y = gap + number * (row + gap)
        drawing.text(24, y + 36, what, "small")
        room = width - 230
        wide = (room - 10 * (len(folders) - 1)) // len(folders)
        for place, (name, line) in enumerate(folders):
            drawing.box((206 + place * (wide + 10), y, wide, row), colour, name, line)
        if number < len(HOUSE) - 1:
            middle = 206 + room // 2
            drawing.arrow((middle, y + row), (middle, y + row + gap - 2))
    return drawing.svg()


def arrival() -> str:
    """Draw the way of an instance, from the socket to success."""
    drawing = Drawing(860, 430, "How an instance arrives")
    drawing.box((24, 40, 120, 62), "out", "device", "CT1")
    drawing.box(
        (184, 24, 200, 94),
        "edge",
        "servers",
        "address known? then",
        "TLS with its",
        "certificate",
    )
    drawing.box(
        (424, 24, 180, 94),
        "port",
        "identity",
        "certificate, network and",
        "AE titles of one device",
    )
    drawing.box(
        (644, 24, 192, 94),
        "pure",
        "wire",
        "contexts for its rights,",
        "fragments, none kept",
    )
    drawing.box((644, 158, 192, 62), "pure", "access", "may it store?")
    drawing.box(
        (184, 158, 420, 62),
        "use",
        "archive.ingest",
        "each fragment once: limit, SHA-256, header, seal",
    )
    drawing.box(
        (184, 262, 200, 78),
        "port",
        "vault",
        "① sealed blob with its",
        "receipt, durable",
    )
    drawing.box(
        (424, 262, 180, 78),
        "port",
        "index",
        "rows of patient, study,",
        "series, instance",
    )
    drawing.box(
        (644, 262, 192, 78),
        "port",
        "audit",
        "who, what, from where;",
        "signed head of the log",
    )
    drawing.box((424, 364, 412, 46), "port", "③ one transaction within 0.1 s")
    drawing.box((24, 364, 360, 46), "out", "② success is said, and not before")
    drawing.arrow((144, 71), (180, 71))
    drawing.arrow((384, 71), (420, 71))
    drawing.arrow((604, 71), (640, 71))
    drawing.arrow((740, 118), (740, 154))
    drawing.arrow((644, 189), (608, 189))
    drawing.arrow((284, 220), (284, 258))
    drawing.arrow((514, 220), (514, 258))
    drawing.arrow((594, 220), (594, 240), (740, 240), (740, 258))
    drawing.arrow((514, 340), (514, 360))
    drawing.arrow((740, 340), (740, 360))
    drawing.arrow((284, 340), (284, 360))
    drawing.arrow((84, 364), (84, 106))
    return drawing.svg()


def doors() -> str:
    """Draw the way of an instance or a wish through either door."""
    drawing = Drawing(920, 452, "An instance arrives through either door")
    drawing.box((24, 32, 150, 62), "out", "device", "certificate, DICOM")
    drawing.box((24, 124, 150, 62), "out", "program", "bearer token, STOW")
    drawing.box((24, 216, 150, 62), "out", "person", "session, in a browser")
    drawing.box(
        (214, 32, 206, 78),
        "edge",
        "servers/dimse",
        "network known? TLS with",
        "its certificate, then PDUs",
    )
    drawing.box(
        (214, 140, 206, 138),
        "edge",
        "servers/http",
        "TLS, limits, Host, Origin;",
        "one proof a request; one",
        "table of routes, each with",
        "a right; one answer for all",
        "who have proven nothing",
    )
    drawing.box(
        (460, 32, 196, 62),
        "port",
        "identity",
        "who is it? else: recorded",
    )
    drawing.box((460, 140, 196, 62), "pure", "access", "may it, and how far?")
    drawing.box(
        (460, 248, 196, 78),
        "use",
        "archive.ingest",
        "each fragment once: limit,",
        "hash, header, seal",
    )
    drawing.box((696, 32, 200, 62), "port", "audit", "refusals too, by reason")
    drawing.box(
        (696, 140, 200, 78),
        "port",
        "vault",
        "① sealed blob and",
        "receipt, durable",
    )
    drawing.box(
        (696, 248, 200, 78),
        "port",
        "index and audit",
        "③ rows and record, in one",
        "transaction, very soon",
    )
    drawing.box(
        (24, 366, 872, 46),
        "out",
        "② success is said: C-STORE status, or the STOW answer for each instance",
    )
    drawing.text(
        24,
        436,
        "A search or a look goes the same way, and is on the record before its first "
        "byte leaves.",
        "small",
    )
    drawing.arrow((174, 63), (210, 63))
    drawing.arrow((174, 155), (210, 155))
    drawing.arrow((174, 247), (210, 247))
    drawing.arrow((420, 63), (456, 63))
    drawing.arrow((420, 171), (440, 171), (440, 78), (456, 78))
    drawing.arrow((656, 63), (692, 63))
    drawing.arrow((558, 94), (558, 136))
    drawing.arrow((558, 202), (558, 244))
    drawing.arrow((656, 272), (676, 272), (676, 171), (692, 171))
    drawing.arrow((656, 300), (692, 300))
    drawing.arrow((558, 326), (558, 362))
    drawing.arrow((99, 366), (99, 282))
    return drawing.svg()


PICTURES: Mapping[str, Callable[[], str]] = MappingProxyType(
    {"house.svg": house, "arrival.svg": arrival, "doors.svg": doors}
)

if __name__ == "__main__":
    for name, draw in PICTURES.items():
        (HERE / name).write_text(draw(), "utf-8")
