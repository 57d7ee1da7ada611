from pipeline.labelling import OrderWatch
from pipeline.schema.messages import FrameHead


def head(seq, start_us):
    return FrameHead("cam0", seq, start_us, start_us + 10, 0, 0, 8, 6, 0, 0)


def test_frames_in_order_have_no_gap_and_follow_each_other():
    watch = OrderWatch()
    assert [watch.take(head(seq, 10 * seq), 5) for seq in (7, 8, 9)] == [(None, True)] * 3


def test_missing_frames_are_a_gap_with_their_number():
    watch = OrderWatch()
    watch.take(head(1, 10), 5)
    gap, is_next = watch.take(head(4, 40), 6)
    assert (gap.after_seq, gap.n_lost, gap.topic, gap.host_ns) == (1, 2, "frame/cam0", 6)
    assert not is_next


def test_time_that_breaks_off_is_no_gap_but_does_not_go_on():
    watch = OrderWatch()
    watch.take(head(1, 10), 5)
    assert watch.take(head(2, 500), 6) == (None, False)
