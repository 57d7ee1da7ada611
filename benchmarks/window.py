"""What one turn of the window costs. Run: `QT_QPA_PLATFORM=offscreen python benchmarks/window.py`.

A made-up scene of 100 bins a second is played through the window at its own rate, as fast as the machine allows; what is
told is processor time a turn (messages into the state, state onto the board, everything painted), never the waiting.
"""

import argparse
import os
import platform
import time
from pathlib import Path

from gui.demo_feed import DemoFeed
from gui.state import WindowState
from gui.window import REFRESH_MS, Player, prepare_application, require_qt, save_picture
from pipeline.schema.clock import NS_PER_MS

N_TURNS = 240
# Fonts, caches and a full raster come first: 400 bins of 10 ms are 122 turns.
N_WARM_TURNS = 130


class _Clock:
    """Time that passes only when told."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


def measure_turns(width: int, height: int, picture: Path | None) -> list[float]:
    """Milliseconds of processor time of each turn, all threads together."""
    from gui.panels.board import Board

    application = prepare_application()
    clock, board = _Clock(), Board("benchmark")
    board.resize(width, height)
    board.show()
    player = Player(DemoFeed(clock), WindowState("demo"), board, clock)
    costs_ms = []
    for turn in range(N_WARM_TURNS + N_TURNS):
        clock.now_ns += REFRESH_MS * NS_PER_MS
        before_ns = time.process_time_ns()
        player.step()
        application.processEvents()
        if turn >= N_WARM_TURNS:
            costs_ms.append((time.process_time_ns() - before_ns) / NS_PER_MS)
    if picture is not None:
        save_picture(board, picture)
    board.close()
    board.deleteLater()
    application.processEvents()
    return costs_ms


def measure_scene() -> float:
    """Milliseconds a turn that making the scene itself costs, which no real window pays."""
    clock = _Clock()
    feed = DemoFeed(clock)
    before_ns = time.process_time_ns()
    for _ in range(N_TURNS):
        clock.now_ns += REFRESH_MS * NS_PER_MS
        feed.drain()
    return (time.process_time_ns() - before_ns) / NS_PER_MS / N_TURNS


def main() -> None:
    """Print median, spread and machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=800)
    parser.add_argument("--picture", type=Path, help="leave a picture of the last turn here")
    options = parser.parse_args()
    before_ns = time.process_time_ns()
    require_qt()
    prepare_application()
    import gui.panels.board

    del gui
    load_ms = (time.process_time_ns() - before_ns) / NS_PER_MS
    costs_ms = sorted(measure_turns(options.width, options.height, options.picture))
    scene_ms = measure_scene()
    print(f"machine: {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"window: {options.width} x {options.height}, a turn every {REFRESH_MS} ms")
    print(f"loading Qt and the panels: {load_ms:.0f} ms")
    p10_ms, median_ms, p90_ms = (costs_ms[int(share * len(costs_ms))] - scene_ms for share in (0.1, 0.5, 0.9))
    print(f"one turn, without the {scene_ms:.2f} ms of making the scene: median {median_ms:.2f} ms, ", end="")
    print(f"10 % below {p10_ms:.2f} ms, 90 % below {p90_ms:.2f} ms")
    print(f"of one core: {100 * median_ms / REFRESH_MS:.0f} %")


if __name__ == "__main__":
    main()
