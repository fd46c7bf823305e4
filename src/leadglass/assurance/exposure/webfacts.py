"""What a web server gives to a stranger, each thing asked once.

A status alone proves nothing: there are servers that answer 200 to everything. So
each path has to show what only the real thing shows, and a path that cannot exist is
asked first.
"""

import re
import secrets
from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from leadglass.assurance.exposure.browsing import NO_ANSWER, Answer, Browser, basic
from leadglass.assurance.exposure.dicomfacts import IDENTIFYING
from leadglass.assurance.exposure.options import Options
from leadglass.dicom.uids import new_uid

# Where products have their DICOMweb (PS3.18) by default.
BASES: Final = (
    "/dicom-web", "/dicomweb", "/dcm4chee-arc/aets/DCM4CHEE/rs", "/rs",
    "/wado-rs", "/orthanc/dicom-web", "/pacs/dicom-web", "",
)  # fmt: skip
WADO_URI: Final = ("/wado", "/dcm4chee-arc/aets/DCM4CHEE/wado")
# Where products ask for a password first.
GUARDED: Final = ("/", "/system", "/dicom-web/studies?limit=1")
# Documented pairs of products (WEB-08); each is tried once, and ten are enough.
DEFAULTS: Final = (
    ("orthanc", "orthanc"), ("alice", "alicePassword"), ("demo", "demo"),
    ("admin", "admin"), ("root", "changeit"), ("dicoogle", "dicoogle"),
    ("admin", "password"), ("user", "user"), ("test", "test"), ("pacs", "pacs"),
)  # fmt: skip
WRONG_LOGINS: Final = 6
_QIDO_ROOT: Final = re.compile(
    r"""["']?(?:qidoRoot|wadoRoot|wadoUriRoot)["']?\s*[:=]\s*["']([^"'\s]{1,300})["']"""
)
_SCRIPT: Final = re.compile(
    r"""<script[^>]{0,200}?src=["']([^"']{1,300})["']""", re.IGNORECASE
)
_SCRIPTS_MAX: Final = 3
_PATIENT_IN_URL: Final = re.compile(
    r"""(?:href|src)=["'][^"']{0,300}[?&](?:patient_?(?:id|name)|pid|mrn)=[^"'&]+""",
    re.IGNORECASE,
)


class WebFacts:
    """What is asked of one port.

    Args:
        browser: Asks it.
        options: Of the scan.
        root: The answer to ``/``, which found that this is HTTP.
        is_tls: HTTPS.
    """

    def __init__(
        self, browser: Browser, options: Options, root: Answer, *, is_tls: bool
    ) -> None:
        self.browser, self.options, self.root = browser, options, root
        self.is_tls = is_tls
        self._known: dict[str, Answer] = {"/": root}

    def get(self, path: str) -> Answer:
        """Ask for a path once."""
        if path not in self._known:
            self._known[path] = self.browser.get(path)
        return self._known[path]

    @cached_property
    def nowhere(self) -> Answer:
        """The answer to a path that cannot exist."""
        return self.browser.get(f"/exposcan-{secrets.token_hex(8)}")

    @property
    def is_catch_all(self) -> bool:
        """Whether everything is answered with 200."""
        return self.nowhere.is_ok

    def given(self, path: str) -> Answer | None:
        """Return the answer if it was given, and not as everything is given here."""
        answer = self.get(path)
        if not answer.is_ok:
            return None
        if self.is_catch_all and answer.body == self.nowhere.body:
            return None
        return answer

    # --- DICOMweb ---------------------------------------------------------------

    @cached_property
    def bases(self) -> Mapping[str, Answer]:
        """Each base with what its studies were answered with."""
        asked = {base: self.get(f"{base}/studies?limit=1") for base in BASES}
        return MappingProxyType(asked)

    @cached_property
    def open_base(self) -> str | None:
        """The base that shows studies to a stranger (WEB-02)."""
        return next((b for b, a in self.bases.items() if shows_study(a)), None)

    @cached_property
    def likely_bases(self) -> tuple[str, ...]:
        """Bases where something answers otherwise than where nothing is."""
        return tuple(
            base
            for base, answer in self.bases.items()
            if answer.is_http
            and (answer.status, answer.body) != (self.nowhere.status, self.nowhere.body)
            and answer.status != self.nowhere.status
        )

    @cached_property
    def attributes(self) -> tuple[str, ...]:
        """Which identifying attributes of a listed study have a value (EXP-02)."""
        if self.open_base is None:
            return ()
        listed = self.bases[self.open_base].json()
        first = listed[0] if isinstance(listed, list) and listed else {}
        return tuple(
            name
            for tag, name in IDENTIFYING.items()
            if isinstance(first, dict)
            and isinstance(first.get(f"{tag:08X}"), dict)
            and first[f"{tag:08X}"].get("Value")
        )

    @cached_property
    def study(self) -> str:
        """One Study Instance UID, for WEB-03; never reported."""
        if self.open_base is None:
            return ""
        return _first_uid(self.bases[self.open_base].json())

    @cached_property
    def metadata(self) -> Answer:
        """Metadata of one study, with the owner's consent (WEB-03)."""
        if not (self.options.may_download and self.study):
            return NO_ANSWER
        return self.get(f"{self.open_base}/studies/{self.study}/metadata")

    @cached_property
    def stow(self) -> tuple[str, Answer] | None:
        """An empty STOW-RS that was not turned away (WEB-04): base and answer."""
        kind = 'multipart/related; type="application/dicom"; boundary=exposcan'
        for base in (*self.likely_bases, *_once(self.open_base, self.likely_bases)):
            answer = self.browser.ask(
                "POST", f"{base}/studies", {"Content-Type": kind}, b"--exposcan--\r\n"
            )
            if answer.status in {200, 202, 400, 409, 415}:
                return base, answer
        return None

    @cached_property
    def wado_uri(self) -> tuple[str, Answer] | None:
        """A WADO-URI for what does not exist, not turned away (WEB-05)."""
        wanted = "&".join(
            f"{key}={new_uid()}" for key in ("studyUID", "seriesUID", "objectUID")
        )
        plain = self.nowhere.status
        for base in WADO_URI:
            answer = self.browser.get(f"{base}?requestType=WADO&{wanted}")
            looks_like_it = answer.status in {400, 404} and (
                answer.status != plain or b"objectUID" in answer.body
            )
            if looks_like_it and self.get(base).status != plain:
                return base, answer
        return None

    @cached_property
    def viewer_roots(self) -> tuple[str, ...]:
        """Data sources on this host that a viewer's settings name (WEB-11)."""
        texts = [self.root.text]
        config = self.given("/app-config.js")
        if config is not None:
            texts.append(config.text)
        local = (_local(each) for each in _SCRIPT.findall(self.root.text))
        scripts = (self.given(each) for each in list(local)[:_SCRIPTS_MAX] if each)
        texts += [each.text for each in scripts if each is not None]
        found: list[str] = []
        for text in texts:
            found += [_local(root.rstrip("/")) for root in _QIDO_ROOT.findall(text)]
        return tuple(each for each in dict.fromkeys(found) if each)[: len(BASES)]

    @cached_property
    def patient_links(self) -> int:
        """How many links of the first page name a patient in their URL (WEB-23)."""
        return len(_PATIENT_IN_URL.findall(self.root.text))

    # --- passwords ----------------------------------------------------------------

    @cached_property
    def guarded(self) -> str | None:
        """A path that asks for a password (RFC 7617)."""
        for path in (*GUARDED, *self._known):
            answer = self.get(path)
            if answer.status == 401 and "basic" in _challenge(answer):
                return path
        return None

    def login(self, user: str, password: str) -> Answer:
        """Try one pair on the guarded path."""
        path = self.guarded or "/"
        return self.browser.ask("GET", path, {"Authorization": basic(user, password)})

    @cached_property
    def default_pair(self) -> str | None:
        """The user name of a documented pair that is let in (WEB-08)."""
        if self.guarded is None:
            return None
        return next((u for u, p in DEFAULTS if self.login(u, p).is_ok), None)

    @cached_property
    def wrong_logins(self) -> int:
        """How many wrong log-ins in a row were all answered alike (WEB-16)."""
        if self.guarded is None:
            return 0
        user = f"exposcan-{secrets.token_hex(4)}"
        count = 0
        for number in range(WRONG_LOGINS):
            if self.login(user, f"wrong-{number}").status != 401:
                break
            count += 1
        return count


def shows_study(answer: Answer) -> bool:
    """Whether an answer is a list of studies (PS3.18 §8.3.4)."""
    return answer.is_ok and bool(_first_uid(answer.json()))


def _first_uid(found: Any) -> str:
    match found:
        case [{"0020000D": {"Value": [str(uid), *_]}}, *_]:
            return uid if re.fullmatch(r"[0-9.]{1,64}", uid) else ""
    return ""


def _once(base: str | None, known: tuple[str, ...]) -> tuple[str, ...]:
    return () if base is None or base in known else (base,)


def _challenge(answer: Answer) -> str:
    return answer.headers.get("www-authenticate", "").lower()


def _local(reference: str) -> str:
    """Return the path of a reference on the same host; "" if it leads elsewhere.

    A page of a hostile target must not send the scanner to somebody else.
    """
    if reference.startswith("//") or not reference.isprintable() or " " in reference:
        return ""
    parts = urlsplit(reference)
    if parts.scheme or parts.netloc:
        return ""
    # Without a host before it, a path that climbs too far would lose its slash.
    return urlsplit(urljoin("http://host/", parts.path)).path
