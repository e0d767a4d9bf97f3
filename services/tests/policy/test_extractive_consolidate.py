"""Which stored memories the rules remove. Memories are contents, or pairs of event time and content."""

from collections.abc import Sequence

import pytest

from memalpha.agent import packs, wire
from memalpha.agent.prompts import read_consolidation, render_consolidation
from memalpha.api.memory.v1alpha1.memory_pb2 import Memory, MemoryType
from memalpha.api.memory.v1alpha1.memory_service_pb2 import GetWriterViewResponse
from memalpha.api.policy.v1alpha1.policy_service_pb2 import ChatPrompt, GenerateRequest
from memalpha.policy.extractive import ExtractiveEngine, consolidate

from .support import parsed

Item = str | tuple[str, str]
MAY, JUNE = "2024-05-01", "2024-06-05"


def asked(semantic: Sequence[Item], episodic: Sequence[Item], pack: str = "default") -> GenerateRequest:
    kinds = [MemoryType.MEMORY_TYPE_SEMANTIC] * len(semantic) + [MemoryType.MEMORY_TYPE_EPISODIC] * len(
        episodic
    )
    pairs = [("", item) if isinstance(item, str) else item for item in (*semantic, *episodic)]
    memories = [
        Memory(id=n, type=kind, content=content, event_time=time)
        for n, (kind, (time, content)) in enumerate(zip(kinds, pairs, strict=True), start=1)
    ]
    view = GetWriterViewResponse(semantic=memories[: len(semantic)], episodic=memories[len(semantic) :])
    messages = render_consolidation(view, wire.get("hermes"), packs.load(pack)).messages
    return GenerateRequest(chat=ChatPrompt(messages=messages))


def kept(*semantic: Item, episodic: Sequence[Item] = (), pack: str = "default") -> list[Item]:
    """The memories that are left after what the engine writes."""
    calls = parsed(ExtractiveEngine("hermes").complete(asked(semantic, episodic, pack)).text)
    assert {call.name for call in calls} <= {"memory_delete"}
    gone = {str(call.arguments["memory_id"]) for call in calls}
    assert len(gone) == len(calls)
    return [item for place, item in enumerate((*semantic, *episodic)) if "abcdefghij"[place] not in gone]


@pytest.mark.parametrize("pack", ["default", "short"])
def test_of_copies_the_latest_stays(pack: str) -> None:
    copies = ("Ann has a dog.", "Ann has a dog", "ann has  a dog")
    assert kept(*copies, pack=pack) == ["ann has  a dog"]


def test_what_another_memory_says_too_goes_whichever_came_first() -> None:
    full = "Ann has a dog named Biscuit and a cat."
    assert kept("Ann has a dog named Biscuit.", full) == [full]
    assert kept(full, "Ann has a dog named Biscuit.") == [full]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ann ran 10 miles in Leeds.", "Ann ran 12 miles in Leeds."),
        ("Ann gave Ben a book.", "Ben gave Ann a book."),
        ("Ann can swim across the lake.", "Ann cannot swim across the lake."),
        (
            "Ann joined the choir of the old church near the harbour market last spring.",
            "Zoe joined the choir of the old church near the harbour market last spring.",
        ),
        ("Ann has a dog.", "Ann has a cat."),
    ],
)
def test_memories_that_only_look_alike_stay(one: str, other: str) -> None:
    assert kept(one, other) == [one, other]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            "Ann's neighbour keeps a cat in the small flat above the bakery near the river and feeds it tuna",
            "Ann's neighbour keeps a dog in the small flat above the bakery near the river and feeds it tuna",
        ),
        ("Émile bought a red bicycle near the station", "Øyvind bought a red bicycle near the station"),
        ("Анна купила красный велосипед", "Ольга купила красный велосипед"),
        ("Ann earns more than Bob", "Ann earns less than Bob"),
        ("Ann moved to Rome before Bob", "Ann moved to Rome after Bob"),
        ("All of the guests came to the party", "Some of the guests came to the party"),
        ("Tom likes his brother", "Tom likes her brother"),
        ("Ann will move to Rome", "Ann may move to Rome"),
    ],
)
def test_one_word_that_differs_is_a_difference(one: str, other: str) -> None:
    assert kept(one, other) == [one, other]
    # Articles are none.
    assert len(kept(one, f"The {one}")) == 1


def test_events_are_the_same_only_at_the_same_time() -> None:
    went = "Ann went to the gym."
    assert kept(episodic=[(MAY, went), (JUNE, went)]) == [(MAY, went), (JUNE, went)]
    assert kept(episodic=[(MAY, went), (MAY, f"{went}!")]) == [(MAY, f"{went}!")]
    assert kept(episodic=[(f"{MAY}T08:00", went), (f"{MAY}T18:00", f"{went}!")]) == [
        (f"{MAY}T08:00", went),
        (f"{MAY}T18:00", f"{went}!"),
    ]
    # A copy without a time, or with the day alone, adds nothing.
    assert kept(episodic=[(f"{MAY}T08:00", went), (MAY, f"{went}!"), went]) == [(f"{MAY}T08:00", went)]


def test_a_date_is_not_lost_with_a_copy() -> None:
    assert kept((MAY, "Ann lives in Oslo."), "Ann lives in Oslo") == [(MAY, "Ann lives in Oslo.")]


def test_a_fact_and_an_event_of_the_same_words_both_stay() -> None:
    assert kept("Ann moved.", episodic=[(MAY, "Ann moved.")]) == ["Ann moved.", (MAY, "Ann moved.")]


def test_an_older_value_goes() -> None:
    assert kept("Ann lives in Oslo.", "Ann works as a nurse.", "Ann lives in Bergen.") == [
        "Ann works as a nurse.",
        "Ann lives in Bergen.",
    ]
    assert kept("Ben lives in Oslo.", "Ann lives in Bergen.") == [
        "Ben lives in Oslo.",
        "Ann lives in Bergen.",
    ]


def test_a_value_that_was_written_later_but_is_of_an_earlier_day_speaks_against_nothing() -> None:
    homes = ((JUNE, "Ann lives in Bergen."), (MAY, "Ann lives in Oslo."))
    assert kept(*homes) == [*homes]


def test_a_value_that_came_back_stays_once() -> None:
    assert kept("Ann lives in Oslo.", "Ann lives in Bergen.", "Ann lives in Oslo!") == ["Ann lives in Oslo!"]


def test_how_somebody_got_where_they_are_is_not_outdated_by_where_they_were_in_between() -> None:
    moved = (JUNE, "Ann moved to Bergen on 3 June 2024.")
    assert kept(moved, "Ann lives in Oslo.", "Ann lives in Bergen.") == [moved, "Ann lives in Bergen."]


def test_a_memory_that_also_says_something_else_stays() -> None:
    old = "Ann lives in Oslo. The flat has a view of the fjord."
    assert kept(old, "Ann lives in Bergen.") == [old, "Ann lives in Bergen."]


def test_what_was_before_is_neither_news_nor_outdated() -> None:
    past = "Ann lives in Bergen. (Before: Ann lives in Oslo and likes it.)"
    assert kept("Ann lives in Bergen near the quay.", past) == ["Ann lives in Bergen near the quay.", past]
    assert kept(past, "Ann lives in Rome.") == [past, "Ann lives in Rome."]
    assert kept("Ann lives in Bergen.", "Ann lives in Rome.") == ["Ann lives in Rome."]


def test_the_present_value_stays_though_an_older_memory_says_more() -> None:
    memories = (
        "Ann lives in Oslo. The flat has a view.",
        "Ann lives in Bergen. It rains a lot.",
        "Ann lives in Oslo.",
    )
    assert kept(*memories) == [*memories]


def test_an_event_is_never_outdated() -> None:
    events = [(MAY, "Ann moved to Oslo."), (JUNE, "Ann moved to Bergen.")]
    assert kept(episodic=events) == events


def test_what_a_memory_went_for_stays() -> None:
    # Each says nearly all of the next: only neighbours in the chain may go for one another.
    words = [f"word{'abcdefghij'[n]}x" for n in range(10)]
    chain = [" ".join(words[n : n + 8]) for n in range(3)]
    left = kept(*chain)
    assert left
    assert all(any(len({*gone.split()} & {*one.split()}) >= 7 for one in map(str, left)) for gone in chain)
    # The last goes for the first, which alone has its first word, though the second says nearly all else.
    assert kept(chain[0], chain[1], " ".join(words[:3])) == chain[:2]


def test_putting_in_order_again_changes_nothing() -> None:
    memories = ("Ann lives in Oslo.", "Ann has a dog", "Ann lives in Bergen.", "Ann has a dog.")
    left = kept(*memories)
    assert left == ["Ann lives in Bergen.", "Ann has a dog."]
    assert kept(*left) == left


def test_two_very_long_memories_are_compared_as_they_are() -> None:
    long = " ".join(f"Ann saw ship{n}" for n in range(9000))
    assert kept(long, "Ann has a dog.", long) == ["Ann has a dog.", long]
    assert kept(long, f"{long} again") == [long, f"{long} again"]


def test_the_engine_reads_what_the_rules_read() -> None:
    request = asked(["Ann has a dog.", "Ann has a dog"], [])
    view = read_consolidation(request.chat.messages[-1].content)
    assert view is not None
    text = wire.get("hermes").render(consolidate.calls(view))
    assert ExtractiveEngine("hermes").complete(request).text == text
