import pytest

from pipeline.power import NOT_AVAILABLE, NullMeter, PacedMeter, PowerReading, RaplMeter, open_power_meter, used_energy_uj


def test_nothing_measured_is_said_and_not_guessed():
    assert NullMeter().read() == PowerReading(None, NOT_AVAILABLE)


def test_a_counter_that_wrapped_counts_on():
    assert used_energy_uj(10, 25, 99) == 15
    assert used_energy_uj(95, 4, 99) == 9


def make_package(root, name, energy_uj):
    package = root / name
    package.mkdir()
    (package / "max_energy_range_uj").write_text("999999")
    (package / "energy_uj").write_text(str(energy_uj))
    return package


def test_packages_are_summed_and_their_parts_are_not(tmp_path, monkeypatch):
    packages = [make_package(tmp_path, name, 1000) for name in ("intel-rapl:0", "intel-rapl:1")]
    make_package(tmp_path, "intel-rapl:0:0", 1000)
    times = iter([0, 1_000_000_000])
    monkeypatch.setattr("pipeline.power.host_ns", lambda: next(times))
    meter = RaplMeter(tmp_path)
    for package in packages:
        (package / "energy_uj").write_text("251000")
    assert meter.read() == PowerReading(0.5, "RAPL (processor)")


def test_a_counter_that_vanishes_is_not_available(tmp_path):
    package = make_package(tmp_path, "intel-rapl:0", 1000)
    meter = RaplMeter(tmp_path)
    (package / "energy_uj").unlink()
    assert meter.read() == PowerReading(None, NOT_AVAILABLE)


def test_a_machine_without_counters_has_none(tmp_path):
    with pytest.raises(OSError, match="no energy counters"):
        RaplMeter(tmp_path)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_some_meter_is_always_there(device):
    meter = open_power_meter(device)
    reading = meter.read()
    assert reading.power_w is None or reading.power_w >= 0
    meter.close()
    meter.close()


def test_a_paced_meter_asks_its_sensor_once_a_period(monkeypatch):
    now_ns = [0]
    monkeypatch.setattr("pipeline.power.host_ns", lambda: now_ns[0])
    readings = iter([PowerReading(1.0, "x"), PowerReading(2.0, "x")])
    meter = NullMeter()
    monkeypatch.setattr(meter, "read", lambda: next(readings))
    paced, found = PacedMeter(meter, 100), []
    for now_ns[0] in (0, 99, 100, 150):
        found.append(paced.read().power_w)
    assert found == [1.0, 1.0, 2.0, 2.0]
