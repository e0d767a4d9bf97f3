"""Presets, and the whole prompts that they make: golden files are what a model of today is asked."""

from pathlib import Path

import pytest

from memalpha import config
from memalpha.agent import AgentSettings, Memorizer, packs, preset, wire
from memalpha.agent.answer_prompt import Shown, render_reader_prompt
from memalpha.agent.presets import PRESETS
from memalpha.agent.prompts import render_prompt
from memalpha.api.memory.v1alpha1.memory_pb2 import Bank, BankSettings, BankStats, Chunk, EmbedderKind, Memory
from memalpha.api.memory.v1alpha1.memory_service_pb2 import GetWriterViewResponse
from memalpha.api.policy.v1alpha1.policy_service_pb2 import ChatMessage, Role
from memalpha.app import agent_settings
from memalpha.client import AsyncMemoryClient
from memalpha.errors import InvalidInputError
from memcore import count_tokens

from .support import EPISODIC, SEMANTIC, PlainPolicy, append, contents, insert, request, write

GOLDEN = Path(__file__).parent / "golden"
PAPER = preset("paper")
MEMORIES = (
    Memory(id=3, type=SEMANTIC, content="Caroline has a dog\nnamed Biscuit"),
    Memory(id=9, type=SEMANTIC, content="Melanie paints"),
    Memory(id=5, type=EPISODIC, content="Caroline adopted Biscuit", event_time="2023-05-08"),
)


def as_text(messages: list[ChatMessage]) -> str:
    return "".join(f"=== {Role.Name(each.role)}\n{each.content}\n" for each in messages)


def writer_prompt(settings: AgentSettings, *memories: Memory) -> str:
    view = GetWriterViewResponse(
        bank=Bank(
            settings=BankSettings(core_token_limit=512), stats=BankStats(semantic_count=31, episodic_count=7)
        ),
        core=Memory(content="Caroline, teacher" if memories else ""),
        semantic=[each for each in memories if each.type == SEMANTIC],
        episodic=[each for each in memories if each.type == EPISODIC],
        next_chunk=Chunk(text="Caroline: </chunk> Biscuit is ill", event_time="2023-06-01T09:30"),
    )
    form = wire.get(settings.wire_format or "hermes")
    return as_text(render_prompt(view, form, packs.load(settings.prompt_pack)).messages)


def reader_prompt(settings: AgentSettings, *memories: Memory) -> str:
    pending = [(Chunk(event_time="2023-06-01"), "Caroline: Biscuit is ill")] if memories else []
    shown = Shown("Caroline, teacher" if memories else "", memories, pending)
    pack = packs.load(settings.prompt_pack)
    return as_text(render_reader_prompt(shown, "Which dog?", "In one word: ", pack).messages)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("memories", [MEMORIES, ()], ids=["full", "empty"])
@pytest.mark.parametrize("render", [writer_prompt, reader_prompt])
def test_a_presets_prompts_are_these_to_the_letter(name, memories, render) -> None:
    path = GOLDEN / f"{name}_{render.__name__}_{'full' if memories else 'empty'}.txt"
    assert render(preset(name), *memories) == path.read_text(encoding="utf-8")


def test_the_paper_preset_is_what_the_paper_does() -> None:
    assert (PAPER.wire_format, PAPER.view_name, PAPER.most_prompt_tokens) == (
        "qwen_agent",
        "recent(5,5)",
        6144,
    )
    assert (PAPER.retrieval, PAPER.retrieved, PAPER.most_reader_prompt_tokens) == ("okapi", 20, 30_000)
    assert (PAPER.core_tokens, PAPER.language, PAPER.temperature, PAPER.quirks) == (512, "none", 0.0, False)
    # 5, 2, 1, 0 memories of each type.
    sizes = [PAPER.view_request("b", halvings).recent.semantic for halvings in range(4)]
    assert (sizes, PAPER.most_halvings()) == ([5, 2, 1, 0], 3)


def test_overrides_win_over_a_preset() -> None:
    assert preset("paper", semantic=7).view_name == "recent(7,5)"
    assert preset("default") == AgentSettings()


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("papers", {}, "preset must be one of default, paper, not 'papers'"),
        ("paper", {"semantic": -1}, "semantic: .* greater than or equal to 0; it is -1"),
        ("paper", {"views": 3}, "views: Extra inputs are not permitted; it is 3"),
    ],
)
def test_an_unknown_preset_and_a_bad_override_are_refused(name, overrides, message) -> None:
    with pytest.raises(InvalidInputError, match=message):
        preset(name, **overrides)


@pytest.mark.parametrize("name", PRESETS)
def test_the_preset_of_the_settings_file_is_the_agents(name: str) -> None:
    # What the file's defaults say themselves: they are the same in every preset.
    own = {"chunk_tokens", "concurrency"}
    from_file = agent_settings(config.load(preset=name))
    assert from_file.model_dump(exclude=own) == preset(name).model_dump(exclude=own)


def test_what_is_set_beside_a_preset_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMALPHA_VIEW_SEMANTIC", "3")
    settings = config.load(preset="paper", wire_format="hermes", prompt_pack="short")
    assert agent_settings(settings).view_name == "recent(3,5)"
    assert agent_settings(settings).wire_format == "hermes"
    assert settings.environment()["MEMALPHA_PROMPT_PACK"] == "short"
    assert settings.embedder.kind == "none"


async def test_a_new_bank_of_the_paper_stems_no_words_and_has_no_vectors(memory: AsyncMemoryClient) -> None:
    from memalpha.agent import Agent

    await Agent(memory, PlainPolicy("Done"), PAPER).memorize(request("dogs"))
    settings = (await memory.get_bank("b")).settings
    assert (settings.language, settings.core_token_limit) == ("none", 512)
    assert settings.embedder.kind == EmbedderKind.EMBEDDER_KIND_NONE


async def test_the_papers_writer_memorizes_with_one_generation_for_each_chunk(
    memory: AsyncMemoryClient,
) -> None:
    await append(memory, "Ann: I have a dog", "Ann: Rex is his name")
    policy = PlainPolicy(
        wire.get("qwen_agent").render([insert("Ann has a dog")]),
        "Done",
        wire_format="qwen_agent",
    )
    memorizer = Memorizer(memory, policy, PAPER)
    first, second = await memorizer.next_chunk("b"), await memorizer.next_chunk("b")
    assert await contents(memory) == ["Ann has a dog"]
    assert len(policy.requests) == 2
    assert policy.requests[0].sampling.temperature == 0
    assert first is not None
    assert second is not None
    (alias,) = second.prompt.aliases
    assert len(alias) == 4
    assert f"[{alias}] Ann has a dog\n" in policy.requests[1].chat.messages[0].content


@pytest.mark.parametrize(("words", "shown"), [(10, 5), (1500, 2), (3500, 1), (7000, 0)])
async def test_the_papers_view_shrinks_above_its_limit_and_a_long_prompt_is_still_asked(
    memory: AsyncMemoryClient, words: int, shown: int
) -> None:
    # About so many tokens each: five of 1,500 exceed 6,144, and two do not; seven thousand alone do.
    await write(memory, *(insert(f"dog {n} " + "bark " * words) for n in range(5)))
    await append(memory, "dog")
    policy = PlainPolicy("Done", wire_format="qwen_agent")
    outcome = await Memorizer(memory, policy, PAPER).next_chunk("b")
    assert outcome is not None
    assert len(outcome.prompt.aliases) == shown
    assert sum(count_tokens(each.content) for each in outcome.prompt.messages) <= 6144


async def test_a_chunk_beyond_the_papers_limit_is_asked_without_a_view(memory: AsyncMemoryClient) -> None:
    await write(memory, insert("dog"))
    await append(memory, "bark " * 7000)
    policy = PlainPolicy("Done", wire_format="qwen_agent")
    outcome = await Memorizer(memory, policy, PAPER).next_chunk("b")
    assert outcome is not None
    assert (outcome.failure, len(outcome.prompt.aliases), len(policy.requests)) == ("", 0, 1)
