import socket

import pytest

from pipeline.addresses import check_address, control_address, refuse_taken_path
from pipeline.schema.errors import AddressRefusedError, BusError


@pytest.mark.parametrize(
    "address", ["ipc:///tmp/x", "inproc://x", "tcp://127.0.0.1:5556", "tcp://127.0.0.1:*", "tcp://[::1]:0", "tcp://127.1.2.3:9"]
)
def test_local_addresses_are_allowed(address):
    assert check_address(address) == address


def test_localhost_is_the_loopback_address():
    assert check_address("tcp://localhost:5556") == "tcp://127.0.0.1:5556"


@pytest.mark.parametrize(
    "address", ["tcp://*:5556", "tcp://0.0.0.0:5556", "tcp://10.0.0.7:5556", "tcp://gpu-box:5556", "tcp://[::]:1"]
)
def test_addresses_that_others_could_reach_are_refused(address):
    with pytest.raises(AddressRefusedError, match="no keys") as caught:
        check_address(address)
    assert caught.value.exit_code == 2
    assert address in str(caught.value)


@pytest.mark.parametrize(
    "address", ["", "5556", "tcp://127.0.0.1", "tcp://127.0.0.1:99999", "udp://127.0.0.1:5", "ipc://", "inproc://"]
)
def test_what_is_no_address_is_refused(address):
    with pytest.raises(AddressRefusedError, match="no address"):
        check_address(address)


def test_a_socket_path_that_no_system_takes_is_refused():
    with pytest.raises(BusError, match="103"):
        check_address("ipc:///" + "x" * 103)


def test_control_is_reached_through_the_host_of_the_bus():
    assert control_address("tcp://[::1]:5556", "tcp://127.0.0.1:4000") == "tcp://[::1]:4000"
    assert control_address("ipc:///a/labels", "ipc:///a/control") == "ipc:///a/control"


def test_a_path_that_is_no_socket_is_not_taken_over(tmp_path):
    path = tmp_path / "notes"
    path.write_text("mine")
    with pytest.raises(BusError, match="no socket"):
        refuse_taken_path(f"ipc://{path}")
    assert path.read_text() == "mine"


def test_a_path_in_use_is_not_taken_over_and_a_stale_one_is(tmp_path):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        with pytest.raises(BusError, match="already in use"):
            refuse_taken_path(f"ipc://{path}")
    refuse_taken_path(f"ipc://{path}")
