"""What is given over HTTP."""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from leadglass.assurance.exposure.browsing import Answer
from leadglass.assurance.exposure.checks.check import Check, Level, Sighting
from leadglass.assurance.exposure.safety import clean
from leadglass.assurance.exposure.service import Kind, Service
from leadglass.assurance.exposure.webfacts import (
    DEFAULTS,
    WRONG_LOGINS,
    WebFacts,
    shows_study,
)
from leadglass.assurance.finding import Severity

_P, _S = Level.PASSIVE, Level.SAFE
_ACCESS: Final = "45 CFR 164.312(a)(1)"
_GUARD: Final = "Demand a login or a token on every path, and deny by default."
_ORIGIN: Final = "https://attacker.example"
# RFC 6797, CSP 3 and their kin; the last of them for DICOM answers.
_HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "content-security-policy": "Content-Security-Policy",
        "x-content-type-options": "X-Content-Type-Options",
        "referrer-policy": "Referrer-Policy",
    }
)
_TRACE: Final = re.compile(
    r"Traceback \(most recent|at [\w.$]+\([\w]+\.java:\d+\)|SQLSTATE|"
    r"/(?:usr|home|var|opt)/[\w./-]{4,}|[A-Z]:\\\\?[\w\\]{4,}|System\.\w+Exception"
)
_LISTING: Final = re.compile(
    r"<title>Index of /|<ListBucketResult|Directory listing for /"
)
_KEYS_OF_ORTHANC: Final = frozenset({"DicomAet", "Version", "Name"})


def _web(service: Service) -> Iterator[WebFacts]:
    if service.web is not None:
        yield service.web


def _plain(service: Service) -> Iterator[Sighting]:
    if service.kind is not Kind.HTTP or service.web is None:
        return
    root = service.web.root
    target = root.headers.get("location", "")
    names = {service.host.target.name, service.host.target.host}
    parts = urlsplit(target)
    if root.status in {301, 302, 307, 308} and parts.scheme == "https":
        if (parts.hostname or "") in names:
            return
        yield Sighting("it redirects to another host's HTTPS", severity=Severity.LOW)
        return
    yield Sighting(f"GET / over plain HTTP: {root.status}, no redirect to HTTPS")


def _qido(service: Service) -> Iterator[Sighting]:
    for web in _web(service):
        if web.open_base is not None:
            yield Sighting(
                f"{web.open_base or '/'}: studies are listed (tag 0020000D is there)",
                details={"path": clean(web.open_base), "patient_data_exposed": True},
            )


def _wado(service: Service) -> Iterator[Sighting]:
    for web in _web(service):
        if web.metadata.is_ok and isinstance(web.metadata.json(), list):
            yield Sighting("metadata of one study were given; they were dropped")


def _stow(service: Service) -> Iterator[Sighting]:
    for web in _web(service):
        if web.stow is not None:
            base, answer = web.stow
            yield Sighting(
                f"{base or '/'}/studies: an empty STOW-RS was answered with "
                f"{answer.status}, not with 401 or 403"
            )


def _wado_uri(service: Service) -> Iterator[Sighting]:
    for web in _web(service):
        if web.wado_uri is not None:
            path, answer = web.wado_uri
            yield Sighting(
                f"{path}: an unknown object was answered with {answer.status}"
            )


def _workitems(service: Service) -> Iterator[Sighting]:
    for web in _web(service):
        for base in web.likely_bases:
            answer = web.given(f"{base}/workitems?limit=1")
            if answer is not None and isinstance(answer.json(), list):
                yield Sighting(f"{base}/workitems: worklist items are given")
                return


def _orthanc(service: Service) -> Iterator[Sighting]:
    for web in _web(service):
        found = web.given("/system")
        if found is None or not _has(found, _KEYS_OF_ORTHANC):
            continue
        paths = [
            path
            for path in ("/statistics", "/patients?limit=1&since=0", "/modalities",
                         "/changes?limit=1")
            if web.given(path) is not None
        ]  # fmt: skip
        counts = _object(web.get("/statistics"))
        details = {
            name: counts[key]
            for name, key in (
                ("patients", "CountPatients"), ("studies", "CountStudies"),
                ("images", "CountInstances"),
            )
            if isinstance(counts.get(key), int)
        }  # fmt: skip
        yield Sighting(
            f"Orthanc's REST interface answers: /system, {', '.join(paths)}",
            details={**details, "patient_data_exposed": bool(details.get("patients"))},
        )


def _defaults(service: Service) -> Iterator[Sighting]:
    for web in _web(service):
        if web.default_pair is not None:
            yield Sighting(f"user {web.default_pair} with its documented password")


def _blank(service: Service) -> Iterator[Sighting]:
    for web in _web(service):
        if web.guarded is not None and web.login("", "").is_ok:
            yield Sighting("an empty user with an empty password was let in")


def _dcm4chee(service: Service) -> Iterator[Sighting]:
    for web in _web(service):
        for path in ("/dcm4chee-arc/aets", "/dcm4chee-arc/devices"):
            answer = web.given(path)
            if answer is not None and isinstance(answer.json(), list):
                yield Sighting(f"{path}: given without a token")
                return
        if (found := web.given("/management")) and "domain-organization" in found.text:
            yield Sighting("/management: the console of WildFly answers")


def _viewer(service: Service) -> Iterator[Sighting]:
    for web in _web(service):
        for root in web.viewer_roots:
            answer = web.get(f"{root}/studies?limit=1")
            if shows_study(answer) and root != web.open_base:
                yield Sighting(
                    f"the viewer's data source {clean(root)} lists studies",
                    details={"patient_data_exposed": True},
                )
                return


def _origin(service: Service) -> Iterator[Sighting]:
    for web in _web(service):
        answer = web.browser.get("/", Origin=_ORIGIN)
        allowed = answer.headers.get("access-control-allow-origin", "")
        with_secrets = (
            answer.headers.get("access-control-allow-credentials", "").lower() == "true"
        )
        if allowed == _ORIGIN or (allowed == "*" and with_secrets):
            yield Sighting(
                f"any origin is allowed{' with credentials' if with_secrets else ''}"
            )


def _headers(service: Service) -> Iterator[Sighting]:
    for web in _web(service):
        told = web.root.headers
        missing = [name for key, name in _HEADERS.items() if key not in told]
        framing = "x-frame-options" in told or "frame-ancestors" in told.get(
            "content-security-policy", ""
        )
        missing += [] if framing else ["frame-ancestors"]
        if web.is_tls and "strict-transport-security" not in told:
            missing.append("Strict-Transport-Security")
        kept = [
            answer
            for answer in web.bases.values()
            if answer.is_ok
            and "dicom" in answer.headers.get("content-type", "")
            and "no-store" not in answer.headers.get("cache-control", "")
        ]
        if kept:
            missing.append("Cache-Control: no-store on DICOM answers")
        if missing:
            yield Sighting(
                f"missing: {', '.join(missing)}",
                severity=Severity.MEDIUM if kept else Severity.LOW,
            )


def _cookies(service: Service) -> Iterator[Sighting]:
    for web in _web(service):
        for line in web.root.headers.get("set-cookie", "").splitlines():
            told = {
                part.strip().partition("=")[0].lower() for part in line.split(";")[1:]
            }
            missing = {"httponly", "samesite"} - told
            if web.is_tls and "secure" not in told:
                missing.add("secure")
            if missing:
                yield Sighting(f"a cookie without {', '.join(sorted(missing))}")
                return


def _wrong(service: Service) -> Iterator[Sighting]:
    for web in _web(service):
        if web.guarded is not None and web.wrong_logins == WRONG_LOGINS:
            yield Sighting(f"{WRONG_LOGINS} wrong passwords were answered alike")


def _banner(service: Service) -> Iterator[Sighting]:
    for web in _web(service):
        told = [
            web.root.headers[key] for key in ("server", "x-powered-by")
            if any(each.isdigit() for each in web.root.headers.get(key, ""))
        ]  # fmt: skip
        if told:
            yield Sighting(clean("; ".join(told)))


def _listings(service: Service) -> Iterator[Sighting]:
    for web in _web(service):
        for path in ("/", "/storage/", "/dicom/"):
            answer = web.given(path)
            if answer is not None and _LISTING.search(answer.text):
                yield Sighting(f"{path}: files are listed")
                return


def _insides(service: Service) -> Iterator[Sighting]:
    for web in _web(service):
        paths = [
            path for path, proof in _INSIDES.items()
            if (answer := web.given(path)) is not None and proof in answer.text
        ]  # fmt: skip
        if paths:
            yield Sighting(f"given without a login: {', '.join(paths)}")


_INSIDES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "/metrics": "# TYPE ", "/tools/metrics-prometheus": "orthanc_",
        "/actuator": '"_links"', "/swagger/index.html": "swagger",
        "/docs": "swagger-ui", "/debug/pprof/": "profile",
    }
)  # fmt: skip


def _traces(service: Service) -> Iterator[Sighting]:
    for web in _web(service):
        for base in (*web.likely_bases, ""):
            answer = web.get(f"{base}/studies/not-a-uid'%22%3C/metadata")
            if answer.status >= 400 and _TRACE.search(answer.text):
                yield Sighting(
                    "an error shows a stack trace, a path or a database's words"
                )
                return


def _script(service: Service) -> Iterator[Sighting]:
    for web in _web(service):
        answer = web.get("/tools/execute-script")
        if answer.status == 405 and web.nowhere.status != 405:
            yield Sighting("/tools/execute-script is there: 405 to a GET")


def _links(service: Service) -> Iterator[Sighting]:
    for web in _web(service):
        if web.patient_links:
            yield Sighting(
                f"{web.patient_links} links of the first page name a patient in the URL"
            )


def _oidc(service: Service) -> Iterator[Sighting]:
    for web in _web(service):
        for path in (
            "/.well-known/smart-configuration", "/.well-known/openid-configuration",
        ):  # fmt: skip
            found = _object(web.given(path))
            faults = []
            if "S256" not in _texts(found, "code_challenge_methods_supported"):
                faults.append("no PKCE with S256")
            if any(
                "token" in e.split() for e in _texts(found, "response_types_supported")
            ):
                faults.append("the implicit flow")
            if "none" in _texts(found, "id_token_signing_alg_values_supported"):
                faults.append("unsigned tokens")
            if faults and found:
                yield Sighting(f"{path}: {', '.join(faults)}")
                return


def _has(answer: Answer, keys: frozenset[str]) -> bool:
    return keys <= set(_object(answer))


def _object(answer: Answer | None) -> dict[str, Any]:
    found = answer.json() if answer is not None and answer.is_ok else None
    return found if isinstance(found, dict) else {}


def _texts(found: Mapping[str, Any], key: str) -> list[str]:
    value = found.get(key)
    return [str(each) for each in value] if isinstance(value, list) else []


WEB: Final = (
    Check(
        "WEB-01", _P, Severity.HIGH, "HTTP without TLS", "GET /",
        "Serve HTTPS alone; redirect the rest to it.", ("45 CFR 164.312(e)(1)",),
        _plain,
    ),
    Check(
        "WEB-02", _S, Severity.CRITICAL, "Anyone can list studies over DICOMweb",
        "GET /studies?limit=1 under known paths", _GUARD, ("PS3.18 §8.6", _ACCESS),
        _qido,
    ),
    Check(
        "WEB-03", _S, Severity.CRITICAL, "Anyone can read images over DICOMweb",
        "GET of one study's metadata", _GUARD, ("PS3.18 §8.3", _ACCESS), _wado,
        needs="--consent-download",
    ),
    Check(
        "WEB-04", _S, Severity.HIGH, "Storing over DICOMweb asks for no login",
        "an empty multipart POST", _GUARD, ("PS3.18 §10.5", _ACCESS), _stow,
    ),
    Check(
        "WEB-05", _S, Severity.HIGH, "WADO-URI asks for no login",
        "GET with UIDs that are nobody's", _GUARD, ("PS3.18 §9", _ACCESS), _wado_uri,
    ),
    Check(
        "WEB-06", _S, Severity.MEDIUM, "Worklist items are given without a login",
        "GET /workitems?limit=1", _GUARD, ("PS3.18 §11", _ACCESS), _workitems,
    ),
    Check(
        "WEB-07", _S, Severity.CRITICAL, "Orthanc's REST interface is open",
        "GET /system, /statistics, /patients, /modalities, /changes",
        'Set "AuthenticationEnabled": true, name users, "RemoteAccessAllowed": false.',
        ("CVE-2025-0896", _ACCESS), _orthanc,
    ),
    Check(
        "WEB-08", _S, Severity.CRITICAL, "A documented password is in force",
        f"{len(DEFAULTS)} documented pairs, each once",
        "Change it, and look who used it.", ("CVE-2023-40704", "CWE-1392"), _defaults,
    ),
    Check(
        "WEB-09", _S, Severity.CRITICAL, "An empty password is in force",
        "an empty user and password, once", "Demand passwords.", ("CWE-258",), _blank,
    ),
    Check(
        "WEB-10", _S, Severity.CRITICAL, "dcm4chee's services ask for no token",
        "GET /dcm4chee-arc/aets, /devices, /management",
        "Run the secured images (tag -secure), behind Keycloak.", (_ACCESS,), _dcm4chee,
    ),
    Check(
        "WEB-11", _S, Severity.CRITICAL, "The data source behind a viewer is open",
        "GET of the viewer's settings, then QIDO-RS there", _GUARD, (_ACCESS,), _viewer,
    ),
    Check(
        "WEB-12", _P, Severity.HIGH, "Any web site may read with a visitor's rights",
        f"GET / with Origin: {_ORIGIN}", "Allow named origins alone.",
        ("Fetch §3.2",), _origin,
    ),
    Check(
        "WEB-13", _P, Severity.LOW, "Protective headers are missing", "GET /",
        "Send them.", ("RFC 6797", "RFC 9111 §5.2.2.5"), _headers,
    ),
    Check(
        "WEB-14", _P, Severity.MEDIUM, "A cookie can be stolen", "GET /",
        "Set Secure, HttpOnly and SameSite.", ("RFC 6265 §4.1.2",), _cookies,
    ),
    Check(
        "WEB-16", _S, Severity.MEDIUM, "Guessing passwords is not slowed down",
        f"{WRONG_LOGINS} wrong log-ins of a user that nobody is",
        "Make failures wait, by user and by address.", ("NIST SP 800-63B §5.2.2",),
        _wrong,
    ),
    Check(
        "WEB-17", _P, Severity.LOW, "The server's version is told", "GET /",
        "Leave it out.", ("CWE-200",), _banner,
    ),
    Check(
        "WEB-18", _S, Severity.CRITICAL, "Files are listed",
        "GET /, /storage/, /dicom/",
        "Switch listings off, and let nobody reach the storage.", (_ACCESS,), _listings,
    ),
    Check(
        "WEB-19", _S, Severity.MEDIUM, "Figures and consoles are given without a login",
        "GET /metrics, /actuator, /swagger, /docs, /debug", _GUARD, ("CWE-200",),
        _insides,
    ),
    Check(
        "WEB-20", _S, Severity.LOW, "Errors tell of the inside", "GET with a bad UID",
        "Answer with a number, and log the rest.", ("CWE-209",), _traces,
    ),
    Check(
        "WEB-21", _S, Severity.MEDIUM, "Scripts can be sent to the server",
        "GET /tools/execute-script", 'Set "ExecuteLuaEnabled": false.',
        ("CWE-94",), _script,
    ),
    Check(
        "WEB-23", _S, Severity.MEDIUM, "Links name patients in their URL", "GET /",
        "Put identifiers in the body: URLs stand in every log.", ("CWE-598",), _links,
    ),
    Check(
        "WEB-25", _P, Severity.MEDIUM, "Signing in follows old rules",
        "GET /.well-known/smart-configuration, openid-configuration",
        "Code flow with PKCE S256 alone.", ("RFC 9700",), _oidc,
    ),
)  # fmt: skip
