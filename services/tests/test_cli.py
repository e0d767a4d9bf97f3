"""The command line over an embedded store: the real engine, the real policy, no services."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import memcore
from memalpha import app as composition
from memalpha.api.memory.v1alpha1 import memory_pb2 as pb
from memalpha.api.memory.v1alpha1 import memory_service_pb2 as service_pb
from memalpha.cli import app
from memalpha.config import load

CHAT = [
    {
        "role": "user",
        "name": "Ada",
        "content": "I live in Oslo. My dog is called Biscuit.",
        "time": "2024-05-01",
    },
    {"role": "user", "name": "Ada", "content": "I moved to Bergen on 3 June 2024.", "time": "2024-06-05"},
]


class Line:
    """Runs commands on one store in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "store"

    def run(self, *args: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(app, [*args, "--embedded", str(self.store)], input=stdin)

    def ok(self, *args: str, stdin: str | None = None) -> str:
        result = self.run(*args, stdin=stdin)
        assert result.exit_code == 0, result.output
        return result.stdout

    def json(self, *args: str) -> dict:
        return json.loads(self.ok("--json", *args))

    def chat(self, messages: list[dict], name: str = "chat.json") -> str:
        (self.folder / name).write_text(json.dumps(messages))
        return str(self.folder / name)

    def write(self, work: Callable) -> None:
        """Does something to the store that no command does."""

        async def opened() -> None:
            async with composition.embedded(self.store, load()) as faces:
                await work(faces.memory)

        asyncio.run(opened())


@pytest.fixture
def line(tmp_path) -> Line:
    return Line(tmp_path)


def test_memorizing_a_file_again_stores_nothing_twice_and_says_so(line) -> None:
    file = line.chat(CHAT)
    assert line.ok("memorize", file, "--bank", "me").startswith(
        "chat.json: 2 turns in 2 chunks: 2 new, 2 memorized\n"
    )
    again = line.ok("memorize", file, "--bank", "me")
    assert again.startswith("chat.json: 2 turns in 2 chunks: 2 already stored, 2 memorized\n")
    assert line.json("show", "--bank", "me")["bank"]["stats"]["chunk_count"] == 2


def test_memorizing_a_file_that_grew_adds_only_what_is_new(line) -> None:
    line.ok("memorize", line.chat(CHAT[:1]), "--bank", "me")
    done = line.json("memorize", line.chat(CHAT), "--bank", "me")
    # a day is a chunk of its own: the first day is known, the second is new
    assert (done["chunks"], done["stored"], done["already_stored"]) == (2, 1, 1)


def test_memorize_prints_one_document_with_its_documented_keys(line) -> None:
    assert line.json("memorize", line.chat(CHAT), "--bank", "me") == {
        "bank_id": "me",
        "source": "chat.json",
        "turns": 2,
        "chunks": 2,
        "stored": 2,
        "already_stored": 0,
        "memorized": 2,
        "pending_chunks": 0,
        "parked": False,
    }


def test_one_turn_of_50_megabytes_is_stored_whole(line) -> None:
    sentence = "The lighthouse keeper wrote down every ship that passed, its flag, its cargo and its port. "
    count = 50_000_000 // len(sentence)
    (line.folder / "log.txt").write_text(sentence * count)
    stored = line.json("memorize", str(line.folder / "log.txt"), "--bank", "me", "--no-wait")
    assert (stored["turns"], stored["stored"]) == (1, stored["chunks"])
    # a sentence has 19 tokens: 16 words and 3 marks
    assert line.json("show", "--bank", "me")["bank"]["stats"]["chunk_tokens"] >= 19 * count


def test_standard_input_is_memorized_with_the_speaker_and_time_given(line) -> None:
    said = ("--speaker", "Ada", "--time", "2024-05-01")
    line.ok("memorize", "-", "--bank", "me", *said, stdin="My dog is called Biscuit.")
    source = line.json("recall", "dog", "--bank", "me")["sources"][0]
    assert (source["text"], source["event_time"], source["source"]) == (
        "Ada: My dog is called Biscuit.",
        "2024-05-01",
        "stdin",
    )


@pytest.mark.parametrize("place", [0, 1, 2, 5])
def test_global_options_may_stand_anywhere(line, place) -> None:
    line.ok("memorize", line.chat(CHAT), "--bank", "me")
    args = ["recall", "dog", "--bank", "me", "--limit=1"]
    args[place:place] = ["--json"]
    assert "hits" in json.loads(line.ok(*args))


def test_recall_shows_a_memory_with_its_place_and_the_line_it_comes_from(line) -> None:
    line.ok("memorize", line.chat(CHAT), "--bank", "me")
    chunk_id = line.json("recall", "dog", "--bank", "me")["sources"][0]["chunk_id"]
    output = line.ok("recall", "What is the dog called?", "--bank", "me")
    assert "Biscuit" in output
    assert f"from chunk 0 ({chunk_id[:12]}…), chat.json, 2024-05-01, “Ada: I live in Oslo. My dog" in output


def test_recall_prints_only_the_context_block_if_asked_to(line) -> None:
    line.ok("memorize", line.chat(CHAT), "--bank", "me")
    context = line.json("recall", "dog", "--bank", "me")["context"]
    assert line.ok("recall", "dog", "--bank", "me", "--context") == f"{context}\n"


def test_what_is_stored_but_not_memorized_is_recalled_as_pending(line) -> None:
    stored = line.ok("memorize", line.chat(CHAT), "--bank", "me", "--no-wait")
    assert "2 chunks pending" in stored
    output = line.run("recall", "Biscuit", "--bank", "me")
    assert "pending" in output.stdout
    assert "2 chunks not yet memorized" in output.stderr
    line.ok("memorize", line.chat(CHAT), "--bank", "me")
    assert "pending" not in line.ok("recall", "Biscuit", "--bank", "me")


def test_show_counts_by_type_and_lists_one_type_if_asked(line) -> None:
    line.ok("memorize", line.chat(CHAT), "--bank", "me")
    whole = line.json("show", "--bank", "me")
    kinds = [memory["type"] for memory in whole["memories"]]
    stats = whole["bank"]["stats"]
    assert kinds[0] == "core"
    assert (kinds.count("semantic"), kinds.count("episodic")) == (
        stats["semantic_count"],
        stats["episodic_count"],
    )
    semantic = line.json("show", "--bank", "me", "--type", "semantic")["memories"]
    assert semantic == [memory for memory in whole["memories"] if memory["type"] == "semantic"]
    assert line.ok("show", "--bank", "me").startswith("bank me: all memorized\n")


def insert(content: str) -> pb.Operation:
    return pb.Operation(insert=pb.InsertOperation(type=pb.MEMORY_TYPE_SEMANTIC, content=content))


def update(memory_id: int, content: str) -> pb.Operation:
    kind = pb.MEMORY_TYPE_SEMANTIC
    return pb.Operation(update=pb.UpdateOperation(type=kind, memory_id=memory_id, content=content))


def delete(memory_id: int) -> pb.Operation:
    return pb.Operation(delete=pb.DeleteOperation(type=pb.MEMORY_TYPE_SEMANTIC, memory_id=memory_id))


def hand_made(*operations: pb.Operation) -> Callable:
    """A bank `me` with one chunk, memorized by these operations."""

    async def work(memory: composition.Memory) -> None:
        bank = await memory.ensure_bank("me")
        await memory.append_chunks(
            "me", [pb.Chunk(chunk_id="c0", text="Ada: I have two dogs.", source="f.txt")]
        )
        await memory.apply_operations(
            service_pb.ApplyOperationsRequest(
                bank_id="me",
                cursor_token=bank.cursor_token,
                operations=operations,
                advance_to=1,
                writer=pb.Writer(policy_id="tester-1"),
                raw_output="E+ what I wrote",
            )
        )

    return work


def test_history_tells_chunk_operations_before_and_after(line) -> None:
    line.write(
        hand_made(insert("Ada has one dog"), update(1, "Ada has two dogs"), update(7, "no"), delete(1))
    )
    told = [row.rstrip() for row in line.ok("history", "--bank", "me").splitlines()]
    assert told[1] == "chunk 0 arrived from f.txt"
    assert told[2].startswith("chunk 0 (c0) memorized by tester-1  revision 3, ")
    assert told[3:9] == [
        "   “Ada: I have two dogs.”",
        "   + semantic #1  Ada has one dog",
        "   ~ semantic #1",
        "     - Ada has one dog",
        "     + Ada has two dogs",
        "   x update semantic #7: no",
    ]
    assert told[9].startswith("     memory_not_found: ")
    assert told[10] == "   - semantic #1  Ada has two dogs"


def test_history_prints_what_the_policy_wrote_only_if_asked(line) -> None:
    line.write(hand_made(insert("Ada has one dog")))
    assert "E+ what I wrote" not in line.ok("history", "--bank", "me")
    assert "     E+ what I wrote\n" in line.ok("history", "--bank", "me", "--chunk", "0", "--raw")


def test_history_of_one_memory_holds_only_its_operations(line) -> None:
    line.write(
        hand_made(insert("Ada has one dog"), insert("Ada lives in Oslo"), update(1, "Ada has two dogs"))
    )
    events = [
        json.loads(row) for row in line.ok("history", "--bank", "me", "--memory", "1", "--json").splitlines()
    ]
    contents = [event["operation_applied"]["result"]["memory"]["content"] for event in events]
    assert contents == ["Ada has one dog", "Ada has two dogs"]
    assert line.ok("history", "--bank", "me", "--memory", "0") == "nothing happened\n"


def test_a_terminal_is_safe_from_what_a_memory_holds(line) -> None:
    line.write(hand_made(insert("red \x1b[31m and [bold]markup[/bold]")))
    for args in (["show"], ["history"], ["recall", "red markup"]):
        output = line.ok(*args, "--bank", "me")
        assert "red \\x1b[31m and [bold]markup[/bold]" in output
        assert "\x1b" not in output


async def park(memory: composition.Memory) -> None:
    """Makes the first chunk of a bank `me` fail as often as the bank allows."""
    bank = await memory.create_bank("me", pb.BankSettings(max_chunk_failures=1))
    await memory.append_chunks("me", [pb.Chunk(chunk_id="c0", text="Ada: Hello.")])
    await memory.report_chunk_failure(
        service_pb.ReportChunkFailureRequest(
            bank_id="me", cursor_token=bank.cursor_token, message="no sense in it"
        )
    )


def test_a_parked_bank_fails_memorize_and_says_how_to_go_on(line) -> None:
    line.write(park)
    result = line.run("memorize", line.chat(CHAT), "--bank", "me")
    assert result.exit_code == 1
    assert "chunk 0 is parked after 1 failure: no sense in it" in result.stdout
    assert "`memalpha unpark me --retry` or `--skip`" in result.stdout
    assert "chunk 0" in line.ok("banks")
    assert "1 bank parked" in line.ok("health")


def test_a_file_that_is_memorized_is_no_failure_because_a_later_chunk_is_parked(line) -> None:
    line.ok("memorize", line.chat(CHAT), "--bank", "me")

    async def park_the_next(memory: composition.Memory) -> None:
        await memory.append_chunks("me", [pb.Chunk(chunk_id="later", text="Ada: Hello.")])
        for _ in range(3):
            token = (await memory.get_bank("me")).cursor_token
            await memory.report_chunk_failure(
                service_pb.ReportChunkFailureRequest(bank_id="me", cursor_token=token, message="no")
            )

    line.write(park_the_next)
    assert line.json("memorize", line.chat(CHAT), "--bank", "me")["parked"] is True


@pytest.mark.parametrize("choice", ["--retry", "--skip"])
def test_an_unparked_bank_goes_on(line, choice) -> None:
    line.write(park)
    assert line.json("unpark", "me", choice)["bank"]["cursor"] == (1 if choice == "--skip" else 0)
    assert line.json("memorize", line.chat(CHAT), "--bank", "me")["pending_chunks"] == 0


@pytest.mark.parametrize("choice", [[], ["--retry", "--skip"]])
def test_unpark_needs_exactly_one_choice(line, choice) -> None:
    line.write(park)
    result = line.run("unpark", "me", *choice)
    assert (result.exit_code, result.stderr) == (2, "error: unpark needs one of --retry and --skip\n")


def test_a_bank_is_deleted_only_after_yes(line) -> None:
    line.ok("memorize", line.chat(CHAT), "--bank", "me")
    refused = line.run("banks", "delete", "me", stdin="")
    assert (refused.exit_code, refused.stderr) == (
        2,
        "error: deleting bank me cannot be undone: pass --yes\n",
    )
    assert line.ok("banks", "delete", "me", "--yes").startswith("deleted bank me: ")
    assert line.json("banks") == {"banks": []}


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["recall", "dog", "--bank", "no"], 1, "no"),
        (["recall", "dog", "--bank", "a b"], 2, "bank_id must be"),
        (["recall", " ", "--bank", "me"], 2, "query must not be empty"),
        (["recall", "dog", "--bank", "me", "--limit", "-1"], 2, "limit must be between 1 and 1000, got -1"),
        (["recall", "dog", "--bank", "me", "--budget", "1"], 2, "token_budget must be between 64"),
        (["memorize", "/no/such/file", "--bank", "me"], 2, "cannot read /no/such/file: No such file"),
        (["memorize", "/dev/null", "--bank", "me"], 2, "null is empty: there is nothing to memorize"),
        (["memorize", "x", "--bank", "me", "--format", "pdf"], 2, "'markdown', 'chat', 'locomo'"),
        (["memorize", "x", "--bank", "me", "--config", "/no.toml"], 2, "config file /no.toml"),
        (["show"], 2, "--bank"),
        (["show", "--bank", "me", "--type", "x"], 2, "'semantic'"),
    ],
)
def test_a_bad_command_is_refused_with_the_rule_and_the_value(line, args, code, message) -> None:
    line.ok("memorize", line.chat(CHAT), "--bank", "me")
    result = line.run(*args)
    assert result.exit_code == code
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert result.stdout == ""


def test_errors_are_json_on_standard_error_if_results_are(line) -> None:
    line.ok("memorize", line.chat(CHAT), "--bank", "me")
    result = line.run("--json", "show", "--bank", "no")
    assert (result.exit_code, result.stdout) == (1, "")
    error = json.loads(result.stderr)["error"]
    assert (error["kind"], error["reason"]) == ("not_found", "BANK_NOT_FOUND")


def test_reading_commands_do_not_make_a_store(line) -> None:
    result = line.run("show", "--bank", "me")
    assert result.exit_code == 2
    assert "there is no store" in result.stderr
    assert not line.store.exists()


def test_a_service_that_is_not_there_is_code_3() -> None:
    result = CliRunner().invoke(app, ["banks"], env={"MEMALPHA_MEMORY_ADDRESS": "127.0.0.1:1"})
    assert (result.exit_code, result.stdout) == (3, "")
    assert "`memalpha up` starts the services" in result.stderr


def test_health_names_what_is_not_there() -> None:
    nowhere = {f"MEMALPHA_{name}_ADDRESS": "127.0.0.1:1" for name in ("MEMORY", "POLICY", "AGENT")}
    result = CliRunner().invoke(app, ["health", "--json"], env=nowhere)
    assert result.exit_code == 3
    found = {service["name"]: service["status"] for service in json.loads(result.stdout)["services"]}
    assert found == {"memory": "unreachable", "policy": "unreachable", "agent": "unreachable"}


def test_health_of_an_embedded_store_counts_what_is_pending(line) -> None:
    line.ok("memorize", line.chat(CHAT), "--bank", "me", "--no-wait")
    assert "2 pending chunks in 1 bank" in line.ok("health")


def test_recall_explains_ranks_if_asked(line) -> None:
    line.write(hand_made(insert("Ada has one dog")))
    result = line.run("recall", "dog", "--bank", "me", "--explain", "--method", "words")
    assert "     ranks: words " in result.stdout
    assert "memories ranked by " in result.stderr
    assert "ranks" not in line.ok("recall", "dog", "--bank", "me")


def test_show_and_embedder_tell_what_makes_a_banks_vectors(line) -> None:
    line.write(hand_made(insert("Ada has one dog")))
    told = line.ok("embedder", "me").removeprefix("bank me: ")
    assert "builtin embedder" in told
    assert told in line.ok("show", "--bank", "me")
    assert line.json("embedder", "me")["bank"]["bank_id"] == "me"


def test_an_embedder_that_the_settings_do_not_describe_is_refused(line) -> None:
    line.write(hand_made(insert("Ada has one dog")))
    result = line.run("embedder", "me", "--set", "openai")
    assert (result.exit_code, result.stderr) == (
        2,
        "error: embedder: model must be given for kind openai (INVALID_SETTING)\n",
    )


def test_up_refuses_an_embedder_that_the_settings_do_not_describe() -> None:
    result = CliRunner().invoke(app, ["up", "--embedder", "openai"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "model must be given for kind openai" in result.stderr


def test_an_embedder_that_cannot_be_asked_for_its_dimensions_changes_nothing(line, monkeypatch) -> None:
    line.write(hand_made(insert("Ada has one dog")))
    for name, value in {"MODEL": "m", "BASE_URL": "http://127.0.0.1:1/v1", "ATTEMPTS": "1"}.items():
        monkeypatch.setenv(f"MEMALPHA_EMBEDDER__{name}", value)
    result = line.run("embedder", "me", "--set", "openai")
    assert result.exit_code == 3
    assert "no embedder at http://127.0.0.1:1/v1/embeddings" in result.stderr


@pytest.mark.skipif(not hasattr(memcore.Bank, "put_vectors"), reason="this memcore takes no vectors yet")
def test_a_banks_embedder_can_be_changed_and_changed_back(line) -> None:
    line.write(hand_made(insert("Ada has one dog")))
    assert "no embedder" in line.ok("embedder", "me", "--set", "none")
    assert "builtin embedder" in line.ok("embedder", "me", "--set", "builtin")


def demo_files(line: Line, evidence: list[int]) -> list[str]:
    questions = line.folder / "questions.json"
    questions.write_text(json.dumps([{"question": "What is the dog called?", "evidence": evidence}]))
    thanks = {"role": "assistant", "content": "Thanks!", "time": "2024-06-05"}
    return ["demo", line.chat([*CHAT, thanks]), "--questions", str(questions)]


def test_the_demo_marks_an_answer_that_it_found_and_one_that_it_missed(line) -> None:
    found = line.ok(*demo_files(line, [0]))
    assert "? What is the dog called?  found\n" in found
    assert found.endswith("1 of 1 answers found in core memory or the first 3 memories\n")
    missed = line.ok(*demo_files(line, [2]))  # nothing is worth keeping in the third message
    assert "? What is the dog called?  missed\n" in missed


def test_the_demo_answers_questions_about_any_file_and_keeps_nothing(line) -> None:
    document = line.json("demo", line.chat(CHAT), "--ask", "Where is the dog?", "--ask", "Who moved?")
    assert [answer["question"] for answer in document["answers"]] == ["Where is the dog?", "Who moved?"]
    assert document["bank"]["stats"]["pending_chunks"] == 0
    assert not line.store.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 1}', "questions.json must be an array of questions"),
        ("[3]", 'questions.json, question 1 must be an object with "question"'),
        (
            '[{"question": "x", "evidence": [2]}]',
            'questions.json, question 1: "evidence" must be a list of turns, counted from 0 to 1',
        ),
    ],
)
def test_bad_questions_are_refused(line, content, message) -> None:
    (line.folder / "questions.json").write_text(content)
    result = line.run("demo", line.chat(CHAT), "--questions", str(line.folder / "questions.json"))
    assert (result.exit_code, result.stderr) == (2, f"error: {message}\n")


def test_every_command_teaches_with_an_example() -> None:
    for command in (
        "up",
        "health",
        "memorize",
        "recall",
        "show",
        "history",
        "banks",
        "unpark",
        "embedder",
        "demo",
    ):
        result = CliRunner().invoke(app, [command, "--help"])
        assert result.exit_code == 0
        assert f"Example: memalpha {command}" in result.stdout
