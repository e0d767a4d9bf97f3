"""The binding: what goes in comes out, errors carry their reason, and nothing blocks the interpreter."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import memcore
from memcore import Bank, Delete, Insert, NewChunk, Rejected, Store, Update


@pytest.fixture
def bank() -> Bank:
    return Store.in_memory().create_bank("b1")


def contents(bank: Bank) -> list[str]:
    return [memory.content for memory in bank.memories()]


def test_a_store_is_reopened_with_what_was_written(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        assert store.path == tmp_path
        bank = store.create_bank("b1", core_token_limit=64, labels={"team": "a"})
        bank.append_chunks([NewChunk("c1", "Ada likes tea.", "2024-05-01", "a.txt", {"k": "v"})])
        bank.apply([Insert("semantic", "Ada drinks tea")])
        uid, before = bank.bank_uid, bank.memories()
    with Store.open(str(tmp_path)) as store:
        assert store.bank_ids() == ["b1"]
        again = store.bank("b1")
        assert (again.bank_id, again.bank_uid) == ("b1", uid)
        assert again.memories() == before
        chunk = again.view().next_chunk
        assert chunk is not None
        assert (chunk.chunk_id, chunk.position, chunk.text) == ("c1", 0, "Ada likes tea.")
        assert (chunk.event_time, chunk.source, chunk.metadata) == ("2024-05-01", "a.txt", {"k": "v"})


def test_a_directory_held_by_another_store_names_its_holder(tmp_path: Path) -> None:
    with Store.open(tmp_path, note="the first one"), pytest.raises(memcore.ConflictError) as error:
        Store.open(tmp_path)
    assert error.value.reason == "STORE_LOCKED"
    assert "the first one" in str(error.value)
    assert str(os.getpid()) in str(error.value)


def test_a_closed_store_refuses_writes(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    bank = store.create_bank("b1")
    store.close()
    store.close()
    with pytest.raises(memcore.BusyError) as error:
        bank.apply([Insert("semantic", "late")])
    assert error.value.reason == "STORE_CLOSED"


def test_a_store_in_memory_has_no_path() -> None:
    assert Store.in_memory().path is None


def test_a_chunk_is_stored_once(bank: Bank) -> None:
    chunks = [NewChunk("c1", "one"), NewChunk("c2", "two")]
    first = [(result.position, result.already_stored) for result in bank.append_chunks(chunks)]
    again = [(result.position, result.already_stored) for result in bank.append_chunks(chunks[1:])]
    assert first == [(0, False), (1, False)]
    assert again == [(1, True)]


def test_each_operation_has_its_own_result(bank: Bank) -> None:
    applied = bank.apply(
        [
            Insert("semantic", "Ada drinks tea"),
            Insert("episodic", "Ada moved to Bern", "2024-05-01", {"k": "v"}),
            Update("core", 0, "The user is Ada"),
            Update("semantic", 1, "Ada drinks coffee"),
            Delete("episodic", 99),
        ]
    )
    errors = [result.error and result.error.reason for result in applied.results]
    assert errors == [None, None, None, None, "MEMORY_NOT_FOUND"]
    episodic = applied.results[1].memory
    assert episodic is not None
    assert (episodic.id, episodic.type, episodic.event_time) == (2, "episodic", "2024-05-01")
    assert episodic.metadata == {"k": "v"}
    assert episodic.provenance.policy_id == "person"
    assert episodic.provenance.operation_index == 1
    assert contents(bank) == ["The user is Ada", "Ada drinks coffee", "Ada moved to Bern"]
    # Creating the bank is revision 1.
    assert (applied.revision, applied.memory_revision, bank.memory_revision) == (2, 2, 2)


def test_an_atomic_batch_with_a_bad_operation_changes_nothing(bank: Bank) -> None:
    applied = bank.apply([Insert("semantic", "kept?"), Delete("semantic", 99)], atomic=True)
    errors = [result.error and result.error.reason for result in applied.results]
    assert errors == ["BATCH_ABORTED", "MEMORY_NOT_FOUND"]
    assert contents(bank) == [""]


def test_a_batch_on_an_old_view_is_a_conflict(bank: Bank) -> None:
    view = bank.view()
    bank.apply([Insert("semantic", "first")])
    with pytest.raises(memcore.ConflictError) as error:
        bank.apply([Insert("semantic", "second")], memory_revision=view.memory_revision)
    assert error.value.kind == "conflict"
    assert error.value.reason == "MEMORY_CHANGED"


def test_a_repeated_request_id_gives_the_first_reply(bank: Bank) -> None:
    first = bank.apply([Insert("semantic", "once")], request_id="r1")
    again = bank.apply([Insert("semantic", "once")], request_id="r1")
    assert (again.revision, bank.revision) == (first.revision, first.revision)


def test_memorizing_a_chunk_moves_the_cursor_and_is_remembered_as_origin(bank: Bank) -> None:
    bank.append_chunks([NewChunk("c1", "Ada likes tea.")])
    token = bank.cursor_token
    applied = bank.apply(
        [Insert("semantic", "Ada likes tea")], cursor_token=token, advance_to=1, writer_id="p1"
    )
    assert (applied.cursor, bank.cursor) == (1, 1)
    assert applied.cursor_token == bank.cursor_token != token
    origin = bank.memories("semantic")[0].provenance
    assert (origin.chunk_id, origin.chunk_position, origin.policy_id) == ("c1", 0, "p1")
    assert bank.view().next_chunk is None


def test_a_search_answers_each_query_best_first(bank: Bank) -> None:
    bank.apply(
        [Insert("semantic", "tea and cake"), Insert("semantic", "tea tea tea"), Insert("episodic", "tea")]
    )
    tea, cake, nothing = bank.search(["tea", "cake", "zebra"], method="words")
    assert len(tea) == 3
    assert [hit.score for hit in tea] == sorted((hit.score for hit in tea), reverse=True)
    assert [hit.memory.content for hit in cake] == ["tea and cake"]
    assert len(nothing) == 0
    assert [hit.memory.type for hit in bank.search(["tea"], types=["episodic"])[0]] == ["episodic"]
    assert len(bank.search(["tea"], limit=2)[0]) == 2


def test_a_recent_view_shows_the_newest_in_order_of_ids(bank: Bank) -> None:
    bank.apply([Insert("semantic", f"fact {i}") for i in range(1, 8)])
    assert [memory.id for memory in bank.view("recent").semantic] == [3, 4, 5, 6, 7]
    assert [memory.id for memory in bank.view("recent", semantic=2, episodic=0).semantic] == [6, 7]


def test_more_memories_than_a_page_are_all_listed(bank: Bank) -> None:
    for start in (0, 1000):
        bank.apply([Insert("semantic", f"fact {start + i}") for i in range(1000)])
    # Core memory is the first one.
    assert [memory.id for memory in bank.memories()] == list(range(2001))
    assert len(bank.memories("semantic")) == 2000
    assert len(bank.events()) == 2001


def test_a_history_tells_what_happened(bank: Bank) -> None:
    bank.append_chunks([NewChunk("c1", "Ada likes tea.")])
    operations = [
        Insert("semantic", "Ada likes tea"),
        Update("semantic", 1, "Ada loves tea"),
        Rejected("add(", "MALFORMED_CALL", "no closing parenthesis"),
        Delete("semantic", 1),
    ]
    bank.apply(operations, cursor_token=bank.cursor_token, advance_to=1)
    events = bank.events()
    kinds = ["bank_created", "chunk_appended", *["operation_applied"] * 4, "cursor_moved"]
    assert [event.kind for event in events] == kinds
    assert [event.operation for event in events[2:6]] == operations
    appended, updated, rejected, moved = events[1], events[3], events[4], events[6]
    assert appended.chunk is not None
    assert appended.chunk.text == "Ada likes tea."
    assert updated.before is not None
    assert updated.result is not None
    assert updated.result.memory is not None
    assert (updated.before.content, updated.result.memory.content) == ("Ada likes tea", "Ada loves tea")
    assert rejected.result is not None
    assert rejected.result.error is not None
    assert rejected.result.error.reason == "MALFORMED_CALL"
    assert (moved.from_position, moved.to_position, moved.chunk_id, moved.skipped) == (0, 1, "c1", False)


def test_an_error_carries_kind_reason_and_the_messages_variables() -> None:
    with pytest.raises(memcore.NotFoundError) as error:
        Store.in_memory().bank("b9")
    assert isinstance(error.value, memcore.MemcoreError)
    assert (error.value.kind, error.value.reason) == ("not_found", "BANK_NOT_FOUND")
    assert error.value.metadata["bank_id"] == "b9"


def test_a_bank_is_created_once_and_deleted_for_good() -> None:
    store = Store.in_memory()
    old = store.create_bank("b1")
    with pytest.raises(memcore.AlreadyExistsError):
        store.create_bank("b1")
    store.delete_bank("b1")
    assert store.bank_ids() == []
    store.create_bank("b1")
    with pytest.raises(memcore.NotFoundError):
        old.apply([Insert("semantic", "to the namesake")])


def create(bank_id: str = "x", **settings: Any) -> Bank:
    return Store.in_memory().create_bank(bank_id, **settings)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda bank: Insert("fact", "x"),  # type: ignore[arg-type]
            'type must be core, semantic or episodic, got "fact"',
        ),
        (lambda bank: bank.search(["x"], limit=-1), "limit must be between 1 and 1000, got -1"),
        (lambda bank: bank.search(["x"], limit=1001), "limit must be between 1 and 1000, got 1001"),
        (lambda bank: bank.search(["x"], types=["facts"]), "type must be core"),
        (lambda bank: bank.view("newest"), 'mode must be relevant or recent, got "newest"'),
        (lambda bank: bank.append_chunks([NewChunk("c1", "")]), "must not be empty"),
        (lambda bank: bank.append_chunks([]), "chunks must hold 1 to 1000 items, got 0"),
        (
            lambda bank: Rejected("x", "BECAUSE", ""),  # type: ignore[arg-type]
            "reason must be a known reason",
        ),
        (lambda bank: create("../x"), "bank_id must be 1 to 128 characters"),
        (
            lambda bank: create(durability="fast"),
            "durability must be synced or volatile",
        ),
        (
            lambda bank: create(core_token_limit=-1),
            "core_token_limit must be between 1 and 8192, got -1",
        ),
        (
            lambda bank: create(core_token_limit=1 << 40),
            "core_token_limit must be between 1 and 8192, got 1099511627776",
        ),
        (lambda bank: create(language="tlh"), "language must be"),
        (lambda bank: Store.in_memory().call("Explode", b""), "method must be an RPC of MemoryService"),
        (lambda bank: Store.in_memory().call("GetBank", b"\x0a\x7f"), "request must be a valid message"),
        (lambda bank: memcore.split_tokens("x", 0), "max_tokens must be between 1 and 4294967295, got 0"),
        (lambda bank: memcore.serve(Store.in_memory(), "0.0.0.0:0"), "address must be a loopback address"),
        (
            lambda bank: memcore.serve(Store.in_memory(), max_in_flight=-1),
            "max_in_flight must be between 1 and 4096, got -1",
        ),
    ],
)
def test_bad_input_is_refused_with_parameter_rule_and_value(bank: Bank, call, message: str) -> None:
    with pytest.raises(memcore.InvalidInputError) as error:
        call(bank)
    assert message in str(error.value)


def test_a_lone_surrogate_is_refused_and_harms_nothing(bank: Bank) -> None:
    with pytest.raises(UnicodeEncodeError):
        bank.apply([Insert("semantic", "\ud800")])
    with pytest.raises(UnicodeEncodeError):
        bank.search(["\udfff"])
    with pytest.raises(UnicodeEncodeError):
        Store.in_memory().create_bank("\ud800")
    assert contents(bank) == [""]


def test_values_of_a_wrong_type_are_type_errors(bank: Bank) -> None:
    with pytest.raises(TypeError):
        bank.search("tea")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        bank.apply([{"insert": "x"}])  # type: ignore[list-item]
    with pytest.raises(AttributeError):
        Insert("semantic", "x").content = "y"  # type: ignore[misc]


def test_values_read_well(bank: Bank) -> None:
    applied = bank.apply([Insert("semantic", "Ada drinks tea"), Delete("semantic", 9)])
    assert repr(Insert("semantic", "tea")) == 'Insert("semantic", "tea", "")'
    assert repr(applied.results[0].memory) == 'Memory(id=1, type="semantic", content="Ada drinks tea")'
    assert repr(applied.results[1]).startswith('OperationResult(OperationError("MEMORY_NOT_FOUND"')
    assert repr(bank.search(["tea"])[0][0]).startswith("Hit(score=")
    assert repr(bank).startswith('Bank(bank_id="b1", bank_uid="')
    long = bank.apply([Insert("semantic", "x" * 100)]).results[0].memory
    assert repr(long) == f'Memory(id=2, type="semantic", content="{"x" * 60}"...)'


def test_tokens_are_counted_and_split_without_loss() -> None:
    # "hello world" is two tokens of o200k: "hello" and " world".
    assert memcore.count_tokens("hello world") == 2
    assert memcore.split_tokens("hello world", 1) == ["hello", " world"]
    text = "Ein längerer Satz, mit Umlauten. 你好"
    assert "".join(memcore.split_tokens(text, 3)) == text


def test_the_in_process_door_speaks_the_protos_bytes(bank: Bank) -> None:
    store = Store.in_memory()
    # Field 1, a string of two bytes: CreateBankRequest.bank_id and GetBankRequest.bank_id alike.
    created = store.call("CreateBank", b"\x0a\x02b7")
    assert store.call("GetBank", b"\x0a\x02b7") == created
    assert store.bank_ids() == ["b7"]


def test_a_server_is_ready_when_it_is_made_and_its_port_is_free_after_it(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        server = memcore.serve(store)
        host, port = server.address.split(":")
        assert host == "127.0.0.1"
        assert server.wait(0.0) is False
        with pytest.raises(memcore.BusyError) as error:
            memcore.serve(store, server.address)
        assert error.value.reason == "ADDRESS_IN_USE"
        assert port in str(error.value)
        server.stop(1.0)
        assert server.wait(10.0) is True
        with memcore.serve(store, server.address) as again:
            assert again.address == server.address


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(value: float) -> None:
    with memcore.serve(Store.in_memory()) as server:
        with pytest.raises(memcore.InvalidInputError):
            server.stop(value)
        with pytest.raises(memcore.InvalidInputError):
            server.wait(value)


def test_waiting_for_a_server_lets_signals_through() -> None:
    class AlarmError(Exception):
        pass

    def alarm(*_: object) -> None:
        raise AlarmError

    previous = signal.signal(signal.SIGALRM, alarm)
    try:
        with memcore.serve(Store.in_memory()) as server:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(AlarmError):
                server.wait(30.0)
    finally:
        signal.signal(signal.SIGALRM, previous)


def test_a_long_call_leaves_the_interpreter_to_other_threads(bank: Bank) -> None:
    bank.apply([Insert("semantic", f"tea number {i}") for i in range(1000)])
    done = threading.Event()
    ticks = 0

    def search() -> None:
        try:
            bank.search(["tea number"] * 1000, limit=10)
        finally:
            done.set()

    thread = threading.Thread(target=search)
    thread.start()
    while not done.is_set():
        ticks += 1
        time.sleep(0.001)
    thread.join()
    assert ticks > 3


def test_writes_from_many_threads_are_all_there(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        bank = store.create_bank("b1")

        def write(worker: int) -> None:
            for i in range(20):
                bank.apply([Insert("semantic", f"fact {worker} {i}")])

        threads = [threading.Thread(target=write, args=(worker,)) for worker in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(memory.id for memory in bank.memories("semantic")) == list(range(1, 161))


FORK = """
import os, sys, memcore
store = memcore.Store.open(sys.argv[1])
bank = store.create_bank("b1")
server = memcore.serve(store)
pid = os.fork()
if pid == 0:
    try:
        bank.apply([memcore.Insert("semantic", "from the child")])
    except memcore.UnsupportedError as error:
        code = 7 if error.reason == "STORE_AFTER_FORK" else 8
    else:
        code = 9
    del bank, store, server
    os._exit(code)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
bank.apply([memcore.Insert("semantic", "from the parent")])
assert [memory.content for memory in bank.memories("semantic")] == ["from the parent"]
assert server.wait(0.0) is False
"""


def test_a_forked_child_is_refused_and_leaves_the_parent_unharmed(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORK, str(tmp_path)]
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
