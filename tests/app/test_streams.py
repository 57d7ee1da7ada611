"""Whole runs: real processes, real sockets, the twin of a recogniser."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from time import monotonic

import numpy as np
import psutil
import pytest
from builders import random_events

from app.commands.capturing import ClipOptions, record
from app.requests import ask, find_control
from pipeline.bus import ControlClient, Subscriber
from pipeline.codec import unpack
from pipeline.schema.errors import UsageError
from pipeline.schema.events import empty_events
from pipeline.schema.messages import Hello, Request
from pipeline.sources.registry import open_recording

ROOT = Path(__file__).parents[2]
# `python -m app`, without standing in the checkout.
_CODE = "import sys; sys.argv[0] = 'saccade'; from app.__main__ import main; main()"


@pytest.fixture
def tmp_path(tmp_path_factory):
    """A folder with a short name: in a longer one a run would not keep its sockets."""
    return tmp_path_factory.mktemp("run")


@pytest.fixture
def recording(tmp_path):
    """One second of 20,000 events, 32 x 24 pixels."""
    events = random_events(20_000, duration_us=1_000_000)
    path = tmp_path / "made.npz"
    np.savez(path, t=events["t"], x=events["x"], y=events["y"], p=events["p"], width=32, height=24)
    return path


@contextmanager
def saccade(*arguments, tmp_path, **options):
    """A running `saccade`; whatever happens, nothing of it is left."""
    (tmp_path / "sockets").mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "sockets"), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", _CODE, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )
    try:
        yield process
    finally:
        for child in (*psutil.Process(process.pid).children(recursive=True), process) if process.poll() is None else ():
            child.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def workers_of(process, n=2):
    """The children of a run by role, once all are there."""
    deadline = monotonic() + 10
    while monotonic() < deadline:
        found = {
            child.cmdline()[-1]: child for child in psutil.Process(process.pid).children() if "app.worker" in child.cmdline()
        }
        if len(found) == n:
            return found
    raise AssertionError("the workers do not start")


def assert_nothing_left(children, tmp_path):
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive
    assert list((tmp_path / "sockets").iterdir()) == []


def test_a_headless_replay_labels_every_bin_once_and_ends(recording, tmp_path):
    with saccade("replay", recording, "--json", "--speed", "max", "--network", "canned", tmp_path=tmp_path) as process:
        out, err = process.communicate(timeout=30)
    labels = [json.loads(line) for line in out.splitlines()]
    assert [label["seq"] for label in labels] == list(range(100))
    assert sum(label["n_events"] for label in labels) == 20_000
    assert {label["type"] for label in labels} == {"label"}
    assert (process.returncode, err) == (0, "")
    assert list((tmp_path / "sockets").iterdir()) == []


def test_a_replay_runs_through_filters_and_says_what_they_dropped(recording, tmp_path):
    flags = ("--json", "--speed", "max", "--network", "canned", "--filter", "polarity=on", "--start", "200ms", "--end", "700ms")
    with saccade("replay", recording, *flags, tmp_path=tmp_path) as process:
        out, err = process.communicate(timeout=30)
    with np.load(recording) as made:
        t = made["t"] - made["t"][0]
        n_wanted = int(np.count_nonzero((t >= 200_000) & (t < 700_000) & (made["p"] == 1)))
    assert sum(json.loads(line)["n_events"] for line in out.splitlines()) == n_wanted
    assert (process.returncode, err.count("\n")) == (0, 1)
    assert "polarity" in err
    assert "dropped" in err


def test_an_unknown_filter_ends_a_replay_with_code_2(recording, tmp_path):
    with saccade("replay", recording, "--json", "--network", "canned", "--filter", "blur=3", tmp_path=tmp_path) as process:
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (2, "")
    assert "blur" in err


def test_a_recording_that_is_missing_ends_with_one_sentence_and_code_3(tmp_path):
    with saccade("replay", tmp_path / "none.aedat4", "--json", "--network", "canned", tmp_path=tmp_path) as process:
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (3, "")
    assert err.count("\n") == 1
    assert "none.aedat4 does not exist" in err


def test_a_start_behind_the_end_is_told_although_the_run_had_begun(recording, tmp_path):
    with saccade("replay", recording, "--json", "--network", "canned", "--start", "5s", tmp_path=tmp_path) as process:
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (2, "")
    assert "behind the last event" in err


def test_an_address_that_others_could_reach_is_refused(recording, tmp_path):
    arguments = ("replay", recording, "--json", "--network", "canned", "--publish", "tcp://0.0.0.0:5556")
    with saccade(*arguments, tmp_path=tmp_path) as process:
        _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "no keys" in err


@pytest.mark.parametrize("role", ["capture", "inference"])
def test_a_worker_that_dies_ends_the_run_with_its_name(recording, tmp_path, role):
    with saccade("replay", recording, "--json", "--loop", "--network", "canned", tmp_path=tmp_path) as process:
        process.stdout.readline()
        children = workers_of(process)
        children[role].kill()
        _, err = process.communicate(timeout=15)
        assert process.returncode == 1
        assert f"the {role} process was ended by SIGKILL" in err
        assert_nothing_left(children.values(), tmp_path)


def test_ctrl_c_ends_everything_with_code_130(recording, tmp_path):
    with saccade("replay", recording, "--json", "--loop", "--network", "canned", tmp_path=tmp_path) as process:
        process.stdout.readline()
        children = workers_of(process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=15)
        assert (process.returncode, err) == (130, "")
        assert_nothing_left(children.values(), tmp_path)


def test_workers_end_when_their_owner_is_killed(recording, tmp_path):
    with saccade("replay", recording, "--json", "--loop", "--network", "canned", tmp_path=tmp_path) as process:
        process.stdout.readline()
        children = workers_of(process)
        process.kill()
        _, alive = psutil.wait_procs(children.values(), timeout=10)
        assert not alive


def test_a_reader_that_leaves_ends_the_run_quietly(recording, tmp_path):
    with saccade("replay", recording, "--json", "--loop", "--network", "canned", tmp_path=tmp_path) as process:
        process.stdout.readline()
        children = workers_of(process)
        process.stdout.close()
        assert process.wait(timeout=15) == 0
        assert process.stderr.read() == ""
        assert_nothing_left(children.values(), tmp_path)


def test_listeners_and_controls_of_a_published_replay(recording, tmp_path):
    url = f"ipc://{tmp_path}/public"
    inlets = [Subscriber(url, [b"label/", b"hello/"]) for _ in range(2)]
    try:
        arguments = ("replay", recording, "--json", "--speed", "max", "--network", "canned", "--publish", url)
        with saccade(*arguments, tmp_path=tmp_path) as process:
            out, _ = process.communicate(timeout=30)
            assert process.returncode == 0
        printed = [json.loads(line)["seq"] for line in out.splitlines()]
        for inlet in inlets:
            received = []
            while (parts := inlet.receive(300)) is not None:
                message, _ = unpack(parts)
                if message.type == "label":
                    received.append(message.seq)
            assert received == printed
    finally:
        for inlet in inlets:
            inlet.close()


def test_a_daemon_serves_labels_and_controls_and_ends_well_on_sigterm(recording, tmp_path):
    url = f"ipc://{tmp_path}/public"
    config = tmp_path / "saccade.toml"
    config.write_text(
        f'[source]\nuri = "file:{recording}"\nloop = true\n[recogniser]\nnetwork = "canned"\n[publish]\nurl = "{url}"\n'
    )
    inlet = Subscriber(url, [b"label/", b"hello/"])
    try:
        with saccade("daemon", "--config", config, tmp_path=tmp_path) as process:
            assert json.loads(process.stdout.readline())["type"] == "label"
            hello = None
            while hello is None or not hello.source:
                message, _ = unpack(inlet.receive(10_000))
                hello = message if message.type == "hello" else hello
            client = ControlClient(hello.control)
            try:
                assert client.request(Request("pause")).ok
                assert not client.request(Request("speed", -1.0)).ok
            finally:
                client.close()
            with saccade("listen", url, "--json", "--seconds", "0.5", tmp_path=tmp_path) as listener:
                listener.communicate(timeout=15)
                assert listener.returncode == 0
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=15)
            assert process.returncode == 0
    finally:
        inlet.close()


def replay_that_may_be_recorded(recording, tmp_path):
    """A replay without end that others may record into `clips`, and its address."""
    url = f"ipc://{tmp_path}/public"
    arguments = ("replay", recording, "--json", "--loop", "--network", "canned", "--publish", url)
    return saccade(*arguments, "--record-to", tmp_path / "clips", tmp_path=tmp_path), url


def read(path):
    with open_recording(path) as source:
        return np.concatenate([empty_events(), *source.packets()])


def test_a_running_saccade_records_below_its_folder_and_goes_on(recording, tmp_path, capsys):
    running, url = replay_that_may_be_recorded(recording, tmp_path)
    with running as process:
        process.stdout.readline()
        clip = ClipOptions(label="wave", seconds="100ms")
        assert record(Path("mine"), at=url, clip=clip, json=True) == 0
        line = json.loads(capsys.readouterr().out)
        with pytest.raises(UsageError, match="no path of a recording"):
            record(Path("../out"), at=url, clip=ClipOptions(seconds="100ms"))
        assert json.loads(process.stdout.readline())["type"] == "label"
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=15)
    found = read(tmp_path / "clips" / line["path"])
    assert (line["path"], line["label"], line["events"]) == ("mine/wave/wave-001.aedat4", "wave", found.size)
    events = read(recording)
    assert np.array_equal(found, events[(events["t"] >= found["t"][0]) & (events["t"] <= found["t"][-1])])
    assert 90_000 < line["duration_us"] <= 100_000


def test_a_capture_that_is_killed_leaves_what_it_received(recording, tmp_path):
    running, url = replay_that_may_be_recorded(recording, tmp_path)
    with running as process:
        process.stdout.readline()
        with closing(ControlClient(find_control(url))) as control:
            assert ask(control, Request("record", 60.0, path="long")) == "long.aedat4"
        with closing(Subscriber(url, [b"status/"])) as inlet:
            n_events, deadline = 0, monotonic() + 20
            while n_events == 0 and monotonic() < deadline:
                parts = inlet.receive(100)
                report = unpack(parts)[0].recording if parts else None
                n_events = report.n_events if report else 0
        workers_of(process)["capture"].kill()
        process.communicate(timeout=15)
    found, events = read(tmp_path / "clips" / "long.aedat4"), read(recording)
    start = int(np.flatnonzero(events["t"] == found["t"][0])[0])
    assert found.size > 0
    assert np.array_equal(found, events[start : start + found.size])


def labels_until(process, label_is_last, n_most=5000):
    """Labels as they are printed, up to the first for which `label_is_last`."""
    labels = []
    while not (labels and label_is_last(labels[-1])):
        labels.append(json.loads(process.stdout.readline()))
        assert len(labels) < n_most
    return labels


def hellos_of(inlet):
    """The networks that were told of, in order, with their bins."""
    found = []
    while (parts := inlet.receive(100)) is not None:
        hello = unpack(parts)[0]
        if isinstance(hello, Hello) and hello.source:
            found.append((hello.network, hello.delta_t_us, hello.frame_width, hello.frame_height, len(hello.classes)))
    return list(dict.fromkeys(found))


def test_a_running_saccade_goes_on_with_another_network_in_other_bins_and_back(recording, tmp_path):
    url = f"ipc://{tmp_path}/public"
    arguments = ("replay", recording, "--json", "--loop", "--network", "canned", "--publish", url)
    with saccade(*arguments, tmp_path=tmp_path) as process, ThreadPoolExecutor(1) as aside:
        labels = labels_until(process, lambda _: True)
        with closing(Subscriber(url, [b"hello/"])) as inlet, closing(ControlClient(find_control(url))) as control:

            def change_to(name):
                return aside.submit(control.request, Request("network", name=name), timeout_ms=60_000)

            refused = change_to(str(recording))
            labels += labels_until(process, lambda _: refused.done())
            there = change_to("small")
            labels += labels_until(process, lambda label: label["network"].startswith("tim@"))
            labels += labels_until(process, lambda _: there.done())
            back = change_to("canned")
            labels += labels_until(process, lambda label: label["network"] == "canned@0")
            labels += labels_until(process, lambda _: back.done())
            hellos = hellos_of(inlet)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=15)
    reasons = [future.result() for future in (refused, there, back)]
    assert [reply.ok for reply in reasons] == [False, True, True]
    assert "not a safetensors checkpoint" in reasons[0].text
    networks = list(dict.fromkeys(label["network"] for label in labels))
    assert [name.partition("@")[0] for name in networks] == ["canned", "tim"]
    assert [label["seq"] for label in labels] == list(range(len(labels)))
    bins = {(label["network"], label["end_us"] - label["start_us"]) for label in labels}
    assert bins == {("canned@0", 10_000), (networks[1], 50_000)}
    assert hellos == [("canned@0", 10_000, 32, 24, 3), (networks[1], 50_000, 32, 32, 12)]
