"""The launcher, as a process of its own: with scripted services that misbehave, and with the real ones."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from memalpha import app, config, up
from memalpha.api.agent.v1alpha1 import agent_service_pb2 as pb
from memalpha.errors import ConflictError, InvalidInputError
from memalpha.policy.local import libraries
from memalpha.up import ports
from memalpha.up.ports import free_port, owner
from memalpha.up.screen import Screen, readable

LAUNCHER = """
import sys
from memalpha import app, config, up
from memalpha.api.agent.v1alpha1 import agent_service_pb2 as pb
from memalpha.up import child
if sys.argv[1]:
    child.command = lambda name: [sys.executable, sys.argv[1], name]
sys.exit(up.run(config.load(), only=sys.argv[2:], json_output=True))
"""
SCRIPTED = str(Path(__file__).with_name("scripted_service.py"))
REAL = ""


@contextmanager
def launched(tmp_path, *, service=SCRIPTED, only=(), **variables):
    """Runs the launcher on free ports and a new data folder; kills what is left at the end."""
    addresses = {f"MEMALPHA_{name}_ADDRESS": "127.0.0.1:0" for name in ("MEMORY", "POLICY", "AGENT")}
    process = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, service, *only],
        env={**os.environ, **addresses, "MEMALPHA_DATA_DIR": str(tmp_path / "data"), **variables},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ready(process):
    """The launcher's JSON line."""
    line = process.stdout.readline()
    assert line, process.stderr.read()
    return json.loads(line)


def pids(found):
    return [service["pid"] for service in found["services"].values()]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def has_children(pid, *, within) -> bool:
    give_up = time.monotonic() + within
    while time.monotonic() < give_up:
        if Path(f"/proc/{pid}/task/{pid}/children").read_text():
            return True
        time.sleep(0.05)
    return False


def all_gone(processes, *, within) -> bool:
    give_up = time.monotonic() + within
    while time.monotonic() < give_up:
        if not any(alive(pid) for pid in processes):
            return True
        time.sleep(0.02)
    return False


def test_services_get_ready_and_a_signal_stops_them_all(tmp_path) -> None:
    with launched(tmp_path) as process:
        found = ready(process)
        assert list(found["services"]) == ["memory", "policy", "agent"]
        assert found["seconds"] > 0
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out) == (0, "")
    assert all_gone(pids(found), within=0.1)
    # The scripted services log one event each; it is shown as words and kept as it was.
    assert "memory │ 03:04:05 info    hello bank=memory" in err
    assert '"event": "hello"' in (tmp_path / "data" / "logs" / "memory.log").read_text()


def test_only_the_named_services_are_started(tmp_path) -> None:
    with launched(tmp_path, only=["memory"]) as process:
        assert list(ready(process)["services"]) == ["memory"]


def test_a_service_that_dies_takes_the_rest_down_and_its_last_lines_are_shown(tmp_path) -> None:
    with launched(tmp_path, SCRIPT_POLICY="dies") as process:
        _, err = process.communicate(timeout=30)
        assert process.returncode == 1
    assert "policy ended by itself (exit status 3)" in err
    assert err.index("my last words", err.index("ended by itself"))


def test_a_second_signal_stops_everything_at_once(tmp_path) -> None:
    with launched(tmp_path, SCRIPT_AGENT="stubborn", MEMALPHA_GRACE_SECONDS="60") as process:
        found = ready(process)
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=5) == 130
    assert all_gone(pids(found), within=0.1)


def test_a_service_that_ignores_the_signal_is_killed_after_the_grace(tmp_path) -> None:
    with launched(tmp_path, SCRIPT_AGENT="stubborn", MEMALPHA_GRACE_SECONDS="0") as process:
        found = ready(process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
    assert all_gone(pids(found), within=0.1)


def test_a_signal_while_starting_stops_what_has_started(tmp_path) -> None:
    with launched(tmp_path, SCRIPT_POLICY="silent", MEMALPHA_GRACE_SECONDS="0") as process:
        assert has_children(process.pid, within=60)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=15) == 0


def test_services_end_with_a_launcher_that_is_killed(tmp_path) -> None:
    with launched(tmp_path) as process:
        found = ready(process)
        process.send_signal(signal.SIGKILL)
        assert all_gone(pids(found), within=10)


def test_a_port_in_use_is_named_with_its_owner(tmp_path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        settings = config.load(data_dir=tmp_path / "data", memory_address=address)
        with pytest.raises(ConflictError) as raised:
            up.run(settings, only=["memory"])
    port = address.rpartition(":")[2]
    assert f"memory_address {address}: port {port} is in use by process {os.getpid()} (" in str(raised.value)
    assert not (tmp_path / "data").exists()


def test_a_free_port_has_no_owner() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        assert owner(listener.getsockname()[1]) is None


def test_a_free_port_is_none_that_a_connection_or_another_process_is_given() -> None:
    given_from = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    found = {free_port("127.0.0.1") for _ in range(8)}
    assert len(found) > 1
    assert all(1024 < port < given_from for port in found)
    with pytest.raises(OSError, match="assign requested address"):
        free_port("192.0.2.1")  # RFC 5737: of nobody


def test_a_port_that_is_taken_is_not_called_free(monkeypatch) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        taken = listener.getsockname()[1]
        monkeypatch.setattr(ports, "_OWN", [taken] * 100)
        assert free_port("127.0.0.1") not in (0, taken)


def test_a_service_that_there_is_not_is_refused(tmp_path) -> None:
    with pytest.raises(
        InvalidInputError, match="only: must be one of memory, policy, agent; it is 'memmory'"
    ):
        up.run(config.load(data_dir=tmp_path), only=["memmory"])


def test_an_engine_that_is_not_installed_is_refused_before_anything_starts(tmp_path, monkeypatch) -> None:
    (tmp_path / "config.json").write_text("{}")
    settings = config.load(policy_engine="vllm", policy={"model": str(tmp_path)}, data_dir=tmp_path / "data")
    monkeypatch.setattr(libraries, "find_spec", lambda _name: None)
    with pytest.raises(InvalidInputError, match="needs vllm") as caught:
        up.run(settings)
    assert caught.value.reason == "ENGINE_NOT_INSTALLED"
    assert not (tmp_path / "data").exists()


def test_a_data_folder_that_cannot_be_made_is_refused(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    settings = config.load(data_dir=tmp_path / "file" / "data", memory_address="127.0.0.1:0")
    with pytest.raises(InvalidInputError, match="Not a directory") as raised:
        up.run(settings, only=["memory"])
    assert raised.value.reason == "DATA_DIR_NOT_USABLE"


def test_a_line_that_is_no_log_entry_is_shown_without_its_control_characters() -> None:
    assert str(readable("\x1b[31mred\x1b[0m")) == "\\x1b[31mred\\x1b[0m"
    assert str(readable("[1, 2]")) == "[1, 2]"
    entry = {"event": "failed", "level": "error", "timestamp": "2026-01-02T03:04:05Z", "exception": "a\nb"}
    assert str(readable(json.dumps(entry))) == "03:04:05 error   failed\na\nb"


async def test_the_real_services_get_ready_remember_and_stop(tmp_path) -> None:
    with launched(tmp_path, service=REAL) as process:
        found = ready(process)
        assert found["seconds"] > 0
        where = {f"{name}_address": service["address"] for name, service in found["services"].items()}
        settings = config.load(**where)
        assert {service.status for service in await app.health(settings)} == {"serving"}
        async with app.connected(settings) as faces:
            item = pb.MemorizeItem(item_id="1", text="Caroline: I adopted a dog named Biscuit.")
            request = pb.MemorizeRequest(bank_id="caroline", items=[item], create_bank=True, wait=True)
            reply = await faces.agent.memorize(request, timeout=20)
            assert [receipt.state for receipt in reply.receipts] == [pb.CHUNK_STATE_MEMORIZED]
            recalled = await faces.agent.recall(pb.RecallRequest(bank_id="caroline", query="dog's name"))
            assert "Biscuit" in recalled.context
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=20)
        assert process.returncode == 0, err
    assert "Traceback" not in err
    assert "Biscuit" not in err
    assert all_gone(pids(found), within=0.1)


def test_a_folder_in_use_stops_the_second_launcher_with_the_holders_address(tmp_path) -> None:
    with launched(tmp_path, service=REAL, only=["memory"]) as first:
        holder = ready(first)["services"]["memory"]
        with launched(tmp_path, service=REAL, only=["memory"]) as second:
            _, err = second.communicate(timeout=20)
            assert second.returncode == 1
    explained = err[err.index("memory ended by itself") :]
    assert str(holder["pid"]) in explained
    assert holder["address"] in explained


def test_the_memory_service_finishes_and_lets_go_of_its_folder_on_a_signal(tmp_path) -> None:
    for _ in range(2):
        with launched(tmp_path, service=REAL, only=["memory"]) as process:
            found = ready(process)
            os.kill(found["services"]["memory"]["pid"], signal.SIGTERM)
            _, err = process.communicate(timeout=20)
            assert "memory ended by itself (exit status 0)" in err


@pytest.mark.parametrize(("under_uv", "command"), [(True, "uv run memalpha"), (False, "memalpha")])
def test_what_to_try_next_works_in_a_terminal_of_its_own(monkeypatch, capsys, under_uv, command) -> None:
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH", raising=False)
    if under_uv:
        monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", "1")
    child: Any = SimpleNamespace(pid=1, log=Path("agent.log"))
    names = ("memory_address", "agent_address", "policy_address")
    usual: Any = {name: config.Settings.model_fields[name].default for name in names}
    Screen(json_output=False).ready(config.load(**usual), {"memory": child, "agent": child}, 0.5)
    assert f"\n  {command} memorize notes.md --bank me\n" in capsys.readouterr().out
