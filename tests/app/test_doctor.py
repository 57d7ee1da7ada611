"""doctor says what is there, what is missing, and the line that mends it."""

import json

import pytest

from app import doctor, qt_libraries
from app.commands.machine import doctor as doctor_command
from app.doctor import Finding, examine


def test_every_finding_that_is_not_ok_and_can_be_mended_names_a_line() -> None:
    findings = list(examine())
    names = [finding.name for finding in findings]
    assert {"Python", "torch", "GPU", "recogniser", "demo recording", "window", "bus", "power sensor"} <= set(names)
    assert all(finding.mend for finding in findings if finding.name.startswith("extra ") and finding.state != "ok")
    assert {finding.state for finding in findings} <= {"ok", "lacking", "broken"}


def test_command_prints_markup_as_it_is_and_fails_only_when_something_needed_is_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [Finding("extra gui", "lacking", "not installed", "pip install 'saccade[gui]'")]
    monkeypatch.setattr(doctor, "examine", lambda: iter(found))
    assert doctor_command() == 0
    assert "saccade[gui]" in capsys.readouterr().out
    found.append(Finding("recogniser", "broken", "missing", "reinstall"))
    assert doctor_command(json=True) == 1
    assert json.loads(capsys.readouterr().out)[1] == {
        "name": "recogniser",
        "state": "broken",
        "found": "missing",
        "mend": "reinstall",
    }


def test_missing_library_is_named_by_its_package_and_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qt_libraries, "_loads", lambda library: library != "libEGL.so.1")
    monkeypatch.setattr(qt_libraries, "_has_font", lambda: True)
    monkeypatch.setattr(qt_libraries.sys, "platform", "linux")
    assert qt_libraries.missing_packages() == ["libegl1"]
    assert qt_libraries.install_line(["libegl1"]).endswith("libegl1")


def test_without_root_the_line_is_said_and_nothing_is_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(qt_libraries, "missing_packages", lambda: ["libegl1"])
    monkeypatch.setattr(qt_libraries.os, "geteuid", lambda: 1000, raising=False)
    monkeypatch.setattr(qt_libraries, "_run", lambda command: pytest.fail("nothing may be installed"))
    assert qt_libraries.main() == 0
    assert "sudo apt-get install" in capsys.readouterr().err
