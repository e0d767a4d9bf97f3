"""The main job, as a user does it: a conversation goes in, memory comes out, and it stays.

One set of services memorizes the demo conversation; what each command prints about it is checked against what
the others print, and against the same conversation memorized without services.
"""

import json
import socket

import pytest
from product import CONVERSATION, Product, Services, eventually

BANK = "main-job"
TURNS = len(json.loads(CONVERSATION.read_text()))
PHONE = ("What is Maya's phone number?", "934 555 268")
SERVING = {"memory": "serving", "policy": "serving", "agent": "serving"}


@pytest.fixture(scope="module")
def first(services: Services) -> dict:
    """What the command said that memorized the conversation."""
    return services.product.ok("memorize", str(CONVERSATION), "--bank", BANK, "--json").json


def show(product: Product, bank_id: str = BANK) -> dict:
    return product.ok("show", "--bank", bank_id, "--json").json


def kept(shown: dict) -> list[tuple]:
    """What a bank remembers and from which chunk, without the times and revisions of the run."""
    return [
        (each["id"], each["type"], each["content"], each["event_time"], each["provenance"].get("chunk_id"))
        for each in shown["memories"]
    ]


def recall(product: Product, question: str, bank_id: str = BANK) -> dict:
    return product.ok("recall", question, "--bank", bank_id, "--json").json


def statuses(product: Product, *, code: int = 0) -> dict:
    done = product.run("health", "--json")
    assert done.code == code
    return {service["name"]: service["status"] for service in done.json["services"]}


def test_a_conversation_is_memorized_once_however_often_it_is_given(services, first) -> None:
    chunks = first["chunks"]
    assert first == {
        "bank_id": BANK,
        "source": "conversation.json",
        "turns": TURNS,
        "chunks": chunks,
        "stored": chunks,
        "already_stored": 0,
        "memorized": chunks,
        "pending_chunks": 0,
        "parked": False,
    }
    before = services.product.contents(BANK)
    again = services.product.ok("memorize", str(CONVERSATION), "--bank", BANK, "--json").json
    assert again == {**first, "stored": 0, "already_stored": chunks}
    assert services.product.contents(BANK) == before


def test_a_question_is_answered_by_a_memory_with_the_chunk_it_comes_from(services, first) -> None:
    found = recall(services.product, PHONE[0])
    best = found["hits"][0]
    assert PHONE[1] in best["memory"]["content"]
    assert best["in_context"]
    assert PHONE[1] in found["context"]
    assert found["pending_chunks"] == 0
    origin = best["memory"]["provenance"]["chunk_id"]
    (source,) = (chunk for chunk in found["sources"] if chunk["chunk_id"] == origin)
    assert PHONE[1] in source["text"]
    assert source["source"] == "conversation.json"


def test_what_is_shown_is_what_the_counts_say(services, first) -> None:
    shown = show(services.product)
    stats = shown["bank"]["stats"]
    for kind in ("semantic", "episodic"):
        tokens = [each["token_count"] for each in shown["memories"] if each["type"] == kind]
        assert stats[f"{kind}_count"] == len(tokens) > 0
        assert stats[f"{kind}_tokens"] == sum(tokens)
    assert (stats["chunk_count"], stats["pending_chunks"]) == (first["chunks"], 0)
    assert shown["memories"][0]["type"] == "core"
    banks = services.product.ok("banks", "--json").json["banks"]
    assert [bank for bank in banks if bank["bank_id"] == BANK] == [shown["bank"]]


def test_the_history_leads_to_what_is_kept(services, first) -> None:
    lines = services.product.ok("history", "--bank", BANK, "--json").out.splitlines()
    events = [json.loads(line) for line in lines]
    memories: dict[int, dict] = {}
    for event in events:
        if result := event.get("operation_applied", {}).get("result", {}):
            if "delete" in event["operation_applied"]["operation"]:
                del memories[result["memory"]["id"]]
            else:
                memories[result["memory"]["id"]] = result["memory"]
    assert sorted(memories.values(), key=lambda each: each["id"]) == show(services.product)["memories"]
    arrived = [each["chunk_appended"]["chunk"]["position"] for each in events if "chunk_appended" in each]
    memorized = [each["cursor_moved"]["from_position"] for each in events if "cursor_moved" in each]
    assert arrived == memorized == list(range(first["chunks"]))


def test_healthy_services_say_so(services, first) -> None:
    assert statuses(services.product) == SERVING
    by_name = {each["name"]: each for each in services.product.ok("health", "--json").json["services"]}
    assert by_name["memory"]["address"] == services.product.addresses["memory"]
    detail = by_name["memory"]["detail"]
    assert {"pending_banks", "pending_chunks", "parked_banks", "unembedded_memories"} <= set(detail)
    assert set(detail.values()) == {0}
    assert by_name["policy"]["detail"]["engine"] == "extractive"


def test_without_services_the_same_conversation_leaves_the_same_memories(services, first, tmp_path) -> None:
    alone = Product(tmp_path)
    done = alone.ok("memorize", str(CONVERSATION), "--bank", BANK, "--json").json
    assert done == first
    assert kept(show(alone)) == kept(show(services.product))
    assert recall(alone, PHONE[0])["context"] == recall(services.product, PHONE[0])["context"]


def test_services_that_start_again_know_all_that_they_knew(tmp_path) -> None:
    with Services(Product(tmp_path)) as services:
        services.product.ok("memorize", str(CONVERSATION), "--bank", BANK)
        before = services.product.contents(BANK), recall(services.product, PHONE[0])
    assert not (services.product.store / "memory.db-wal").exists()
    with Services(Product(tmp_path)) as services:
        assert (services.product.contents(BANK), recall(services.product, PHONE[0])) == before
        again = services.product.ok("memorize", str(CONVERSATION), "--bank", BANK, "--json").json
        assert again["stored"] == 0


def test_without_a_policy_text_is_stored_and_recalled_as_pending_and_memorized_later(tmp_path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    product = Product(tmp_path, settings={"policy_address": address})
    with Services(product, "--only", "memory", "--only", "agent") as services:
        waiting = services.product
        assert statuses(waiting, code=3) == {**SERVING, "policy": "unreachable"}
        refusal = waiting.refusal("memorize", str(CONVERSATION), "--bank", BANK, "--retry-for", "1", code=3)
        assert f"the policy service at {address} is unreachable; what is stored stays stored" in refusal
        before = recall(waiting, PHONE[0])
        assert [set(hit) for hit in before["hits"]] == [{"pending", "score", "in_context"}] * len(
            before["hits"]
        )
        assert any(PHONE[1] in hit["pending"]["text"] for hit in before["hits"])
        assert before["pending_chunks"] == show(waiting)["bank"]["stats"]["chunk_count"] > 0
        with Services(product, "--only", "policy"):
            eventually(lambda: show(waiting)["bank"]["stats"]["pending_chunks"] == 0)
            after = recall(waiting, PHONE[0])
            assert PHONE[1] in after["hits"][0]["memory"]["content"]
            assert not any("pending" in hit for hit in after["hits"])
            done = waiting.ok("memorize", str(CONVERSATION), "--bank", BANK, "--json").json
            assert (done["stored"], done["memorized"]) == (0, done["chunks"])
