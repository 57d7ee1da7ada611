import pytest
from triggered import TriggeredSource

from app.targets import Transfer
from pipeline.schema.errors import UsageError
from pipeline.sinks.triggers import TriggerTable


class ListSink:
    """A sink that keeps what it is given; it holds triggers where told so."""

    def __init__(self, *, holds_triggers: bool) -> None:
        self.holds_triggers = holds_triggers
        self.times: list[int] = []
        self.triggers: list[int] = []

    def write(self, events) -> None:
        self.times += events["t"].tolist()

    def write_triggers(self, triggers) -> None:
        assert self.holds_triggers
        self.triggers += triggers["t"].tolist()


def copied(*, holds_triggers, table=None, from_zero=False, triggers=(90, 110, 140)):
    sink = ListSink(holds_triggers=holds_triggers)
    transfer = Transfer(sink, table, from_zero=from_zero)
    seen = []
    transfer.copy(TriggeredSource([100, 120, 130], triggers=triggers), lambda done, total: seen.append((done, total)))
    assert transfer.n_events == 3
    assert seen == [(32, 48), (48, 48)]
    return sink, transfer


def test_triggers_go_into_the_recording_where_it_holds_them():
    sink, transfer = copied(holds_triggers=True)
    assert (sink.times, sink.triggers, transfer.n_triggers_lost) == ([100, 120, 130], [90, 110, 140], 0)


def test_triggers_that_find_no_room_are_counted():
    assert copied(holds_triggers=False)[1].n_triggers_lost == 3


@pytest.mark.parametrize("holds_triggers", [True, False])
def test_a_table_takes_them_all_and_nothing_is_lost(tmp_path, holds_triggers):
    with TriggerTable(tmp_path / "a.csv") as table:
        sink, transfer = copied(holds_triggers=holds_triggers, table=table, from_zero=True)
    assert (tmp_path / "a.csv").read_text().split() == ["t_us,id,p", "-10,0,1", "10,0,1", "40,0,1"]
    assert sink.triggers == ([10, 40] if holds_triggers else [])
    assert transfer.n_triggers_lost == 0


def test_a_trigger_before_zero_is_counted_as_lost_where_there_is_no_table():
    sink, transfer = copied(holds_triggers=True, from_zero=True)
    assert (sink.times, sink.triggers, transfer.n_triggers_lost) == ([0, 20, 30], [10, 40], 1)


def test_triggers_that_the_format_has_no_word_for_do_not_stop_the_events(tmp_path, capsys):
    class Picky(ListSink):
        def write_triggers(self, triggers):
            if triggers.size:
                raise UsageError("inputs 0 to 3 only")

    sink = Picky(holds_triggers=True)
    transfer = Transfer(sink, None, from_zero=False)
    transfer.copy(TriggeredSource([100, 120], triggers=[110, 119]), lambda *_: None)
    transfer.complain_of_lost(tmp_path / "a.raw")
    assert sink.times == [100, 120]
    expected = "saccade: 2 triggers not written to a.raw (inputs 0 to 3 only); keep them with --triggers OUT.csv\n"
    assert capsys.readouterr().err == expected


def test_a_refusing_sink_stops_the_copy():
    class Refusing(ListSink):
        def write(self, events):
            raise UsageError("too late")

    with pytest.raises(UsageError, match="too late"):
        Transfer(Refusing(holds_triggers=False), None, from_zero=False).copy(TriggeredSource([1]), lambda *_: None)
