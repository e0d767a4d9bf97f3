import pytest
from hypothesis import given
from hypothesis import strategies as st

from memalpha.agent.related import pieces, relatives
from memalpha.api.memory.v1alpha1.memory_pb2 import Memory
from memalpha.client import AsyncMemoryClient
from memalpha.errors import OutOfRangeError, make

from .support import insert, memories, write

PAIRS = st.dictionaries(
    st.tuples(st.integers(1, 40), st.integers(1, 40)).filter(lambda pair: pair[0] < pair[1]),
    st.floats(0.3, 1.0),
    max_size=80,
)


def test_the_closest_meet_before_a_group_is_full() -> None:
    # 1 is close to 2 and closer to 3; with room for two, it goes with 3.
    assert pieces({(1, 2): 0.5, (1, 3): 0.9, (2, 4): 0.4}, range(1, 5), 2) == [[1, 3], [2, 4]]
    assert pieces({(1, 2): 0.9, (1, 3): 0.5, (2, 4): 0.4}, range(1, 5), 2) == [[1, 2], [3, 4]]


def test_small_groups_share_a_piece_and_strangers_are_in_none() -> None:
    assert pieces({(1, 9): 0.9, (2, 3): 0.5, (5, 6): 0.5}, range(1, 11), 4) == [[1, 9, 2, 3], [5, 6]]


def test_a_bank_that_fits_into_one_piece_is_one_piece() -> None:
    assert pieces({}, [4, 2, 7], 3) == [[2, 4, 7]]
    assert pieces({}, [4, 2, 7], 2) == []
    assert pieces({}, [4], 3) == []


def test_a_piece_begins_with_its_first_leader() -> None:
    # 1 and 2 were leaders of an earlier call.
    assert pieces({(1, 8): 0.5, (2, 7): 0.5, (7, 9): 0.4}, [7, 8, 9], 3) == [[7, 9, 2], [8, 1]]


@given(closeness=PAIRS, leaders=st.sets(st.integers(1, 40)), most=st.integers(2, 12))
def test_pieces_are_bounded_share_nothing_and_leave_no_leader_with_relatives_out(
    closeness: dict[tuple[int, int], float], leaders: set[int], most: int
) -> None:
    found = {pair: close for pair, close in closeness.items() if leaders & {*pair}}
    made = pieces(found, leaders, most)
    shown = [id for piece in made for id in piece]
    assert len(shown) == len(set(shown))
    assert all(1 <= len(piece) <= most for piece in made)
    assert leaders & {id for pair in found for id in pair} <= {*shown}
    firsts = [min(leaders.intersection(piece)) for piece in made]
    assert firsts == sorted(firsts)
    assert [piece[0] for piece in made] == firsts


OTHERS = [
    "Tom paints boats in the harbour",
    "The library closes at nine on weekdays",
    "Mia keeps bees behind the school",
    "A train to Leeds leaves every hour",
    "Zed wrote a paper on glaciers",
    "The old kettle whistles in C sharp",
    "Ravi sells lamps made of shells",
    "Nobody has seen the grey cat since Monday",
]


async def test_old_and_new_values_of_a_fact_are_relatives_and_strangers_are_not(
    memory: AsyncMemoryClient,
) -> None:
    facts = ["Ann lives in Oslo", "Ann lives in Bergen", "Ann has a dog named Biscuit"]
    copies = ["Ann's dog is named Biscuit"]
    await write(memory, *map(insert, [*facts, *OTHERS, *copies]))
    found = await relatives(memory, "b", await memories(memory))
    # Ids count from 1: the homes are 1 and 2, the dog is 3 and, as the last, 12.
    assert {(1, 2), (3, 12)} <= set(found.closeness)
    assert not {(1, 4), (5, 6), (7, 12)} & set(found.closeness)
    assert found.found[12].content == copies[0]


async def test_exact_copies_beyond_a_querys_limit_still_find_each_other(memory: AsyncMemoryClient) -> None:
    # The memory stores no text twice under one type, so the copies differ by a mark that is no word.
    await write(memory, *(insert(f"Ann has a dog{'!' * count}") for count in range(25)))
    found = await relatives(memory, "b", await memories(memory))
    made = pieces(found.closeness, range(1, 26), 20)
    assert sorted(id for piece in made for id in piece) == list(range(1, 26))


async def test_memories_that_differ_in_one_rare_word_are_relatives(memory: AsyncMemoryClient) -> None:
    await write(memory, *(insert(f"Ann has a dog number {count} in Oslo") for count in range(45)))
    found = await relatives(memory, "b", await memories(memory))
    assert {id for pair in found.closeness for id in pair} == set(range(1, 46))
    await write(memory, *(insert(text) for text in OTHERS), bank="others")
    assert not (await relatives(memory, "others", await memories(memory, "others"))).closeness


async def test_long_hits_are_fetched_in_smaller_batches(memory: AsyncMemoryClient) -> None:
    await write(memory, *(insert(f"Ann has dog number {count}") for count in range(5)))
    stored, sizes = await memories(memory), list[int]()

    class Narrow:
        def __init__(self, most: int) -> None:
            self.most = most

        def __getattr__(self, name: str) -> object:
            return getattr(memory, name)

        async def search(self, bank_id: str, queries: list) -> object:
            sizes.append(len(queries))
            if len(queries) > self.most:
                raise make(OutOfRangeError, "RESULT_TOO_LARGE", "too much")
            return await memory.search(bank_id, queries)

    narrow: object = Narrow(3)
    found = await relatives(narrow, "b", stored)  # pyright: ignore[reportArgumentType]
    assert found.closeness == (await relatives(memory, "b", stored)).closeness
    assert max(sizes[-2:]) <= 3
    with pytest.raises(OutOfRangeError):
        await relatives(Narrow(0), "b", [Memory(id=1, content="x")])  # pyright: ignore[reportArgumentType]
