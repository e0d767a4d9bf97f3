"""The measurement of the agent's loop: what it counts and draws, and that both loops do the same work."""

import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from memalpha.agent import AgentSettings, packs, wire
from memalpha.agent.prompts import render_prompt
from memalpha.agent.tools import ToolCall
from memalpha.api.memory.v1alpha1.memory_pb2 import Chunk, Memory, MemoryType
from memalpha.api.memory.v1alpha1.memory_service_pb2 import GetWriterViewResponse
from memalpha.api.policy.v1alpha1.policy_service_pb2 import ChatMessage
from memalpha.errors import InternalError
from memalpha.policy.engine import InProcessPolicy
from memalpha.tasks.pages import between

sys.path.insert(0, str(Path(__file__).parents[1] / "benches"))

from agent_bench import page, parts, prefixes, stub  # pyright: ignore[reportMissingImports]
from agent_bench.occupancy import Occupancy  # pyright: ignore[reportMissingImports]
from agent_bench.runs import Run, Setup, run  # pyright: ignore[reportMissingImports]
from agent_bench.workload import Size, Workload, key_of  # pyright: ignore[reportMissingImports]

SIZE = Size(banks=3, chunks=(2, 4), words=40, inserts=2)


def work(**changes):
    given = {"size": SIZE, "kind": "fixed", "median": 0.0, "wire_format": "lines", "seed": 1} | changes
    return Workload(**given)


def setup(workload, rows=2, **settings):
    policy = InProcessPolicy(stub.StubEngine(workload, rows))
    return Setup(policy, rows, workload, AgentSettings(**settings))


def a_run(**changes):
    numbers = dict.fromkeys(Run.__slots__, 1.0) | changes
    return Run(**numbers)


def test_an_engine_is_busy_while_anything_is_in_work_and_filled_up_to_its_rows():
    counted = Occupancy(rows=2, begin=10.0)
    for moment in (11.0, 12.0, 13.0):
        counted.enters(moment)
    for moment in (14.0, 15.0, 16.0):
        counted.leaves(moment)
    # In work from 11 to 16 of 10 to 20: 1, 2, then 3 of which one waits, 2, 1: 1 + 2 + 2 + 2 + 1 of 20.
    assert counted.shares(20.0) == pytest.approx((0.5, 8 / 20))


def test_an_engine_without_requests_is_never_busy():
    assert Occupancy(rows=2, begin=0.0).shares(5.0) == (0.0, 0.0)


def test_a_workload_of_the_same_seed_is_the_same_and_of_another_is_not():
    first = work(kind="log-normal", median=0.5)
    for same, other in ((replace(first), True), (replace(first, seed=2), False)):
        assert (same.texts == first.texts) is other
        assert (same.seconds == first.seconds) is other
        assert (same.stream(0) == first.stream(0)) is other


def test_log_normal_times_have_the_median_and_fixed_ones_are_it():
    many = Size(banks=40, chunks=(25, 25), words=20, inserts=1)
    times = sorted(work(size=many, kind="log-normal", median=0.5).seconds.values())
    # The logarithm of a median of 1,000 draws has a standard error of 1.25 * 0.6 / sqrt(1000) = 0.024.
    assert times[500] == pytest.approx(0.5, rel=0.07)
    assert times[-1] > 1.5
    assert set(work(size=many, median=0.5).seconds.values()) == {0.5}


@pytest.mark.parametrize(("rows", "seconds"), [(1, 7.0), (2, 3.5), (4, 3.0)])
def test_no_loop_beats_all_rows_nor_the_longest_stream(rows, seconds):
    workload = work()
    workload.__dict__["seconds"] = {(0, 0): 2.0, (0, 1): 1.0, (1, 0): 2.0, (2, 0): 2.0}
    assert workload.bound(rows) == seconds


@pytest.mark.parametrize("pack", ["default", "paper"])
def test_a_prompt_says_which_completion_it_asks_for_and_which_memory_is_shown_first(pack):
    form = wire.get("qwen_agent")
    workload = work(wire_format=form.name)
    shown = Memory(type=MemoryType.MEMORY_TYPE_SEMANTIC, id=3, content="Ann has a dog")
    view = GetWriterViewResponse(semantic=[shown], next_chunk=workload.stream(1)[1])
    prompt = render_prompt(view, form, packs.load(pack))
    assert key_of(prompt.messages) == (1, 1)
    calls = [each for each in form.parse(workload.written(prompt.messages)) if isinstance(each, ToolCall)]
    named = [call.arguments["memory_id"] for call in calls if "memory_id" in call.arguments]
    assert named == list(prompt.aliases)


def test_a_prompt_of_something_else_is_refused():
    view = GetWriterViewResponse(next_chunk=Chunk(text="hello", source="a book"))
    with pytest.raises(ValueError, match="no chunk with bank and place"):
        key_of(render_prompt(view, wire.get("lines")).messages)
    with pytest.raises(ValueError, match="no chunk with bank and place"):
        key_of([ChatMessage(content="hello")])


@pytest.mark.parametrize("loop", ["free", "lockstep"])
async def test_both_loops_memorize_every_chunk_and_carry_out_what_is_written(loop):
    workload = work()
    found = await run(loop, setup(workload))
    chunks = len(workload.seconds)
    # Four inserts a chunk, core memory at each bank's first chunk (none has five), an update at every other.
    assert (found.chunks, found.operations) == (chunks, 4 * chunks + SIZE.banks + (chunks - SIZE.banks))


class Holding:
    """Holds back bank 0's first completion until bank 1 asks for its second, but not for ever."""

    def __init__(self, policy):
        self.policy, self.asked, self.gave_up = policy, set(), False
        self.describe = policy.describe

    async def generate(self, request):
        key = key_of(request.chat.messages)
        self.asked.add(key)
        turns = 0
        while key == (0, 0) and (1, 1) not in self.asked and not self.gave_up:
            await asyncio.sleep(0)
            turns += 1
            self.gave_up = turns > 1000
        return await self.policy.generate(request)


@pytest.mark.parametrize(("loop", "waits"), [("free", False), ("lockstep", True)])
async def test_only_in_lock_step_a_bank_waits_for_the_slowest_of_the_round(loop, waits):
    made = setup(work(size=replace(SIZE, banks=2, chunks=(2, 2))))
    holding = Holding(made.policy)
    await run(loop, replace(made, policy=holding, subtract=False))
    assert holding.gave_up is waits


async def test_a_chunk_that_fails_ends_the_measurement():
    class Refusing(stub.StubEngine):
        def describe(self):
            described = super().describe()
            described.max_context_tokens = 64
            return described

    workload = work()
    refused = replace(setup(workload), policy=InProcessPolicy(Refusing(workload, 2)))
    with pytest.raises(InternalError, match="prompt must have at most"):
        await run("free", refused)


@pytest.mark.parametrize("rows", [1, 2, 4])
async def test_the_stub_works_on_as_many_as_it_has_rows(rows, monkeypatch):
    inside, most = 0, 0

    async def sleep(seconds):
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0)
        inside -= 1

    monkeypatch.setattr(stub, "asyncio", SimpleNamespace(Semaphore=asyncio.Semaphore, sleep=sleep))
    workload = work(size=replace(SIZE, banks=6))
    await run("free", replace(setup(workload, rows), subtract=False))
    assert most == rows


def test_shared_tokens_are_those_before_the_first_difference():
    # "one two three four" and "one two six": two words of three are where they were.
    assert prefixes.shared([["one two three four", "one two six"]]) == pytest.approx(2 / 3)
    assert prefixes.shared([["a b c", "a b c"], ["one", "two"]]) == pytest.approx(3 / 4)
    with pytest.raises(ValueError, match="at least two prompts"):
        prefixes.shared([["one"], ["two"]])


async def test_memory_first_has_the_same_words_and_shares_less(tmp_path):
    moved = prefixes.memory_first(tmp_path / "pack")
    view = GetWriterViewResponse(core=Memory(content="Ann"), next_chunk=Chunk(text="Ben moved"))
    ours, theirs = (
        "\n".join(each.content for each in render_prompt(view, wire.get("lines"), packs.load(pack)).messages)
        for pack in ("default", moved)
    )
    assert sorted(ours.split()) == sorted(theirs.split())
    workload = work()
    first = await run("free", replace(setup(workload), subtract=False))
    last = await run("free", replace(setup(workload, prompt_pack=moved), subtract=False))
    assert first.shared > 2 * last.shared


def test_the_agent_is_too_dear_beyond_its_share():
    def doors(cpu):
        return {"doors": {"one process": [a_run(cpu_ms=cpu, calls_ms=0.5, memory_ms=1.0)] * 3}}

    assert page.too_dear(doors(3.6))
    assert not page.too_dear(doors(3.4))


def test_tables_show_medians_and_the_document_every_run():
    runs = [a_run(seconds=seconds) for seconds in (1.0, 9.0, 2.0)]
    found = {part: {"row": runs} for part in ("loops", "doors", "layouts", "models")}
    assert "| row | 2.0 |" in page.tables(found, parts.QUICK)[0]
    assert len(page.tables(found | {"models": {}}, parts.QUICK)) == 3
    said = json.loads(json.dumps(page.document(found, parts.QUICK, {"git": {"commit": "79be489"}})))
    assert said["git"]["commit"] == "79be489"
    assert [each["seconds"] for each in said["parts"]["loops"]["row"]] == [1.0, 9.0, 2.0]


def test_what_is_written_names_the_day_and_the_commit_that_it_began_with(tmp_path, monkeypatch):
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy.md").write_text(f"{page.BEGIN}\nof before\n{page.END}")
    monkeypatch.setattr(page, "DOCS", tmp_path)
    start = {"date": "2026-11-27", "cores": 2, "load_before": 0.5, "versions": {}}
    start["git"] = {"commit": "79be4890123456789abcdef0", "changed": True}
    page.write({"loops": {"row": [a_run()]}}, parts.QUICK, start, ["a table"])
    said = json.loads((tmp_path / "policy" / "agent-2026-11-27.json").read_text())
    assert (said["git"], said["date"]) == (start["git"], start["date"])
    shown = (tmp_path / "policy.md").read_text()
    assert "2026-11-27, commit 79be489012, with files that differ from it, 2 cores" in shown
    assert "of before" not in shown


def test_the_page_of_the_documentation_has_the_markers():
    text = (page.DOCS / "policy.md").read_text("utf-8")
    assert between(text, page.BEGIN, page.END, "new") != text
