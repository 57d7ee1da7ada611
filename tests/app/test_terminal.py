"""How commands speak."""

import pytest

from app.terminal import complain, print_json, print_pairs, print_table, progress_bar


def test_json_is_one_line_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": None, "b": ["ü\n"]})
    assert capsys.readouterr().out == '{"a":null,"b":["ü\\n"]}\n'


def test_pairs_stand_in_columns(capsys: pytest.CaptureFixture[str]) -> None:
    print_pairs([("a", 1), ("long", "x")])
    assert capsys.readouterr().out == "a     1\nlong  x\n"


def test_table_shows_markup_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("path", "events*"), [("[red]/a", 12)])
    out = capsys.readouterr().out
    assert "[red]/a" in out
    assert "events " in out


def test_without_a_terminal_there_is_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("reading") as progress:
        progress(1, 2)
    complain("no")
    assert capsys.readouterr().err == "saccade: no\n"
