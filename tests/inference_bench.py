"""An inference service between two buses in memory, for the tests of it and of what is asked of it."""

import numpy as np

from pipeline.bus import ControlClient, ControlServer
from pipeline.codec import pack, unpack
from pipeline.decision import DecisionSettings
from pipeline.fakes import CannedRecogniser, MemoryBus
from pipeline.inference import InferenceService
from pipeline.power import NullMeter
from pipeline.publishing import Endpoint
from pipeline.schema.messages import FrameHead, Hello
from pipeline.seat import Loaded, Seat


class Bench:
    """An inference service between two buses in memory, with capture played by the test."""

    def __init__(self, topics=(b"label/", b"gap/", b"status/"), recogniser=None, load=None):
        self.capture, self.bus = MemoryBus(), MemoryBus()
        self.inlet = self.bus.connect(topics)
        self.recogniser = recogniser or CannedRecogniser()
        self.upstream = self.capture.connect([])
        control = ControlServer([f"inproc://{id(self)}"])
        self.service = InferenceService(
            Seat(Loaded(self.recogniser, DecisionSettings(hold_bins=2)), load, is_beside=False),
            self.upstream,
            [Endpoint(self.bus, control.addresses[0])],
            control,
            ControlClient(f"inproc://{id(self)}-nobody"),
            NullMeter(),
        )
        self.capture.send(pack(Hello("cam0", "", [], 0, 0, "ipc:///c", 32, 24)))
        self.step(2)

    def step(self, n=1):
        for _ in range(n):
            assert self.service.step()

    def send_frame(self, seq, *, column=0, start_us=None, n_events=100, shape=(24, 32)):
        height, width = shape
        counts = np.zeros((2, height, width), np.uint8)
        counts[0, :, column] = 1
        start_us = 10_000 * seq if start_us is None else start_us
        head = FrameHead("cam0", seq, start_us, start_us + 10_000, n_events, 1, width, height, 1_000_000, 2_000_000)
        self.capture.send(pack(head, counts))
        self.step()

    def received(self, kind=None):
        found = []
        while (parts := self.inlet.receive(0)) is not None:
            message, array = unpack(parts)
            if kind is None or message.type == kind:
                found.append((message, array))
        return found

    def close(self):
        self.service.close()
