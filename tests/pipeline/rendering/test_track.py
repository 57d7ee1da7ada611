from pipeline.rendering.track import Caption, CaptionTrack

A, B, C = Caption(10, 30, "a"), Caption(20, 25, "b"), Caption(40, 50, "c")


def test_a_caption_is_shown_from_its_start_until_before_its_end():
    track = CaptionTrack([A, C])
    assert [track.at(t) for t in (9, 10, 29, 30, 40, 49, 50)] == [None, A, A, None, C, C, None]


def test_of_two_at_once_the_later_one_counts():
    track = CaptionTrack([A, B])
    assert [track.at(t) for t in (19, 20, 24, 25)] == [A, B, B, None]


def test_captions_are_drawn_only_as_time_needs_them():
    drawn = []

    def captions():
        for number in range(1000):
            drawn.append(number)
            yield Caption(number, number + 1, str(number))

    assert CaptionTrack(captions()).at(5).text == "5"
    assert len(drawn) == 7
