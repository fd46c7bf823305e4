"""What `leadglass check` says of files and of the mail server outside of the node."""

import socket
from pathlib import Path
from typing import Any

import pytest

from leadglass.cli.findings import Findings, examine
from leadglass.config import Config, Https, Ldap, Notices, Oidc
from tests.support.mail import PASSWORD, certificate, mail_server
from tests.unit.identity.federation.hostile import hostile_provider

HASH = "0" * 40 + ":1\n"
WAIT_S = 10.0


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("mail"))


@pytest.fixture
def password(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    file.chmod(0o600)
    return file


def found(tmp_path: Path, *, known: Path | None = None, **notices: Any) -> Findings:
    """What is found at a node that is not even set up: this does not wait for it."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    config = Config(
        home=home,
        https=Https(password_list="" if known is None else str(known)),
        notices=Notices(**notices),
    )
    return examine(home, lambda: config)


def mailing(port: int, ca_file: Path, password: Path, **more: Any) -> dict[str, Any]:
    return {
        "smtp_server": f"127.0.0.1:{port}",
        "ca_file": str(ca_file),
        "sender": "pacs@hospital.example",
        "recipients": ("privacy@hospital.example",),
        "user": "pacs",
        "password_file": str(password),
        "response_timeout_s": WAIT_S,
        **more,
    }


def of_mail(findings: Findings) -> list[str]:
    return [each for each in findings.problems if each.startswith(("mail", "password"))]


def test_what_is_right_is_no_problem(
    tmp_path: Path, trusted: Path, password: Path
) -> None:
    known = tmp_path / "known"
    known.write_text(HASH)
    known.chmod(0o644)
    with mail_server(trusted, starts_plain=True, needs_login=True) as box:
        settings = mailing(box.port, trusted, password, tls="starttls")
        findings = found(tmp_path, known=known, **settings)
        assert of_mail(findings) == []
        assert {"password list", "mail files", "mail server"} <= set(findings.checked)
        assert (box.logins, box.mails) == (["pacs"], [])  # looked at, and no mail


def test_a_node_without_mail_has_nothing_to_look_at(tmp_path: Path) -> None:
    assert of_mail(found(tmp_path)) == []


def test_all_files_are_told_at_once_with_what_to_do(
    tmp_path: Path, trusted: Path, password: Path
) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(trusted.read_bytes())
    ca_file.chmod(0o666)
    password.chmod(0o640)
    findings = found(tmp_path, known=tmp_path, **mailing(1, ca_file, password))
    listed, authority, secret = of_mail(findings)
    assert listed.startswith("password list: https.password_list: ")
    assert "is no file" in listed
    assert f"notices.ca_file: open to others; run `chmod go-w {ca_file}`" in authority
    assert f"chmod go-rwx {password}`" in secret
    # Nobody is spoken to with a password that is anybody's.
    assert "mail server" not in findings.checked


@pytest.mark.parametrize(
    ("ca_text", "password_text", "told"),
    [
        (None, PASSWORD, "No such file"),
        ("no certificate", PASSWORD, "notices.ca_file: cannot be read as PEM"),
        ("", "", "notices.password_file: holds no password"),
        ("", "x" * 2000, "notices.password_file: holds no password"),
    ],
)
def test_files_that_are_none(
    tmp_path: Path,
    trusted: Path,
    password: Path,
    *,
    ca_text: str | None,
    password_text: str,
    told: str,
) -> None:
    ca_file = tmp_path / "ca.pem"
    if ca_text is not None:
        ca_file.write_text(ca_text or trusted.read_text())
    password.write_text(password_text)
    (problem,) = of_mail(found(tmp_path, **mailing(1, ca_file, password)))
    assert told in problem
    assert ";" in problem  # and what to do


def test_a_list_that_is_none(tmp_path: Path) -> None:
    known = tmp_path / "known"
    known.write_text("letmein\n")
    (problem,) = of_mail(found(tmp_path, known=known))
    assert "not lines of SHA-1 hashes" in problem


def test_a_mail_server_that_is_another_or_refuses(
    tmp_path: Path, trusted: Path, password: Path
) -> None:
    stranger = certificate(tmp_path / "stranger")
    with mail_server(stranger) as box:
        (problem,) = of_mail(found(tmp_path, **mailing(box.port, trusted, password)))
        assert "its certificate is not trusted" in problem
        assert "notices.smtp_server" in problem
        assert box.logins == []  # the password went to nobody
    password.write_text("wrong")
    (tmp_path / "home").rmdir()
    with mail_server(trusted, starts_plain=True, needs_login=True) as box:
        settings = mailing(box.port, trusted, password, tls="starttls")
        (problem,) = of_mail(found(tmp_path, **settings))
        assert "refused with 535" in problem
    assert "wrong" not in problem


# ── single sign-on ───────────────────────────────────────────────────────────


def of_sign_on(tmp_path: Path, **oidc: Any) -> list[str]:
    """Return what is found of single sign-on at a node that is not set up."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700, exist_ok=True)
    config = Config(home=home, oidc=Oidc(**oidc))
    names = ("single sign-on", "OpenID provider")
    problems = examine(home, lambda: config).problems
    return [each for each in problems if each.startswith(names)]


def test_a_provider_that_answers_is_no_problem(tmp_path: Path, password: Path) -> None:
    with hostile_provider() as provider:
        settings = {
            "issuer": provider.issuer,
            "client_id": "leadglass",
            "client_secret_file": str(password),
            "group_roles": ("radiology=radiologist",),
        }
        assert of_sign_on(tmp_path, **settings) == []
        assert "/jwks_uri" in provider.asked
        provider.answers["/jwks_uri"] = (500, b"")
        (problem,) = of_sign_on(tmp_path, **settings)
    assert "the provider answers 500" in problem
    assert "oidc.issuer" in problem
    (problem,) = of_sign_on(tmp_path, **settings)
    assert "does not answer" in problem


def test_all_of_single_sign_on_is_told_at_once(tmp_path: Path, password: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text("no certificate")
    ca_file.chmod(0o666)
    password.chmod(0o640)
    settings = {
        "issuer": "https://login.invalid",
        "client_id": "leadglass",
        "client_secret_file": str(password),
        "group_roles": ("a=nobody", "b=service", "c=researcher", "d=radiologist"),
    }
    found = of_sign_on(tmp_path, ca_file=str(ca_file), **settings)
    for told in (
        f"oidc.ca_file: open to others; run `chmod go-w {ca_file}`",
        f"oidc.client_secret_file: open to others; run `chmod go-rwx {password}`",
        "oidc.group_roles: role 'nobody': there is none",
        "oidc.group_roles: role researcher: cannot be given",
        "oidc.group_roles: role service: for programs",
    ):
        assert any(told in each for each in found), told
    assert not any("radiologist: " in each for each in found)


@pytest.mark.parametrize("text", ["", "\n", "x" * 2000, "\xff"])
def test_a_client_secret_that_is_none(
    tmp_path: Path, password: Path, text: str
) -> None:
    password.write_bytes(text.encode("latin-1"))
    found = of_sign_on(
        tmp_path,
        issuer="https://login.invalid",
        client_id="leadglass",
        client_secret_file=str(password),
        group_roles=("a=radiologist",),
    )
    assert any("oidc.client_secret_file: " in each for each in found)
    assert not any("OpenID provider" in each for each in found)  # not asked, then


# ── directories ──────────────────────────────────────────────────────────────


def of_directory(tmp_path: Path, **ldap: Any) -> list[str]:
    """Return what is found of a directory at a node that is not set up."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700, exist_ok=True)
    named = {
        "base_dn": "dc=example",
        "bind_dn": "cn=leadglass",
        "unsafe_single_factor": "a test",
        "group_roles": ("cn=x=radiologist",),
    }
    config = Config(home=home, ldap=Ldap(**{**named, **ldap}))
    problems = examine(home, lambda: config).problems
    return [each for each in problems if each.startswith("directory")]


def test_all_of_a_directory_is_told_at_once(tmp_path: Path, password: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text("no certificate")
    password.chmod(0o640)
    found = of_directory(
        tmp_path,
        url="ldaps://dc.invalid",
        ca_file=str(ca_file),
        bind_password_file=str(password),
        group_roles=("cn=x=service",),
    )
    for told in (
        f"ldap.bind_password_file: open to others; run `chmod go-rwx {password}`",
        "ldap.group_roles: role service: for programs",
    ):
        assert any(told in each for each in found), told
    (other,) = of_directory(
        tmp_path, url="ldaps://dc.invalid", ca_file=str(ca_file), bind_dn=""
    )
    assert "ldap.ca_file: cannot be read as PEM certificates" in other


def test_a_directory_that_does_not_answer(tmp_path: Path, password: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    (problem,) = of_directory(
        tmp_path,
        url=f"ldap://127.0.0.1:{port}",
        bind_password_file=str(password),
        response_timeout_s=1.0,
    )
    assert "does not answer" in problem
    assert "ldap.url" in problem
    assert PASSWORD not in problem
