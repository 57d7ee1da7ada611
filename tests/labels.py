"""Labels as an inference process publishes them, for tests of whoever listens."""

from pipeline.schema.messages import Label, LabelLatency


def label_of(seq, name="wave", *, stable=True):
    return Label(
        seq=seq,
        source="cam0",
        start_us=5_000_000 + 10_000 * seq,
        end_us=5_010_000 + 10_000 * seq,
        host_ns=0,
        label=name,
        index=-1 if name == "nothing" else 0,
        confidence=0.0 if name == "nothing" else 0.93,
        top=[],
        stable=stable,
        latency_ms=LabelLatency(1, 2, 3),
        n_events=5,
        n_dropped=0,
        sops=0,
        energy_uj=0.0,
        network="n@1",
    )
