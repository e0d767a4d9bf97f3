"""The first look's rule of what a hit holds, on the hand-made conversation."""

from pathlib import Path

from memalpha.api.agent.v1alpha1.agent_service_pb2 import RecallHit, RecallRequest, RecallResponse
from memalpha.api.memory.v1alpha1.memory_pb2 import Chunk, Memory, MemoryType, Provenance
from memalpha_evals.datasets import locomo
from memalpha_evals.retrieval.first_look import firsts, look, markdown

TINY = Path(__file__).parent / "data" / "tiny_locomo.json"
CHUNK_1 = "Ann: My cat Miso likes tuna.\nBo: We adopted a greyhound.\nAnn: Tuna again for the cat today."
CHUNK_2 = "Bo: I moved to Lisbon.\nAnn: Lisbon sounds lovely, I visited it twice."


class ScriptedAgent:
    """Answers every question with the same memories, each with its chunk's position."""

    def __init__(self, *memories: tuple[str, int]) -> None:
        self._memories = memories

    def recall(self, request: RecallRequest) -> RecallResponse:
        hits = [
            RecallHit(
                memory=Memory(
                    content=content,
                    type=MemoryType.MEMORY_TYPE_SEMANTIC,
                    provenance=Provenance(chunk_position=position, chunk_id="c"),
                ),
                score=1.0,
            )
            for content, position in self._memories
        ]
        chunks = [Chunk(position=0, text=CHUNK_1), Chunk(position=1, text=CHUNK_2)]
        return RecallResponse(hits=hits, sources=chunks)


def conversation() -> locomo.Conversation:
    return locomo.read(TINY).conversations[0]


def test_the_first_question_of_each_category_is_asked_in_file_order() -> None:
    numbers = [number for number, _ in firsts(conversation())]
    assert numbers == sorted(numbers)
    categories = [question.category for _, question in firsts(conversation())]
    assert categories[:2] == ["single-hop", "multi-hop"]
    assert len(set(categories)) == len(categories)


def test_a_hit_holds_a_turn_if_it_comes_from_its_chunk_and_has_half_of_its_words() -> None:
    # D2:1 says "I moved to Lisbon." in chunk 1: four words, of which "moved to Lisbon" has three.
    agent = ScriptedAgent(("Ann visited twice", 1), ("Bo moved to Lisbon", 1))
    [first, *_] = look(conversation(), agent, "b")  # type: ignore[arg-type]
    assert [place.holds for place in first.places] == [(), ("D2:1",)]
    assert first.first == 2


def test_the_same_words_from_another_chunk_hold_nothing() -> None:
    [first, *_] = look(conversation(), ScriptedAgent(("Bo moved to Lisbon", 0)), "b")  # type: ignore[arg-type]
    assert first.first is None


def test_the_report_shows_texts_only_if_asked_for() -> None:
    looks = look(conversation(), ScriptedAgent(("Bo moved to Lisbon", 1)), "b")  # type: ignore[arg-type]
    silent = markdown(conversation(), looks, words=False)
    assert "**hit at 1**" in silent
    assert "**miss**" in silent
    assert "Lisbon" not in silent
    assert "Bo moved to Lisbon" in markdown(conversation(), looks, words=True)
