"""Things that come at a bad time: a port that is taken, a service that is killed, a command that is stopped.

What was acknowledged stays, what was not is done by the same command later, and nothing is stored twice.
"""

import os
import signal
import socket
import subprocess
from collections.abc import Callable

import pytest
from product import Product, Services, eventually

from memalpha.agent.chunking import pack
from memalpha.errors import MemalphaError, UnavailableError
from memalpha.sources import read

PARAGRAPHS = 600
# Two paragraphs do not fit into 32 tokens, so that each is a chunk.
SMALL_CHUNKS = {"chunk_tokens": "32"}


def facts(product: Product) -> str:
    return product.write(
        "facts.txt",
        "\n\n".join(
            f"Fact number {n}: Ada keeps her {n} red marbles in the jar on shelf {n}."
            for n in range(PARAGRAPHS)
        ),
    )


def chunk_ids(product: Product) -> list[str]:
    """What the bank has to hold in the end."""
    return [chunk.chunk_id for chunk in pack(read(str(product.folder / "facts.txt")), max_tokens=32)]


def stored(product: Product, bank_id: str) -> list[str]:
    with product.memory() as memory:
        return [chunk.chunk_id for chunk in memory.chunks(bank_id)]


def counts(product: Product, bank_id: str) -> tuple[int, int]:
    """How many chunks a bank has stored, and memorized; none if there is no bank yet, or no service."""
    try:
        with product.memory() as memory:
            bank = memory.get_bank(bank_id)
    except MemalphaError:
        return 0, 0
    return bank.stats.chunk_count, bank.cursor


def interrupt(command: subprocess.Popen[str], far_enough: Callable[[], object]) -> None:
    """Presses Ctrl-C when a command has come far enough; it must end at once and say so."""
    eventually(far_enough)
    command.send_signal(signal.SIGINT)
    out, err = command.communicate(timeout=30)
    assert (command.returncode, out) == (130, ""), err
    assert "interrupted" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("command", [["up"], ["serve", "memory"], ["serve", "policy"], ["serve", "agent"]])
def test_a_port_in_use_is_named(tmp_path, command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        product = Product(
            tmp_path, settings={f"{name}_address": address for name in ("memory", "policy", "agent")}
        )
        refusal = product.refusal(*command, code=1)
    assert "ADDRESS_IN_USE" in refusal
    assert address in refusal
    if command == ["up"]:
        assert f"is in use by process {os.getpid()} (" in refusal


@pytest.mark.parametrize(
    ("address", "code", "message"),
    [
        (
            "127.0.0.1",
            2,
            "must be host:port with a port from 0 to 65535, such as 127.0.0.1:50051; it is '127.0.0.1'",
        ),
        ("127.0.0.1:70000", 2, "must be host:port with a port from 0 to 65535"),
        ("0.0.0.0:0", 2, "must be a loopback address such as 127.0.0.1, as there is no authentication"),
    ],
)
def test_an_address_that_cannot_be_served_is_refused_with_the_rule(tmp_path, address, code, message) -> None:
    product = Product(tmp_path, settings={"agent_address": address})
    assert message in product.refusal("up", code=code)
    assert not product.store.exists()


@pytest.mark.parametrize(
    "far_enough",
    [
        pytest.param(lambda stored, _: stored > 0, id="while it stores"),
        pytest.param(lambda _, memorized: memorized > 20, id="while it waits"),
    ],
)
def test_a_command_that_is_stopped_goes_on_where_it_was(tmp_path, far_enough) -> None:
    with Services(Product(tmp_path, settings=SMALL_CHUNKS)) as services:
        product = services.product
        args = ("memorize", facts(product), "--bank", "facts", "--json")
        interrupt(product.start(*args), lambda: far_enough(*counts(product, "facts")))
        assert product.ok(*args).json["memorized"] == PARAGRAPHS
        assert stored(product, "facts") == chunk_ids(product)


def test_an_embedded_command_that_is_stopped_goes_on_where_it_was(tmp_path) -> None:
    product = Product(tmp_path, settings=SMALL_CHUNKS)
    args = ("memorize", facts(product), "--bank", "facts", "--json")
    log = product.store / "memory.db-wal"
    interrupt(product.start(*args), lambda: log.exists() and log.stat().st_size > 500_000)
    before = stored(product, "facts")
    done = product.ok(*args).json
    assert (done["already_stored"], done["memorized"]) == (len(before), PARAGRAPHS)
    assert stored(product, "facts") == chunk_ids(product)


def test_services_that_are_killed_are_away_and_come_back_with_all_that_was_acknowledged(tmp_path) -> None:
    services = Services(Product(tmp_path, settings=SMALL_CHUNKS))
    product = services.product
    command = product.start("memorize", facts(product), "--bank", "facts", "--json", "--retry-for", "60")
    eventually(lambda: counts(product, "facts")[1] > 20)
    services.kill()
    refusal = product.refusal("recall", "marbles", "--bank", "facts", code=3)
    assert f"no service at {product.addresses['agent']}" in refusal
    assert "`memalpha up` starts the services" in refusal
    assert product.run("health").code == 3
    with product.memory() as memory, pytest.raises(UnavailableError):
        memory.get_bank("facts")
    addresses = {f"{name}_address": address for name, address in product.addresses.items()}
    with Services(Product(tmp_path, settings={**SMALL_CHUNKS, **addresses})):
        out, err = command.communicate(timeout=100)
        assert command.returncode == 0, err
        assert '"memorized": 600' in out
        assert stored(product, "facts") == chunk_ids(product)
        with product.memory() as memory:
            moves = [each.cursor_moved for each in memory.events("facts") if each.HasField("cursor_moved")]
    assert [(move.from_position, move.skipped) for move in moves] == [(n, False) for n in range(PARAGRAPHS)]
