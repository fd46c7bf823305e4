"""Failures: exit code, reason, remedy; no traceback, and nothing of a patient."""

import json
import logging
import sys

import pytest

from leadglass import errors
from leadglass.cli import main
from leadglass.cli.failures import INTERRUPTED, KINDS, UsageError, failure_of, tell
from leadglass.cli.logs import _Discreet, _Json, start_logging
from leadglass.config import Log

ALL = [
    each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, errors.LeadglassError)
]


@pytest.mark.parametrize("cls", ALL, ids=lambda c: c.__name__)
def test_each_error_has_a_kind_and_its_exit_code(
    cls: type[errors.LeadglassError],
) -> None:
    failure = failure_of(cls("something is wrong"))
    assert failure.kind in {word for _, word in KINDS}
    assert failure.exit_code == cls.exit_code
    assert failure.problems == ("something is wrong",)


def test_all_problems_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    failure = failure_of(errors.Misconfigured("a: bad; mend it", "b: bad; mend it"))
    assert tell(failure, as_json=False) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "leadglass: error: a: bad; mend it",
        "leadglass: error: b: bad; mend it",
    ]


def test_json_stands_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell(failure_of(errors.NotFound("no such study")), as_json=True) == 4
    out, err = capsys.readouterr()
    assert err == ""
    error = json.loads(out)["error"]
    assert error["kind"] == "not found"
    assert error["message"] == "no such study"
    assert error["problems"] == ["no such study"]
    assert error["exit_code"] == 4
    assert error["remedy"]


def secretive() -> None:
    patient = "DOE^JANE"
    raise ValueError(patient)


def test_a_bug_is_placed_but_not_quoted(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="DOE") as caught:
        secretive()
    assert tell(failure_of(caught.value), as_json=False) == 1
    err = capsys.readouterr().err
    assert "ValueError at test_failures.py" in err
    assert "secretive" in err
    assert "DOE" not in err
    assert "Traceback" not in err


def test_a_usage_error_has_its_own_remedy() -> None:
    assert failure_of(UsageError("what?", "say it so")).remedy == "say it so"


@pytest.mark.parametrize("formatter", [_Discreet("%(message)s"), _Json()])
def test_the_log_does_not_quote_exceptions(formatter: logging.Formatter) -> None:
    try:
        secretive()
    except ValueError:
        record = logging.LogRecord(
            "x", logging.ERROR, "f", 1, "a job failed", (), sys.exc_info()
        )
    text = formatter.format(record)
    assert "a job failed" in text
    assert "ValueError" in text
    assert "DOE" not in text


@pytest.mark.parametrize(
    ("level", "least", "found"),
    [
        ("debug", "", logging.DEBUG),
        ("info", "warning", logging.WARNING),
        ("error", "warning", logging.ERROR),
    ],
)
def test_short_commands_log_less(level: str, least: str, found: int) -> None:
    before = logging.root.level, list(logging.root.handlers)
    try:
        start_logging(Log(level=level), least=least)
        assert logging.root.level == found
    finally:
        logging.root.setLevel(before[0])
        logging.root.handlers[:] = before[1]


def test_usage_errors_exit_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nonsense", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "usage"
    assert main([]) == 2
    assert "leadglass: error: no command given" in capsys.readouterr().err


def test_help_and_version_exit_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "devices" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("leadglass ")


def test_interruption_has_its_code() -> None:
    assert INTERRUPTED == 128 + 2
