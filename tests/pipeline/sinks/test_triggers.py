import pytest

from pipeline.schema.errors import UsageError
from pipeline.schema.events import empty_triggers, make_triggers
from pipeline.sinks.triggers import TriggerTable


def test_triggers_become_lines_that_every_program_reads(tmp_path):
    with TriggerTable(tmp_path / "a.csv") as table:
        table.write(make_triggers([5, 1 << 40], [0, 6], [1, 0]))
        table.write(empty_triggers())
        table.write(make_triggers([-3], [2], [1]))
    assert (tmp_path / "a.csv").read_text() == "t_us,id,p\n5,0,1\n1099511627776,6,0\n-3,2,1\n"


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(UsageError, match="cannot be written"):
        TriggerTable(tmp_path / "none" / "a.csv")
