"""Disks that are full, read-only or taken, and databases that are damaged, foreign or too new.

Each is refused with what is wrong and where, nothing that was stored gets lost, and a file that cannot be
used is left as it is.
"""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest
from disk import Disk, small_disk
from product import CONVERSATION, MEMALPHA, Product, Services

import memcore
from memalpha.errors import CorruptionError

WAY_OUT = "stop the service, keep the file, and restore a backup (STORE_CORRUPTED)"
PAGE_BYTES = 4096


def diary(days: int) -> str:
    """A text of about 150 bytes a day: 12,000 days do not fit on a disk of 2 MB beside a conversation."""
    return "\n\n".join(
        f"On day {day} the keeper Ada saw {day} red ships pass the rocks, wrote all of their names down in"
        f" book {day % 7}, and put the book on shelf {day % 11} beside the window to the sea."
        for day in range(days)
    )


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path / "disk", "2m") as disk:
        yield disk


def test_a_full_disk_loses_nothing_and_the_same_command_goes_on_when_there_is_space(disk, tmp_path) -> None:
    product = Product(disk.folder)
    product.ok("memorize", str(CONVERSATION), "--bank", "me")
    before = product.contents("me")
    (tmp_path / "diary.txt").write_text(diary(12_000))
    args = ("memorize", str(tmp_path / "diary.txt"), "--bank", "diary", "--no-wait", "--json")
    refusal = product.refusal(*args, code=1)
    assert f"no space left for {product.store}/memory.db; nothing was changed, free some space" in refusal
    disk.remount("size=64m")
    done = product.ok(*args).json
    assert done["already_stored"] > 0
    assert done["stored"] > 0
    assert done["stored"] + done["already_stored"] == done["chunks"]
    assert product.contents("me") == before
    with product.memory() as memory:
        assert "\n".join(chunk.text for chunk in memory.chunks("diary")).split("\n") == diary(12_000).split(
            "\n\n"
        )


def test_services_on_a_full_disk_go_on_answering_and_memorize_the_rest_when_there_is_space(
    disk, tmp_path
) -> None:
    (tmp_path / "diary.txt").write_text(diary(12_000))
    with Services(Product(disk.folder)) as services:
        product = services.product
        product.ok("memorize", str(CONVERSATION), "--bank", "me")
        before = product.contents("me")
        args = ("memorize", str(tmp_path / "diary.txt"), "--bank", "diary", "--json")
        assert "nothing was changed, free some space and try again" in product.refusal(*args, code=1)
        assert product.ok("recall", "Maya's phone number", "--bank", "me", "--json").json["hits"]
        assert product.contents("me") == before
        disk.remount("size=64m")
        done = product.ok(*args).json
        assert done["memorized"] == done["chunks"] == done["stored"] + done["already_stored"]
        assert product.contents("me") == before


def test_services_whose_output_nobody_can_take_run_and_stop_all_the_same(tmp_path) -> None:
    product = Product(tmp_path)
    with open("/dev/full", "w") as full:
        launcher = subprocess.Popen(
            [*MEMALPHA, "--json", "up"],
            env=product.environment,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=full,
        )
    with launcher:
        assert launcher.stdout is not None
        assert launcher.stdout.readline()
        launcher.terminate()
        assert launcher.wait(30) == 0
    assert "serving" in (product.store / "logs" / "memory.log").read_text()


def test_a_read_only_disk_is_refused_by_name_and_keeps_what_it_has(disk) -> None:
    product = Product(disk.folder)
    product.ok("memorize", str(CONVERSATION), "--bank", "me")
    before = product.contents("me")
    disk.remount("ro")
    for args in (("memorize", str(CONVERSATION), "--bank", "new"), ("show", "--bank", "me")):
        refusal = product.refusal(*args, code=1)
        assert f"cannot use {product.store} as data directory: Read-only file system" in refusal
        assert refusal.endswith("(NOT_WRITABLE)")
    refusal = product.refusal("up", code=2)
    assert f"data_dir {product.store} must be a folder that can be written" in refusal
    disk.remount("rw")
    assert product.contents("me") == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_of_somebody_else_is_refused_by_name(tmp_path) -> None:
    product = Product(tmp_path)
    product.ok("memorize", str(CONVERSATION), "--bank", "me")
    before = product.contents("me")
    (product.store / "memory.db").chmod(0o400)
    refusal = product.refusal("show", "--bank", "me", code=1)
    assert refusal.endswith("(NOT_WRITABLE)")
    (product.store / "memory.db").chmod(0o600)
    assert product.contents("me") == before


@pytest.mark.parametrize("where", ["file", "file/store"])
def test_a_file_where_the_folder_should_be_is_refused_and_left_alone(tmp_path, where) -> None:
    (tmp_path / "file").write_text("mine")
    product = Product(tmp_path)
    args = ("memorize", str(CONVERSATION), "--bank", "me", f"--embedded={tmp_path / where}")
    refusal = product.refusal(*args, code=1)
    assert f"cannot use {tmp_path / where} as data directory" in refusal
    refusal = product.refusal("up", "--data", str(tmp_path / where), code=2)
    assert f"data_dir {tmp_path / where} must be a folder that can be written" in refusal
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_that_a_service_holds_is_refused_with_its_process_and_address(services) -> None:
    store, served = services.product.store, services.product
    intruder = Product(served.folder)
    for args in (("banks",), ("memorize", str(CONVERSATION), "--bank", "new")):
        refusal = intruder.refusal(*args, code=1)
        assert f"{store} is in use by pid {services.pids['memory']}, {served.addresses['memory']}" in refusal
    second = intruder.run("up")
    assert second.code == 1
    assert f"{store} is in use by pid {services.pids['memory']}" in second.message
    assert served.ok("health").code == 0


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Product:
    """A closed store with a large bank, `diary`, and a small one, `me`, made after it."""
    product = Product(tmp_path_factory.mktemp("filled"))
    product.ok("memorize", product.write("diary.txt", diary(5_000)), "--bank", "diary", "--no-wait")
    product.ok("memorize", str(CONVERSATION), "--bank", "me")
    assert not (product.store / "memory.db-wal").exists()
    return product


@pytest.fixture
def harmed(filled: Product, tmp_path: Path) -> Product:
    """A copy of that store, to harm."""
    (tmp_path / "store").mkdir()
    for name in ("memory.db", "LOCK"):
        (tmp_path / "store" / name).write_bytes((filled.store / name).read_bytes())
    return Product(tmp_path)


def database(product: Product) -> Path:
    return product.store / "memory.db"


def digest(product: Product) -> str:
    return sha256(database(product).read_bytes()).hexdigest()


def overwrite(product: Product, offset: int, content: bytes) -> None:
    with database(product).open("r+b") as file:
        file.seek(offset)
        file.write(content)


def damage_a_page(product: Product) -> None:
    """Overwrites a page that holds the middle of the diary, and nothing else."""
    place = database(product).read_bytes().index(b"On day 2500 the keeper")
    overwrite(product, place // PAGE_BYTES * PAGE_BYTES, os.urandom(PAGE_BYTES))


def make_foreign(product: Product) -> None:
    """Puts another program's database in the place of the store's."""
    database(product).unlink()
    with closing(sqlite3.connect(database(product))) as foreign, foreign:
        foreign.execute("CREATE TABLE notes(text)")


def make_newer(product: Product) -> None:
    """Says that the store was made by a program that this one does not know yet."""
    with closing(sqlite3.connect(database(product))) as newer, newer:
        newer.execute("PRAGMA user_version = 99")


def test_a_damaged_page_costs_its_bank_and_no_other(filled, harmed) -> None:
    damage_a_page(harmed)
    harmed.write("diary.txt", diary(5_001))
    for args in (("show",), ("history",), ("recall", "ships"), ("memorize", "diary.txt", "--no-wait")):
        refusal = harmed.refusal(*args, "--bank", "diary", code=1)
        assert f"{database(harmed)} is damaged" in refusal
        assert refusal.endswith(WAY_OUT)
    assert harmed.contents("me") == filled.contents("me")
    harmed.ok("memorize", str(CONVERSATION), "--bank", "new")


def test_a_damaged_page_under_a_service_costs_its_bank_and_no_other(filled, harmed) -> None:
    damage_a_page(harmed)
    with Services(harmed) as services:
        served = services.product
        assert served.refusal("show", "--bank", "diary", code=1).endswith(WAY_OUT)
        with served.memory() as memory, pytest.raises(CorruptionError) as raised:
            list(memory.chunks("diary"))
        assert raised.value.reason == "STORE_CORRUPTED"
        assert served.contents("me") == filled.contents("me")
        served.ok("memorize", str(CONVERSATION), "--bank", "new")


def test_one_changed_letter_of_a_record_is_found(filled, harmed) -> None:
    offset = database(harmed).read_bytes().index(b"On day 2500 the keeper")
    overwrite(harmed, offset, b"in")
    refusal = harmed.refusal("show", "--bank", "diary", code=1)
    assert "checksum" in refusal
    assert refusal.endswith("(STORE_CORRUPTED)")
    assert harmed.contents("me") == filled.contents("me")


@pytest.mark.parametrize("kept", [0.5, 0.1])
def test_a_database_that_was_cut_short_is_refused_and_left_as_it_is(harmed, kept) -> None:
    os.truncate(database(harmed), int(database(harmed).stat().st_size * kept))
    before = digest(harmed)
    for args in (("banks",), ("memorize", str(CONVERSATION), "--bank", "new")):
        assert harmed.refusal(*args, code=1).endswith(WAY_OUT)
    assert digest(harmed) == before


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(lambda p: overwrite(p, 0, b"hello"), id="header"),
        pytest.param(lambda p: overwrite(p, 100, os.urandom(3000)), id="schema"),
        pytest.param(lambda p: database(p).write_text("a letter\n" * 1000), id="text"),
    ],
)
def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(harmed, harm) -> None:
    harm(harmed)
    before = digest(harmed)
    refusal = harmed.refusal("banks", code=1)
    assert f"{database(harmed)} is damaged" in refusal
    assert refusal.endswith(WAY_OUT)
    assert digest(harmed) == before


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (make_foreign, "is not a memalpha store (NOT_A_STORE)"),
        (
            make_newer,
            "has schema version 99, newer than the 2 this program knows; upgrade the program (SCHEMA_TOO",
        ),
    ],
)
def test_a_database_that_this_program_does_not_know_is_refused(harmed, harm, message) -> None:
    harm(harmed)
    for args in (("banks",), ("memorize", str(CONVERSATION), "--bank", "new")):
        assert f"{database(harmed)} {message}" in harmed.refusal(*args, code=1)


@pytest.mark.parametrize("harm", [damage_a_page, make_foreign, make_newer])
def test_a_file_that_is_refused_is_left_as_it_is(harmed, harm) -> None:
    harm(harmed)
    before = digest(harmed)
    harmed.refusal("show", "--bank", "diary", code=1)
    assert digest(harmed) == before


FORKING = """
import os, sys, memcore
store = memcore.Store.open(sys.argv[1])
store.create_bank("b").append_chunks([memcore.NewChunk("1", "Ada has a dog.")])
child = os.fork()
if child == 0:
    try:
        store.bank("b").append_chunks([memcore.NewChunk("2", "Ada has a cat.")])
    except memcore.UnsupportedError as error:
        print(error.reason, error, flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
store.bank("b").append_chunks([memcore.NewChunk("3", "Ada has a bird.")])
"""


def test_a_forked_child_is_refused_and_its_parent_goes_on(tmp_path) -> None:
    command = [sys.executable, "-c", FORKING, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("STORE_AFTER_FORK the store was opened by process ")
    with memcore.Store.open(tmp_path) as store:
        positions = [event.chunk.text for event in store.bank("b").events() if event.chunk]
    assert positions == ["Ada has a dog.", "Ada has a bird."]
