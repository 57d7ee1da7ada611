"""The command line: help at once, exit codes, and nothing heavy loaded for it."""

import subprocess
import sys

import pytest

from app.overview import GROUPS, help_page


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "app", *words], capture_output=True, text=True, timeout=60, check=False)


def test_help_names_every_command_and_loads_nothing_heavy() -> None:
    heavy = ("torch", "numba", "PySide6", "numpy", "zmq", "cyclopts")
    program = (
        "import sys; sys.argv = ['saccade', '--help']; from app.__main__ import main; main();"
        f"loaded = [m for m in {heavy!r} if m in sys.modules]; assert not loaded, loaded"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert all(name in result.stdout for _, commands in GROUPS for name, _, _ in commands)


def test_help_has_no_line_longer_than_a_wide_terminal() -> None:
    assert max(len(line) for line in help_page().splitlines()) <= 120


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--version",), 0, ""),
        (("dance",), 2, "dance"),
        (("info", "--nope"), 2, "--nope"),
        (("info", "/nowhere/at/all.aedat"), 3, "does not exist"),
        (("evaluate", "nowhere", "synthetic:gestures"), 3, "no checkpoint 'nowhere'"),
    ],
)
def test_exit_codes_are_those_of_the_contract_and_never_a_traceback(words: tuple[str, ...], code: int, said: str) -> None:
    result = _run(*words)
    assert result.returncode == code
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_a_reader_that_has_left_is_no_failure_of_ours() -> None:
    command = [sys.executable, "-m", "app", "doctor", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(timeout=60) == 0
    assert "Traceback" not in said
    assert "Broken pipe" not in said
