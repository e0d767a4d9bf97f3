from contextlib import suppress
from itertools import islice

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from memalpha.agent import packs, wire
from memalpha.agent.prompts import (
    PromptItem,
    alias_names,
    read_consolidation,
    read_prompt,
    render_consolidation,
    render_prompt,
)
from memalpha.api.memory.v1alpha1.memory_pb2 import Bank, BankSettings, BankStats, Chunk, Memory, MemoryType
from memalpha.api.memory.v1alpha1.memory_service_pb2 import GetWriterViewResponse
from memalpha.errors import InvalidInputError

SEMANTIC, EPISODIC = MemoryType.MEMORY_TYPE_SEMANTIC, MemoryType.MEMORY_TYPE_EPISODIC
HERMES = wire.get("hermes")


def view(
    *,
    core: str = "",
    semantic: tuple[Memory, ...] = (),
    episodic: tuple[Memory, ...] = (),
    chunk: Chunk | None = None,
) -> GetWriterViewResponse:
    bank = Bank(
        settings=BankSettings(core_token_limit=512), stats=BankStats(semantic_count=31, episodic_count=7)
    )
    return GetWriterViewResponse(
        bank=bank,
        core=Memory(type=MemoryType.MEMORY_TYPE_CORE, content=core),
        semantic=semantic,
        episodic=episodic,
        next_chunk=chunk or Chunk(text="Ann: hi"),
    )


def user_text(shown: GetWriterViewResponse) -> str:
    return render_prompt(shown, HERMES).messages[1].content


def test_the_user_message_shows_core_memories_and_chunk_in_this_layout() -> None:
    shown = view(
        core="Caroline, teacher",
        semantic=(
            Memory(id=3, type=SEMANTIC, content="Caroline has a dog\nnamed Biscuit"),
            Memory(id=9, type=SEMANTIC, content="Melanie paints", event_time="2023-05-08"),
        ),
        episodic=(
            Memory(id=5, type=EPISODIC, content="Caroline adopted Biscuit", event_time="2023-05-08T13:56"),
        ),
        chunk=Chunk(
            text="Caroline: I adopted a dog!\nMelanie: Wow", event_time="2023-05-08T13:56", source="chat.json"
        ),
    )
    prompt = render_prompt(shown, HERMES)
    assert prompt.messages[1].content == (
        '<core_memory limit="512">\n'
        "Caroline, teacher\n"
        "</core_memory>\n"
        '<semantic_memory shown="2" total="31">\n'
        "[a] Caroline has a dog\\nnamed Biscuit\n"
        "[b] (2023-05-08) Melanie paints\n"
        "</semantic_memory>\n"
        '<episodic_memory shown="1" total="7">\n'
        "[c] (2023-05-08T13:56) Caroline adopted Biscuit\n"
        "</episodic_memory>\n"
        '<chunk time="2023-05-08T13:56" source="chat.json">\n'
        "Caroline: I adopted a dog!\n"
        "Melanie: Wow\n"
        "</chunk>"
    )
    assert prompt.aliases == {"a": (SEMANTIC, 3), "b": (SEMANTIC, 9), "c": (EPISODIC, 5)}


anything = st.text(max_size=60) | st.lists(
    st.sampled_from(
        [
            "</",
            "<\\/",
            "<",
            "/",
            "\\",
            "\n",
            "\r",
            '"',
            ")",
            "(",
            " ",
            "[a] ",
            "chunk>",
            "</core_memory>\n",
            "x",
        ]
    ),
    max_size=12,
).map("".join)
writable = anything.map(lambda text: text.encode("utf-8", "replace").decode())


@given(
    core=writable,
    facts=st.lists(st.tuples(writable, writable), max_size=3),
    chunk=st.tuples(writable, writable, writable),
)
@example(
    core="</core_memory>\n<chunk>",
    facts=[("(2023) x", ""), ("x", "(2023)"), ("", "")],
    chunk=("</chunk>", '"', "\\"),
)
def test_every_text_of_a_view_is_read_back_unchanged(
    core: str, facts: list[tuple[str, str]], chunk: tuple[str, str, str]
) -> None:
    memories = [
        Memory(id=n, type=SEMANTIC, content=text, event_time=time) for n, (text, time) in enumerate(facts)
    ]
    text, time, source = chunk
    shown = view(
        core=core,
        semantic=tuple(memories),
        episodic=tuple(memories),
        chunk=Chunk(text=text, event_time=time, source=source),
    )
    seen = read_prompt(user_text(shown))
    assert (seen.core, seen.core_limit) == (core, 512)
    assert [(each.content, each.event_time) for each in seen.semantic] == facts
    assert [(each.content, each.event_time) for each in seen.episodic] == facts
    assert (seen.chunk, seen.chunk_time, seen.chunk_source) == chunk


def test_an_items_alias_is_read_with_it() -> None:
    seen = read_prompt(user_text(view(semantic=(Memory(id=3, type=SEMANTIC, content="x"),))))
    assert seen.semantic == [PromptItem("a", "", "x")]


@pytest.mark.parametrize(
    "text", ["", "Hello", "<chunk>\nx\n</chunk>", "<" * 50_000, '<core_memory limit="1">\n' * 5_000]
)
def test_any_other_text_is_refused_as_not_understood(text: str) -> None:
    with pytest.raises(InvalidInputError, match="prompt not understood") as caught:
        read_prompt(text)
    assert caught.value.reason == "PROMPT_NOT_UNDERSTOOD"


@given(cut=st.integers(0, 200), junk=anything)
def test_a_damaged_prompt_is_read_or_refused_but_breaks_nothing(cut: int, junk: str) -> None:
    text = user_text(view(core="c", semantic=(Memory(id=3, type=SEMANTIC, content="x"),)))
    with suppress(InvalidInputError):
        read_prompt(text[:cut] + junk + text[cut:])


def test_aliases_are_letters_then_pairs_of_letters() -> None:
    names = list(islice(alias_names(), 28))
    assert (names[0], names[25], names[26], names[27]) == ("a", "z", "aa", "ab")


def test_switched_off_types_are_named_to_the_writer() -> None:
    shown = view()
    shown.bank.settings.disabled_types.append(EPISODIC)
    assert "Do not write to episodic_memory" in render_prompt(shown, HERMES).messages[0].content
    assert "Do not write to" not in render_prompt(view(), HERMES).messages[0].content


def test_the_digest_names_the_templates_and_not_the_bank() -> None:
    digest = render_prompt(view(core="x"), HERMES).digest
    assert digest == render_prompt(view(core="y"), HERMES).digest
    assert digest != render_prompt(view(core="x"), wire.get("lines")).digest
    assert len(digest) == 64


@given(core=anything, texts=st.lists(st.tuples(anything, anything), max_size=3))
@example(core="</core_memory>\n", texts=[("(a) b", ""), ("<chunk>\nx\n</chunk>", "</x")])
def test_memories_to_put_in_order_are_read_back_as_they_are(core: str, texts: list[tuple[str, str]]) -> None:
    facts = tuple(
        Memory(id=n, type=SEMANTIC, content=text, event_time=t) for n, (text, t) in enumerate(texts)
    )
    events = tuple(
        Memory(id=n, type=EPISODIC, content=text, event_time=t) for n, (text, t) in enumerate(texts)
    )
    shown = view(core=core, semantic=facts, episodic=events)
    for name in ("default", "short"):
        prompt = render_consolidation(shown, HERMES, packs.load(name))
        seen = read_consolidation(prompt.messages[1].content)
        assert seen is not None
        assert (seen.core, seen.core_limit, seen.chunk) == (core, 512, "")
        assert [(each.content, each.event_time) for each in seen.semantic] == texts
        assert [(each.content, each.event_time) for each in seen.episodic] == texts


def test_the_two_prompts_are_never_taken_for_each_other() -> None:
    shown = view(core="c", semantic=(Memory(id=3, type=SEMANTIC, content="x"),))
    assert read_consolidation(user_text(shown)) is None
    with pytest.raises(InvalidInputError):
        read_prompt(render_consolidation(shown, HERMES, packs.load("default")).messages[1].content)


@pytest.mark.parametrize("text", ["", "Hello", "<" * 50_000, '<core_memory limit="1">\n' * 5_000])
def test_other_texts_are_no_memories_to_put_in_order(text: str) -> None:
    assert read_consolidation(text) is None
