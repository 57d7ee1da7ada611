"""What the processes said of themselves, where the source is, what was lost, and how long ago anything was heard.

Knows neither Qt, nor sockets, nor a clock.
"""

from gui.snapshot import Connection, FeedReport, Losses, Playback
from gui.wording import count_of
from pipeline.schema.clock import NS_PER_S
from pipeline.schema.messages import Status

# The heartbeat comes every second; two missed ones are a warning.
STALE_NS = 2 * NS_PER_S
_NOTE_NS = 5 * NS_PER_S


class Health:
    """What the processes said of themselves, where the source is, and how long ago anything was heard."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._statuses: dict[str, Status] = {}
        self._heard_ns: int | None = None
        self._first_us: int | None = None
        self._now_us = 0
        self._extent_us = 0
        self.report = FeedReport()

    @property
    def source(self) -> str:
        """Name of the source as a status gave it, empty before."""
        return next((status.source for status in self._statuses.values()), "")

    @property
    def has_heard(self) -> bool:
        """Whether anything arrived at all."""
        return self._heard_ns is not None

    def heard(self, arrived_ns: int) -> None:
        """Note that something arrived."""
        self._heard_ns = arrived_ns

    def add(self, status: Status) -> None:
        """Keep the newest status of each process."""
        self._statuses[status.process] = status

    def position(self, start_us: int, end_us: int) -> None:
        """Note the sensor time reached; the earliest time seen is the beginning."""
        self._first_us = start_us if self._first_us is None else min(self._first_us, start_us)
        self._now_us = end_us
        self._extent_us = max(self._extent_us, end_us - self._first_us)

    def connection(self, now_ns: int) -> Connection:
        """Give the state of the other side, in one word and one phrase; a failure outranks an end, an end outranks silence."""
        if self.report.failure:
            return Connection("failed", f"failed: {self.report.failure}")
        if self._heard_ns is None:
            return Connection("waiting", _waiting_for(self._url))
        for state in ("failed", "ended"):
            status = self._status_in(state)
            if status is not None:
                return Connection(state, f"{state}: {status.text}" if status.text else state)
        silence_ns = now_ns - self._heard_ns
        if silence_ns > STALE_NS:
            return Connection("stale", f"no message for {silence_ns // NS_PER_S} s")
        if self._status_in("paused"):
            return Connection("paused", "paused")
        if self._status_in("starting") or self._first_us is None:
            return Connection("starting", "starting")
        return Connection("running", "running")

    def playback(self, now_ns: int) -> Playback:
        """Where the source is and what may be asked of it."""
        capture = self._statuses.get("capture")
        is_fresh = self.report.reply != "" and now_ns - self.report.reply_ns < _NOTE_NS
        first_us, extent_us = self._span(capture)
        return Playback(
            position_us=max(self._now_us - first_us, 0),
            extent_us=extent_us,
            is_paused=self._status_in("paused") is not None,
            speed=capture.speed if capture else 1.0,
            is_over=self._status_in("ended") is not None,
            is_looped=capture.is_looped if capture else False,
            obstacle=self._obstacle(capture),
            note=self.report.reply if is_fresh else "",
        )

    def losses(self, n_labels: int) -> Losses:
        """What was lost by anybody, this window included; events missing from frames are told by each process in turn."""
        statuses = self._statuses.values()
        return Losses(
            n_frames=sum(status.n_dropped_frames for status in statuses),
            n_gaps=sum(status.n_gaps for status in statuses),
            n_events=max((status.n_dropped_events for status in statuses), default=0),
            n_labels=n_labels + self.report.n_labels_dropped,
            n_bad_messages=sum(status.n_bad_messages for status in statuses) + self.report.n_bad_messages,
            n_pictures_skipped=self.report.n_pictures_skipped,
        )

    def _span(self, capture: Status | None) -> tuple[int, int]:
        """Sensor time of the beginning, and how long it lasts: the whole recording where it is known, else what was seen."""
        if capture is not None and capture.duration_us > 0:
            return capture.first_us, max(capture.duration_us, self._now_us - capture.first_us)
        return self._first_us or 0, self._extent_us

    def _obstacle(self, capture: Status | None) -> str:
        """Why nothing can be asked of the other side, empty when it can."""
        if self._status_in("failed") is not None:
            return "It failed: nobody is left to answer."
        if capture is not None and capture.is_live:
            return "The source is live: only a recording can be held, sought or played at another speed."
        return "" if self.report.can_control else "This bus announced no address for requests."

    def _status_in(self, state: str) -> Status | None:
        """Status that decides for `state`: any process in it; for `ended`, all of them, or one that comes after capture."""
        found = [status for status in self._statuses.values() if status.state == state]
        if state == "ended" and len(found) < len(self._statuses):
            found = [status for status in found if status.process != "capture"]
        return found[0] if found else None


def describe_losses(losses: Losses) -> str:
    """Losses by kind, in words, for a tooltip."""
    return "\n".join(
        (
            f"{count_of(losses.n_frames, 'frame')} dropped under overload",
            f"{count_of(losses.n_gaps, 'frame')} never arrived",
            f"{count_of(losses.n_events, 'event')} in no frame",
            f"{count_of(losses.n_labels, 'label')} missed by this window",
            f"{count_of(losses.n_bad_messages, 'message')} refused as damaged",
            f"{count_of(losses.n_pictures_skipped, 'picture')} skipped by this window (labels unaffected)",
        )
    )


def _waiting_for(url: str) -> str:
    # a private address of our own making tells nobody anything
    return "waiting for the first time bin" if url.startswith(("ipc:", "inproc:")) else f"waiting for {url}"
