"""Systems keep to the budget, see nothing of what comes later, and can be replayed from their records."""

import asyncio
import re
from dataclasses import replace

import pytest
from made_systems import IDENTITY, Stub, built, contexts, dialogue, opened, options, question, stored

from memalpha.agent import packs, preset, wire
from memalpha.errors import (
    InvalidInputError,
    MemalphaError,
    OutOfRangeError,
    UnavailableError,
    UnsupportedError,
    make,
)
from memalpha.tasks.writers import insert
from memalpha_evals.protocols import Context, ReplayError, Step
from memalpha_evals.streams import AskedQuestion, Stream, StreamChunk
from memalpha_evals.systems import NAMES, SystemOptions, create
from memcore import count_tokens

MODEL_FREE = ("no-memory", "full-context", "rag-bm25", "rag-dense", "rag-hybrid")
WITH_MODEL = ("summary", "extract-update", "overwrite", "internal-state")


def says(prompt: str, number: int) -> str:
    """What every system can make something of: facts, changes, a state, and calls of the agent's tools."""
    if "one line for each fact" in prompt:
        return "update 1: Bob moved again, for the better.\nadd: Bob likes the new oven."
    if "Write the facts" in prompt:
        return f"- Bob moved for the {number}th time.\n- Bob bakes bread."
    if "<state>" in prompt:
        return f"thinking <state>Bob is at place {number}; {'bread ' * 100}</state>"
    if "new memory" in prompt or "new summary" in prompt:
        return f"Bob has moved {number} times. {'He bakes bread. ' * 60}"
    return wire.get("lines").render([insert(f"Fact {number} about the bakery of Bob.")])


def every(name: str, **changes: object) -> SystemOptions:
    return options(Stub(says) if name in WITH_MODEL else None, **changes)


@pytest.mark.parametrize("budget", [64, 200, 1500])
@pytest.mark.parametrize("name", NAMES)
def test_no_context_is_longer_than_the_budget_and_its_tokens_are_counted_right(
    name: str, budget: int
) -> None:
    async def run() -> list[Context]:
        told = dialogue(16)
        session, _ = await built(name, every(name, budget=budget), told)
        return await contexts(session, told, budget)

    found = asyncio.run(run())
    assert all(count_tokens(each.text) == each.tokens <= budget for each in found)
    assert name == "no-memory" or any(each.text for each in found)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_said_later_is_not_in_an_earlier_context(name: str) -> None:
    async def run() -> tuple[Stream, Context, Context]:
        told = dialogue()
        (early,) = [each for each in told.questions if each.after < len(told.chunks)]
        late = replace(early, after=len(told.chunks))
        system, session = await opened(name, every(name), told)
        for place in range(min(early.after, system.steps(told))):
            await session.step(place)
        before = await session.context(early, 4096)
        for place in range(early.after, system.steps(told)):
            await session.step(place)
        return told, before, await session.context(late, 4096)

    told, before, after = asyncio.run(run())
    last = told.chunks[-1].text.split()[6]
    assert last not in before.text
    if name in (*MODEL_FREE[1:], "memalpha"):
        assert last in after.text


def test_full_context_keeps_the_newest_and_marks_what_is_missing() -> None:
    async def run() -> tuple[Stream, Context, Context]:
        told = dialogue()
        session, _ = await built("full-context", options(), told)
        asked = told.questions[-1]
        return told, await session.context(asked, 100), await session.context(asked, 4096)

    told, cut, whole = asyncio.run(run())
    assert cut.truncated
    assert cut.text.startswith("[…]\n[2023-05-")
    assert cut.text.endswith(told.chunks[-1].text)
    assert not whole.truncated
    assert all(chunk.text in whole.text for chunk in told.chunks)
    assert cut.stored_tokens == whole.stored_tokens == told.tokens


@pytest.mark.parametrize("name", ["rag-bm25", "rag-dense", "rag-hybrid"])
def test_rag_shows_the_passage_that_is_asked_for_with_its_day(name: str) -> None:
    async def run() -> list[Context]:
        told = dialogue()
        session, _ = await built(name, options(passage_tokens=32), told)
        return await contexts(session, told, 64)

    found = asyncio.run(run())
    assert sum(f"[2023-05-{place + 1:02}]" in each.text for place, each in enumerate(found)) >= 6
    assert all(each.truncated for each in found)


def test_passages_keep_the_time_that_stands_before_their_lines() -> None:
    text = "Ann: Hello there, Bob.\n[2023-05-01T10:30:00]\nBob: I have to go now, and will be back at night."
    told = Stream("two times", (StreamChunk(text, "2023-05-01T10:00:00", count_tokens(text)),), ())

    async def run() -> Context:
        session, _ = await built("rag-bm25", options(passage_tokens=16), told)
        return await session.context(AskedQuestion("", question("Who is back at night?"), 1), 64)

    assert "[2023-05-01T10:30:00]\nBob: I have to go now" in asyncio.run(run()).text


@pytest.mark.parametrize("name", [*WITH_MODEL, "memalpha", "rag-hybrid"])
def test_a_replayed_session_shows_what_the_live_one_shows_byte_for_byte(name: str) -> None:
    async def run() -> tuple[list[Context], list[Context]]:
        told = dialogue()
        live, steps = await built(name, every(name, budget=300), told)
        silent = Stub(lambda prompt, number: pytest.fail("a model was asked"))
        description = every(name).description
        _system, session = await opened(
            name, SystemOptions(policy=silent, description=description, budget=300), told
        )
        for place, step in enumerate(stored(steps)):
            await session.replay(place, step)
        return await contexts(live, told, 300), await contexts(session, told, 300)

    live, replayed = asyncio.run(run())
    assert live == replayed
    assert any(each.text for each in live)


@pytest.mark.parametrize("name", [*WITH_MODEL, "memalpha"])
def test_a_record_of_other_words_makes_another_memory_or_none(name: str) -> None:
    """The control of the test above: what was written decides what is shown."""

    async def run() -> bool:
        told = dialogue()
        live, steps = await built(name, every(name, budget=300), told)
        _system, session = await opened(name, every(name, budget=300), told)
        try:
            for place, step in enumerate(stored(steps)):
                for call in step.record["calls"]:
                    call["text"] = call["text"].replace("Bob", "Eve")
                await session.replay(place, step)
        except ReplayError:
            return True
        return await contexts(live, told, 300) != await contexts(session, told, 300)

    assert asyncio.run(run())


def replayed(change: str) -> None:
    """Replays the second step of a memory from a record that was changed."""

    async def run() -> None:
        told = dialogue()
        _, steps = await built("extract-update", every("extract-update"), told)
        _system, session = await opened("extract-update", every("extract-update"), told)
        await session.replay(0, steps[0])
        record = dict(stored(steps)[1].record)
        calls = record["calls"]
        match change:
            case "nothing":
                pass
            case "another chunk":
                record = dict(steps[2].record)
            case "another prompt":
                calls[1]["prompt"] = calls[0]["prompt"]
            case "one call fewer":
                calls.pop()
            case _:
                calls.append(calls[0])
        await session.replay(1, Step(record))

    asyncio.run(run())


@pytest.mark.parametrize("change", ["another chunk", "another prompt", "one call fewer", "one call more"])
def test_a_record_that_is_not_of_the_step_is_refused(change: str) -> None:
    replayed("nothing")
    with pytest.raises(ReplayError, match="step 1"):
        replayed(change)


def test_a_prompt_that_the_policy_refused_is_refused_again_in_replay() -> None:
    def short_only(prompt: str, number: int) -> str:
        if prompt.count("[") > 3:
            raise make(OutOfRangeError, "PROMPT_TOO_LONG", "too long for me", limit=3)
        return says(prompt, number)

    async def run() -> tuple[list[Step], list[Context], list[Context]]:
        told = dialogue(16)
        live, steps = await built("memalpha", options(Stub(short_only)), told)
        _, session = await opened("memalpha", options(Stub(lambda prompt, number: "")), told)
        for place, step in enumerate(stored(steps)):
            await session.replay(place, step)
        return steps, await contexts(live, told, 300), await contexts(session, told, 300)

    steps, live, replayed = asyncio.run(run())
    assert any("refused" in call for step in steps for call in step.record["calls"])
    assert live == replayed


@pytest.mark.parametrize("name", [*WITH_MODEL, "memalpha"])
def test_a_step_that_failed_can_be_taken_again(name: str) -> None:
    async def run(broken: int) -> list[Context]:
        left = [broken]

        def sometimes(prompt: str, number: int) -> str:
            if number == 5 and left[0]:
                left[0] = 0
                raise make(UnavailableError, "UNAVAILABLE", "gone")
            return says(prompt, 0)

        told = dialogue()
        system, session = await opened(name, options(Stub(sometimes), budget=200), told)
        for place in range(system.steps(told)):
            try:
                await session.step(place)
            except MemalphaError:
                await session.step(place)
        return await contexts(session, told, 200)

    assert asyncio.run(run(1)) == asyncio.run(run(0))


@pytest.mark.parametrize(
    "garbage", ["", "   \n", "<think>never done", "\x00✿ { [ </state> <<<", "update 99: x\ndelete 7"]
)
@pytest.mark.parametrize("name", [*WITH_MODEL, "memalpha"])
def test_words_that_mean_nothing_break_nothing(name: str, garbage: str) -> None:
    async def run() -> list[Context]:
        told = dialogue()
        session, _ = await built(name, options(Stub(lambda prompt, number: garbage)), told)
        return await contexts(session, told, 200)

    assert len(asyncio.run(run())) == 8


@pytest.mark.parametrize("name", WITH_MODEL)
def test_a_system_that_needs_a_model_says_so_and_what_to_give(name: str) -> None:
    with pytest.raises(
        UnsupportedError, match=f"system {name} needs a model, and policy extractive-1 is none"
    ):
        create(name, options())
    with pytest.raises(InvalidInputError, match="needs a policy"):
        create(name, SystemOptions())


def test_an_unknown_system_and_a_budget_that_is_too_small_are_refused_by_name() -> None:
    with pytest.raises(InvalidInputError, match=r"must be one of no-memory, .*, not 'rag'"):
        create("rag", options())
    with pytest.raises(InvalidInputError, match="budget must be at least 64"):
        options(budget=63)


def test_a_query_aware_system_is_told_its_question_and_others_are_not() -> None:
    async def run(name: str) -> list[str]:
        told, stub = dialogue(), Stub(says)
        await built(name, options(stub, budget=100), told)
        return [request.chat.messages[-1].content for request in stub.prompts]

    asked = dialogue().questions[-1].question.text
    for name in WITH_MODEL:
        prompts = asyncio.run(run(name))
        aware = name in ("overwrite", "internal-state")
        assert prompts
        assert all((asked in prompt) is aware for prompt in prompts)


def test_an_overwritten_memory_stops_at_its_limit_and_survives_silence() -> None:
    async def run(second: str) -> Context:
        told = dialogue()
        stub = Stub(lambda prompt, number: second if number else "Bob baked. " * 500)
        _system, session = await opened("overwrite", options(stub, budget=80), told)
        await session.step(0)
        await session.step(1)
        assert {request.sampling.max_tokens for request in stub.prompts} == {80}
        return await session.context(told.questions[-1], 80)

    assert count_tokens("Bob baked. " * 500) > 80 == asyncio.run(run("")).stored_tokens
    assert asyncio.run(run("")).text.startswith("Bob baked. Bob baked.")
    assert asyncio.run(run("Only this.")).text == "Only this."


def test_a_state_is_what_stands_between_the_last_tags() -> None:
    async def run(said: str) -> str:
        told = dialogue()
        _, session = await opened("internal-state", options(Stub(lambda prompt, number: said)), told)
        await session.step(0)
        return (await session.context(told.questions[-1], 100)).text

    assert asyncio.run(run("hm <state>old</state> so <state>Bob left</state> end")) == "Bob left"
    assert asyncio.run(run("hm <state>Bob lef")) == "Bob lef"
    assert asyncio.run(run("Bob left")) == "Bob left"


def test_a_summary_takes_in_what_no_longer_fits_and_shows_the_rest_as_it_is() -> None:
    async def run() -> tuple[Stub, Stream, Context]:
        told, stub = dialogue(), Stub(lambda prompt, number: f"Summary {number}.")
        session, _ = await built("summary", options(stub, budget=200), told)
        return stub, told, await session.context(told.questions[-1], 200)

    stub, told, context = asyncio.run(run())
    folded = "".join(request.chat.messages[-1].content for request in stub.prompts)
    assert context.text.startswith(f"<summary>\nSummary {len(stub.prompts) - 1}.\n</summary>\n")
    for chunk in told.chunks:
        assert (chunk.text in folded) is not (chunk.text in context.text)
    assert context.stored_tokens < told.tokens


def test_facts_are_added_updated_and_deleted_by_the_numbers_that_were_shown() -> None:
    async def run(changes: str) -> str:
        told = dialogue()
        stub = Stub(
            lambda prompt, number: ["- Bob lives in Rome.\n- Bob has a cat.", "- Bob moved.", changes][number]
        )
        _system, session = await opened("extract-update", options(stub), told)
        await session.step(0)
        await session.step(1)
        assert "1. (2023-05-01) Bob lives in Rome.\n2. (2023-05-01) Bob has a cat." in (
            stub.prompts[2].chat.messages[-1].content
        )
        return (await session.context(told.questions[-1], 200)).text

    kept = asyncio.run(run("none"))
    assert "- (2023-05-01) Bob lives in Rome." in kept
    assert "cat" in kept
    updated = asyncio.run(run("Update 1: Bob lives in Oslo.\n- delete 2\nadd: Bob is glad."))
    assert "- (2023-05-02) Bob lives in Oslo." in updated
    assert "- (2023-05-02) Bob is glad." in updated
    assert "Rome" not in updated
    assert "cat" not in updated


def test_ids_of_memories_are_not_shown_and_decide_nothing() -> None:
    async def run(before: str) -> str:
        told = dialogue()
        answers = [
            before,
            "- Bob has a dog, Rex.\n- Bob has a cat.",
            "\n".join(f"delete {n}" for n in range(1, 6)),
        ]
        answers[2] += "\nadd: Bob has a dog, Rex.\nadd: Bob has a cat."
        stub = Stub(lambda prompt, number: answers[number])
        _, session = await opened("extract-update", options(stub), told)
        await session.step(0)
        await session.step(1)
        return (await session.context(told.questions[-1], 200)).text

    one, five = (asyncio.run(run("\n".join(f"- Old thing {n}." for n in range(count)))) for count in (1, 5))
    assert one == five
    assert "Rex" in one
    assert "Old thing" not in one
    assert not re.search(r"\bid\b|\[\d+\]", one)


def test_the_paper_preset_shows_the_best_of_each_type_that_fit() -> None:
    async def run(budget: int) -> Context:
        form, told = wire.get("qwen_agent"), dialogue(16)
        writes = Stub(lambda prompt, number: form.render([insert(f"Bob moved his bakery, number {number}.")]))
        description = writes.description
        description.wire_format = form.name
        made = SystemOptions(policy=writes, description=description, agent=preset("paper"))
        session, _ = await built("memalpha", made, told)
        return await session.context(told.questions[-1], budget)

    # Of 16 memories of one type, as many as fit; a line has some 10 tokens, the tags 11.
    small, large = asyncio.run(run(64)), asyncio.run(run(4096))
    assert small.truncated
    assert 3 <= small.text.count("\n- ") <= 6
    assert not large.truncated
    assert large.text.count("\n- ") == 16
    assert small.stored_tokens == large.stored_tokens


def test_calls_have_seeds_of_their_own_that_are_the_same_in_every_run() -> None:
    async def run(seed: int | None) -> list[int]:
        stub = Stub(says)
        await built("extract-update", options(stub, seed=seed), dialogue())
        return [request.sampling.seed for request in stub.prompts]

    first = asyncio.run(run(1))
    assert first == asyncio.run(run(1)) != asyncio.run(run(2))
    assert len(set(first)) == len(first)
    assert set(asyncio.run(run(None))) == {0}


def test_identities_name_the_policy_the_words_and_the_settings() -> None:
    stub = Stub(says)
    for name in WITH_MODEL:
        identity = create(name, options(stub)).identity
        assert identity["policy"]["id"] == IDENTITY.policy_id
        assert identity["policy"]["version"] == 3
        assert identity.get("prompt_digest") or identity["prompt_digests"]
    ours = create("memalpha", options(stub)).identity
    theirs = create("memalpha", options(stub, agent=preset("default", view="recent"))).identity
    assert ours != theirs
    assert ours["prompt_digest"] == theirs["prompt_digest"]
    assert "policy" not in create("rag-bm25", options(stub)).identity


def test_a_trained_policy_is_asked_as_it_was_trained_and_refused_where_that_cannot_be() -> None:
    stub = Stub(says)
    description = stub.description
    description.trained_with.view = "recent(3,2)"
    description.trained_with.core_token_limit = 77
    description.trained_with.prompt_digest = packs.load("short").digest(wire.get("lines"))
    agent = create("memalpha", SystemOptions(policy=stub, description=description)).identity["agent"]
    assert (agent["view"], agent["semantic"], agent["episodic"]) == ("recent", 3, 2)
    assert (agent["core_tokens"], agent["prompt_pack"]) == (77, "short")
    description.trained_with.prompt_digest = "f" * 64
    with pytest.raises(UnsupportedError, match="was trained with prompt_digest f"):
        create("memalpha", SystemOptions(policy=stub, description=description))
