"""Mail leaves over verified TLS to a real server, or it does not leave."""

import socket
import threading
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from leadglass.errors import Misconfigured, Unavailable
from leadglass.servers.mail import MailServer, Postman
from tests.support.mail import PASSWORD, certificate, mail_server

WAIT_S = 10.0


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("mail"))


def server(port: int, ca_file: Path | None, **more: Any) -> MailServer:
    given: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": port,
        "starts_plain": False,
        "ca_file": ca_file,
        "timeout_s": WAIT_S,
        "own_name": "pacs.example",
        **more,
    }
    return MailServer(**given)


def mail() -> EmailMessage:
    made = EmailMessage()
    made["From"] = "pacs@hospital.example"
    made["To"] = "privacy@hospital.example, deputy@hospital.example"
    made["Subject"] = "Break-glass access"
    made.set_content("Review 17 is open.\n.\nRCPT TO:<all@x>\n")
    return made


@pytest.mark.parametrize("starts_plain", [False, True])
def test_a_mail_is_taken(trusted: Path, starts_plain: bool) -> None:
    with mail_server(trusted, starts_plain=starts_plain) as box:
        server(box.port, trusted, starts_plain=starts_plain)(mail())
        (text,) = box.mails
    assert "Review 17 is open." in text
    assert "RCPT TO:<all@x>" in text  # a line of text, and no command


def test_who_is_logged_in_has_the_password_of_a_file(
    trusted: Path, tmp_path: Path
) -> None:
    starts_plain = True
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    file.chmod(0o600)
    with mail_server(trusted, starts_plain=starts_plain, needs_login=True) as box:
        known = {"starts_plain": starts_plain, "user": "pacs", "password_file": file}
        server(box.port, trusted, **known)(mail())
        file.write_text("wrong")
        with pytest.raises(Unavailable, match="refused with 535"):
            server(box.port, trusted, **known)(mail())
        with pytest.raises(Unavailable):
            server(box.port, trusted, starts_plain=starts_plain)(mail())
        assert len(box.mails) == 1
        assert set(box.logins) == {"pacs"}


@pytest.mark.parametrize("answer", ["451 later", "554 SECRET-TEXT no"])
def test_a_refusal_is_told_by_its_code_alone(trusted: Path, answer: str) -> None:
    with mail_server(trusted) as box:
        box.answer = answer
        with pytest.raises(Unavailable, match=f"refused with {answer[:3]}") as caught:
            server(box.port, trusted)(mail())
    assert "SECRET" not in str(caught.value)


def test_one_recipient_that_takes_it_is_enough_and_none_is_not(
    trusted: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with mail_server(trusted) as box:
        box.refused = frozenset({"deputy@hospital.example"})
        server(box.port, trusted)(mail())
        assert len(box.mails) == 1
        assert "refused 1 recipients" in caplog.text
        assert "deputy" not in caplog.text
        box.refused |= {"privacy@hospital.example"}
        with pytest.raises(Unavailable, match="every recipient"):
            server(box.port, trusted)(mail())


@pytest.mark.parametrize("starts_plain", [False, True])
def test_a_server_that_is_not_trusted_gets_no_mail(
    trusted: Path, tmp_path: Path, starts_plain: bool
) -> None:
    stranger = certificate(tmp_path / "stranger")
    misnamed = certificate(tmp_path / "misnamed", "mail.example")
    for shown, known in ((stranger, trusted), (misnamed, misnamed), (trusted, None)):
        with mail_server(shown, starts_plain=starts_plain) as box:
            with pytest.raises(Unavailable, match="certificate is not trusted"):
                server(box.port, known, starts_plain=starts_plain)(mail())
            assert box.mails == []


def test_a_server_without_tls_gets_no_mail(trusted: Path, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    file.chmod(0o600)
    with mail_server(None, starts_plain=True) as box:
        login = {"user": "pacs", "password_file": file, "timeout_s": 2.0}
        for starts_plain in (False, True):
            with pytest.raises(Unavailable):
                server(box.port, trusted, starts_plain=starts_plain, **login)(mail())
        assert box.mails == []
        assert box.logins == []


def test_nobody_there_and_nobody_answering_are_told(trusted: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(Unavailable, match="TimeoutError"):
            server(port, trusted, timeout_s=0.2)(mail())
    with pytest.raises(Unavailable, match="ConnectionRefusedError"):
        server(port, trusted)(mail())


@pytest.mark.parametrize(
    ("content", "mode"),
    [
        (b"", 0o600),
        (b"\n", 0o600),
        (b"\xff", 0o600),
        (b"x" * 2000, 0o600),
        (b"x", 0o644),
    ],
)
def test_a_password_file_that_is_none_is_told(
    trusted: Path, tmp_path: Path, content: bytes, mode: int
) -> None:
    file = tmp_path / "password"
    file.write_bytes(content)
    file.chmod(mode)
    with pytest.raises(Misconfigured, match=r"notices\.password_file"):
        server(9, trusted, user="pacs", password_file=file)(mail())
    file.unlink()
    with pytest.raises(Misconfigured, match=r"notices\.password_file"):
        server(9, trusted, user="pacs", password_file=file)(mail())


def test_a_ca_file_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"notices\.ca_file"):
        server(9, tmp_path / "none.pem")(mail())
    (tmp_path / "none.pem").write_text("no certificate")
    with pytest.raises(Misconfigured, match=r"notices\.ca_file"):
        server(9, tmp_path / "none.pem")(mail())


def test_the_postman_goes_on_whatever_happens(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rounds = iter((Unavailable("the database"), RuntimeError("Doe^Jane"), None))
    done = threading.Event()

    def work() -> None:
        error = next(rounds, None)
        if error is not None:
            raise error
        done.set()

    postman = Postman(work, 0.01)
    postman.start()
    assert done.wait(WAIT_S)
    postman.stop()
    assert "the database" in caplog.text
    assert "RuntimeError" in caplog.text
    assert "Doe" not in caplog.text


def test_a_postman_that_never_began_ends() -> None:
    Postman(lambda: None, 1.0).stop()
