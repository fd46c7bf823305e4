"""People: E7 whoever leaves is logged off, E10 broken glass, and who has gone."""

import json
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Final

from leadglass.assurance.compliance.asking import ask, log_in
from leadglass.assurance.compliance.canary import Canary
from leadglass.assurance.compliance.experiments.images import stored
from leadglass.assurance.compliance.probe import Seen, Witnessed
from leadglass.assurance.compliance.twin import Twin
from leadglass.errors import Misconfigured

# What a session may last at most without a person at it, and with one: what auditors
# have come to expect of clinical systems. Settings may be stricter.
_IDLE_MAX: Final = timedelta(hours=1)
_ABSOLUTE_MAX: Final = timedelta(hours=24)
_SESSION: Final = "__Host-leadglass="
_ROLES: Final = ("administrator", "radiologist", "technologist", "privacy")
_WHO: Final = "/api/me"


def logoff(twin: Twin) -> Seen:
    """E7: leave a session alone, under a test clock, and see when it ends."""
    seen = Witnessed()
    cookie = twin.person("idler", "radiologist")
    idle_s, absolute_s = twin.session_limits_s()
    now = datetime.now(UTC)
    seen.expect(ask(twin, "GET", _WHO, cookie=cookie).status == 200, "it stands now")
    seen.expect(
        twin.session_stands(cookie, now + timedelta(seconds=idle_s * 0.5)),
        "it stands after half of the time",
    )
    seen.expect(
        not twin.session_stands(cookie, now + timedelta(seconds=idle_s + 60)),
        "it has ended when nobody was there for the time that is set",
    )
    seen.expect(timedelta(seconds=idle_s) <= _IDLE_MAX, "that time is an hour at most")
    seen.expect(
        timedelta(seconds=absolute_s) <= _ABSOLUTE_MAX, "no session lasts over a day"
    )
    return seen.seen(f"ends after {idle_s / 60:.0f} minutes alone")


def broken_glass(twin: Twin) -> Seen:
    """E10: reach a patient out of scope: not at all, not without a reason, then so."""
    seen = Witnessed()
    canary = Canary.draw()
    stored(twin, "EMERGENCY-CT", canary)
    cookie = twin.person("rescuer", "radiologist", reaches_nothing=True)
    path = f"/dicom-web/studies/{canary.study}/metadata"
    seen.expect(
        ask(twin, "GET", path, cookie=cookie).status in {403, 404},
        "out of scope, the study is not there",
    )
    before = twin.open_reviews()
    seen.expect(
        _break(twin, cookie, canary.patient, "") >= 400, "without a reason: refused"
    )
    reason = "drill: unconscious, earlier images are needed"
    status = _break(twin, cookie, canary.patient, reason)
    seen.expect(status == 201, f"with a reason: the glass is broken ({status})")
    seen.expect(
        ask(twin, "GET", path, cookie=cookie).status == 200, "now the study is there"
    )
    twin.settle()
    seen.expect(twin.open_reviews() == before + 1, "a review waits for a signature")
    seen.expect(
        any(b"110127" in each.data for each in twin.records()),
        "it is on the record as an emergency override",
    )
    return seen.seen()


def _break(twin: Twin, cookie: str, patient: str, reason: str) -> int:
    body = json.dumps({"patient_id": patient, "reason": reason, "minutes": 5}).encode()
    headers = {"Content-Type": "application/json"}
    return ask(
        twin, "POST", "/api/emergencies", cookie=cookie, body=body, headers=headers
    ).status


def termination(twin: Twin) -> Seen:
    """Disable somebody who is at work; the next click must be refused."""
    seen = Witnessed()
    cookie = twin.person("leaver", "radiologist")
    seen.expect(ask(twin, "GET", _WHO, cookie=cookie).status == 200, "is at work")
    twin.disable("leaver")
    status = ask(twin, "GET", _WHO, cookie=cookie).status
    seen.expect(status == 401, f"is out with the next click ({status})")
    return seen.seen()


def researcher(twin: Twin) -> Seen:
    """Ask for a researcher's account while nothing removes identities."""
    seen = Witnessed()
    twin.person("clinician", "radiologist")
    try:
        twin.person("scientist", "researcher")
        is_given = True
    except Misconfigured as error:
        is_given = False
        seen.note("; ".join(error.problems))
    seen.expect(not is_given, "no account can have the role that gives nothing else")
    return seen.seen()


def second_factor(twin: Twin) -> Seen:
    """Log in with a right password and no right code, as each role of people."""
    seen = Witnessed()
    for role in _ROLES:
        login = twin.login_of(f"single-{role}", role)
        said = log_in(twin, login, code="000000")
        cookies = said.headers.get("set-cookie", "")
        seen.expect(
            said.status >= HTTPStatus.BAD_REQUEST and _SESSION not in cookies,
            f"{role}: a password alone begins no session ({said.status})",
        )
    login = twin.login_of("both-proofs", _ROLES[0])
    said = log_in(twin, login)
    seen.expect(
        said.status < HTTPStatus.BAD_REQUEST
        and _SESSION in said.headers.get("set-cookie", ""),
        f"with both proofs a session begins ({said.status})",
    )
    return seen.seen()
