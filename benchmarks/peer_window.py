"""A window of 16 bins through SpikingJelly's Spikformer beside ours, turn by turn.

`python benchmarks/peer_window.py [--rounds 15] [--out benchmarks/results/peer_window.json]`. Both are 2-256 with 16 heads at
2 x 128 x 128 (ours with TIM, which costs more), see the same bins, and have their batch norms set from such bins.
SpikingJelly's runs under the interpreter of `make bench-peers`, in a process that waits while ours computes, with the quickest
of the settings that it has on a CPU. Its own network pools before its neurons, ours behind them: it has fewer neurons.

`--compiled` also tries torch.compile for it, which had not ended after four minutes at this size on 2 cores. `--serve DEVICE`
is the other end, `--small` a rehearsal.
"""

import argparse
import copy
import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / ".venv-peers" / "bin" / "python"
# What is aimed at: how many times as long SpikingJelly's window takes as our window, and as our bin.
AIMS = {"window": 4.0, "bin": 60.0}
N_BINS, N_CLASSES = 16, 11
# How torch runs SpikingJelly's network, and on how many threads: all cores, or one where waking others costs more.
SETTINGS = tuple(f"{way}, {threads}" for way in ("plain", "channels_last", "compiled") for threads in ("all cores", "one core"))
_N_QUICK_SETTINGS = 4
# Runs of each setting that choose the quickest.
_N_TRIALS = 3

Times = dict[str, float]


def time_run(run: Callable[[], object]) -> Times:
    """Milliseconds of one run, of the clock and of the processor in all threads."""
    begun, begun_cpu = time.perf_counter_ns(), time.process_time_ns()
    run()
    return {"ms": (time.perf_counter_ns() - begun) / 1e6, "cpu_ms": (time.process_time_ns() - begun_cpu) / 1e6}


def make_peer(size: int, dim: int) -> Any:
    """SpikingJelly's Spikformer as published for event cameras, seeded."""
    model = importlib.import_module("spikingjelly.activation_based.model.spikformer")
    torch.manual_seed(0)
    return model.Spikformer(
        T=N_BINS, in_channels=2, img_size_h=size, img_size_w=size, num_classes=N_CLASSES, embed_dims=dim, num_heads=16, depths=2
    )


def settle(network: Any, frames: torch.Tensor) -> Any:
    """The network in evaluation, its batch norms set from `frames` (T, B, 2, H, W)."""
    for module in network.modules():
        if isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
            module.momentum = None  # the plain mean of all batches: here there is one
    with torch.no_grad():
        network.train()(frames)
    return network.eval()


def peer_window(setting: str, network: Any, x: torch.Tensor, n_threads: int) -> Callable[[], None]:
    """One window from rest, `x` (T, 1, 2, H, W), in one of SETTINGS, `n_threads` being all cores."""
    network = copy.deepcopy(network)
    functional = importlib.import_module("spikingjelly.activation_based.functional")
    functional.reset_net(network)
    if setting.startswith("channels_last"):
        network = network.to(memory_format=torch.channels_last)
        x = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).view(x.shape)
    run = torch.compile(network) if setting.startswith("compiled") else network

    def window() -> None:
        functional.reset_net(network)
        torch.set_num_threads(1 if setting.endswith("one core") else n_threads)
        with torch.inference_mode():
            run(x).mean(dim=0)

    return window


def serve(device: str) -> None:
    """Answer requests, one JSON object a line, until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    windows: dict[str, Callable[[], None]] = {}
    first = json.loads(sys.stdin.readline())
    given = np.load(first["path"], allow_pickle=False)
    x = torch.from_numpy(given["frames"]).float().unsqueeze(1).to(device)
    network = settle(make_peer(first["size"], first["dim"]), torch.from_numpy(given["settling"]).float()).to(device)
    version = importlib.import_module("importlib.metadata").version("spikingjelly")
    n_threads = torch.get_num_threads()
    about = {"library": f"SpikingJelly {version}", "torch": torch.__version__, "all_cores": n_threads}
    print(json.dumps(about), file=answers, flush=True)
    for line in sys.stdin:
        setting = json.loads(line)["setting"]
        try:
            if setting not in windows:
                windows[setting] = peer_window(setting, network, x, n_threads)
                windows[setting]()
            answer: dict[str, Any] = dict(time_run(windows[setting]))
        except Exception as error:  # noqa: BLE001  # a setting that the library does not bear is a result
            answer = {"refused": f"{type(error).__name__}: {error}"[:200]}
        print(json.dumps(answer), file=answers, flush=True)


class Peer:
    """SpikingJelly in a process of its own; `about` says which it is."""

    def __init__(self, request: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            [str(PEERS), str(Path(__file__).resolve()), "--serve", "cpu"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.about = self._ask(request)

    def time(self, setting: str) -> dict[str, Any]:
        """Times of one window, or why there are none."""
        return self._ask({"setting": setting})

    def close(self) -> None:
        """End the process."""
        stdin: IO[str] | None = self._process.stdin
        if stdin is not None:
            stdin.close()
        self._process.wait(60)

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        print(json.dumps(request), file=stdin, flush=True)
        line = stdout.readline()
        if not line:
            raise RuntimeError(f"SpikingJelly ended with {self._process.wait(60)}; try `{PEERS} {__file__} --serve cpu`")
        answer: dict[str, Any] = json.loads(line)
        return answer


def choose_setting(peer: Peer, settings: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    """The quickest of SpikingJelly's settings, and what each took or why it did not."""
    found: dict[str, Any] = {}
    for setting in settings:
        answers = [peer.time(setting) for _ in range(_N_TRIALS)]
        refused = [answer["refused"] for answer in answers if "refused" in answer]
        found[setting] = {"refused": refused[0]} if refused else {"ms": round(min(answer["ms"] for answer in answers), 2)}
    working = {setting: row["ms"] for setting, row in found.items() if "ms" in row}
    if not working:
        raise RuntimeError(f"SpikingJelly's Spikformer does not run: {found}")
    return min(working, key=lambda setting: working[setting]), found


def summarise(times: list[Times]) -> dict[str, float]:
    """Median, spread and least of the clock's milliseconds; the processor's least."""
    ms = [row["ms"] for row in times]
    return {
        "median_ms": round(statistics.median(ms), 2),
        "spread_ms": round(max(ms) - min(ms), 2),
        "min_ms": round(min(ms), 2),
        "min_cpu_ms": round(min(row["cpu_ms"] for row in times), 2),
    }


def ratios(peer: dict[str, float], window: dict[str, float], bin_: dict[str, float]) -> dict[str, Any]:
    """How many times as long SpikingJelly's window takes, by the medians, by the least, and in processor time.

    On a busy machine the first two flatter the shorter of both, which is interrupted less: then only the last one counts.
    """
    found: dict[str, Any] = {}
    for name, ours in (("window", window), ("bin", bin_)):
        ratio = peer["median_ms"] / ours["median_ms"]
        least, cpu = peer["min_ms"] / ours["min_ms"], peer["min_cpu_ms"] / ours["min_cpu_ms"]
        found[name] = {"ratio": round(ratio, 2), "of_least": round(least, 2), "of_processor_time": round(cpu, 2)}
        found[name] |= {"aim": AIMS[name], "is_met": min(ratio, cpu) >= AIMS[name]}
    return found


def make_ours(size: int, dim: int, settling: Any) -> Any:
    """Our network compiled for one stream, with the threads that are quickest here."""
    from models.engine.compiled import compile_network
    from models.engine.tuning import tune
    from models.registry import create_network

    torch.manual_seed(0)
    network = create_network("tim", dim=dim, depth=2, n_heads=16, n_classes=N_CLASSES, size=(size, size))
    compiled = compile_network(settle(network, torch.from_numpy(settling).float()))
    tune(compiled)
    return compiled


def measure(rounds: int, *, is_small: bool, with_compiler: bool) -> dict[str, Any]:
    """Times of both, a window of SpikingJelly's and then one of ours in each round."""
    import tempfile

    from app.bench.step import EVENTS, make_frames

    frames = make_frames(EVENTS, N_BINS)
    settling = np.stack([make_frames(EVENTS, 8, seed) for seed in range(4)], axis=1)
    size, dim = (32, 32) if is_small else (frames.shape[-1], 256)
    frames, settling = frames[..., :size, :size], settling[..., :size, :size]
    compiled = make_ours(size, dim, settling)
    bins: list[Times] = []

    def window() -> None:
        compiled.reset()
        bins.extend(time_run(lambda frame=frame: compiled.step(frame[None])) for frame in frames)  # type: ignore[misc]

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frames.npz"
        np.savez(path, frames=frames, settling=settling)
        peer = Peer({"path": str(path), "size": size, "dim": dim})
        try:
            setting, settings = choose_setting(peer, SETTINGS if with_compiler else SETTINGS[:_N_QUICK_SETTINGS])
            window()
            bins.clear()
            theirs, ours = [], []
            for _ in range(rounds):
                theirs.append(peer.time(setting))
                ours.append(time_run(window))
        finally:
            peer.close()
    rows = {"peer_window": summarise(theirs), "window": summarise(ours), "bin": summarise(bins)}
    found = {"network": f"2-{dim} at 2x{size}x{size}, T={N_BINS}", "rounds": rounds, "events_per_bin": EVENTS, **rows}
    of = ratios(rows["peer_window"], rows["window"], rows["bin"])
    return {
        **found,
        "peer": {**peer.about, "setting": setting, "settings": settings},
        "threads": compiled.n_threads,
        "times_ours": of,
    }


def main() -> int:
    """Measure and print, or serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", metavar="DEVICE")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--compiled", action="store_true", help="try torch.compile for SpikingJelly too, which takes minutes")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
        return 0
    if not PEERS.exists():
        print("SpikingJelly is not there; make bench-peers installs it", file=sys.stderr)
        return 2
    from provenance import commit

    from app.bench.timing import describe_machine

    found = measure(arguments.rounds, is_small=arguments.small, with_compiler=arguments.compiled)
    for name in ("peer_window", "window", "bin"):
        row = found[name]
        print(f"{name:12} median {row['median_ms']:8.2f} ms, spread {row['spread_ms']:8.2f} ms, least {row['min_ms']:8.2f} ms")
    for name, row in found["times_ours"].items():
        said = f"{row['ratio']} by the clock, {row['of_processor_time']} in processor time (aim {row['aim']:.0f})"
        print(f"SpikingJelly's window, times our {name}: {said}")
    text = json.dumps({**found, "rehearsal": arguments.small, "machine": describe_machine(), "commit": commit()}, indent=1)
    if arguments.out is None:
        print(text)
    else:
        arguments.out.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
