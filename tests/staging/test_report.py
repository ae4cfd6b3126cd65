"""The termination message and the log of a stage program."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from functions.staging.report import finish, log_to


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    for handler in root.handlers[:]:
        if handler not in before:
            root.removeHandler(handler)
            handler.close()
    root.handlers[:], root.level = before, level


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TERMINATION_LOG", str(tmp_path / "message"))
    return tmp_path / "message"


def test_the_message_is_one_line_that_begins_with_the_reason(place: Path) -> None:
    assert finish(31, "DataUnavailable", "gone\nfor\r\n good") == 31
    assert place.read_text() == "DataUnavailable: gone for good"


def test_the_message_holds_no_credentials_and_no_query(place: Path) -> None:
    finish(31, "DataUnavailable", f"https://user:pass@host/path?token=t and 0x{'ab' * 65}")
    assert place.read_text() == "DataUnavailable: https://host/path and …"


def test_the_message_fits_into_what_kubernetes_keeps(place: Path) -> None:
    finish(31, "DataUnavailable", "ü" * 10_000)
    assert len(place.read_bytes()) <= 4096


def test_the_message_is_written_to_the_volume_if_there_is_no_other_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TERMINATION_LOG", raising=False)
    monkeypatch.setattr("functions.staging.report._KUBERNETES", tmp_path / "none")
    finish(0, "Completed", "done", tmp_path)
    assert (tmp_path / "termination-message").read_text() == "Completed: done"


def test_a_message_that_cannot_be_written_does_not_change_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERMINATION_LOG", "/none/message")
    assert finish(32, "ChecksumMismatch", "x") == 32


def test_every_attempt_appends_to_the_log(tmp_path: Path) -> None:
    for attempt in (1, 2):
        log_to(tmp_path / "adminlogs" / "stage.log")
        logging.info("attempt %d of https://user:pass@host/x?y", attempt)
    lines = (tmp_path / "adminlogs" / "stage.log").read_text().splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == [f"INFO attempt {n} of https://host/x" for n in (1, 2)]


def test_the_log_contains_no_stack_trace_of_the_http_library(tmp_path: Path) -> None:
    log_to(tmp_path / "stage.log")
    try:
        raise ValueError("inner")
    except ValueError:
        logging.getLogger("urllib3.connection").warning("Failed to parse headers (url=…)", exc_info=True)
    assert (tmp_path / "stage.log").read_text() == ""


def test_the_log_goes_to_stderr_if_its_file_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    log_to(tmp_path / "file" / "stage.log")
    logging.info("still here")
    assert "cannot be written" in (printed := capsys.readouterr().err)
    assert "still here" in printed
