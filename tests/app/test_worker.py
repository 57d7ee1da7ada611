"""The body of a child process."""

import gc

from app.worker import _built_without_pauses


def test_what_a_worker_is_built_of_is_never_looked_through_again() -> None:
    # the collector took 0.1 to 0.5 s whenever it went through all of torch
    gc.unfreeze()
    try:
        with _built_without_pauses():
            assert not gc.isenabled()
            built = [[] for _ in range(1000)]
        assert gc.isenabled()
        assert gc.get_freeze_count() >= len(built)
        assert not any(kept is built for kept in gc.get_objects())
    finally:
        gc.unfreeze()
