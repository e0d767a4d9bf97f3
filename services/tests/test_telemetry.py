"""Logs are structured, and never tell what a bank holds."""

import json
import logging

import pytest

from memalpha import telemetry


@pytest.fixture
def _logging_as_before():
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level


@pytest.mark.usefixtures("_logging_as_before")
def test_a_line_is_one_json_object_and_hides_contents(capsys) -> None:
    telemetry.configure("info", "json")
    log = telemetry.get_logger("worker")
    log.info("chunk memorized", bank_id="b", text="my secret")
    log.debug("not shown")
    (line,) = capsys.readouterr().err.splitlines()
    entry = json.loads(line)
    # "my secret" is nine characters long.
    assert (entry["event"], entry["bank_id"], entry["text"]) == ("chunk memorized", "b", "(9 characters)")
    assert (entry["level"], entry["logger"]) == ("info", "worker")


@pytest.mark.usefixtures("_logging_as_before")
@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_does_not_show_local_variables(capsys, log_format) -> None:
    telemetry.configure("info", log_format)
    content = "She takes insulin every day"
    try:
        raise ValueError(len(content))
    except ValueError as error:
        telemetry.get_logger("worker").error("failed", exc_info=error)
    shown = capsys.readouterr().err
    assert "ValueError: 27" in shown
    assert "takes insulin" not in shown


@pytest.mark.usefixtures("_logging_as_before")
def test_other_libraries_lines_come_out_in_the_same_form(capsys) -> None:
    telemetry.configure("warning", "json")
    logging.getLogger("grpc").warning("lost %s", "connection")
    entry = json.loads(capsys.readouterr().err)
    assert (entry["event"], entry["level"]) == ("lost connection", "warning")
