"""Contents: what the ledger's truth calls sound, and what a judge is asked."""

import threading

import pytest

from memalpha.agent.protocols import Completion
from memalpha.api.policy.v1alpha1.policy_service_pb2 import (
    FinishReason,
    GenerateRequest,
    PolicyIdentity,
    Usage,
)
from memalpha.errors import InvalidInputError, UnavailableError, make
from memalpha.tasks.ledger.writers import AllValues, CoreTable, Rates, Teacher
from memalpha.tasks.writers import Empty, Verbatim
from memalpha_trainer.config import RewardTable
from memalpha_trainer.credit import assign_rewards
from memalpha_trainer.credit.content import JudgedContent, LedgerContent, writes
from memalpha_trainer.credit.groups import mean
from memalpha_trainer.records import Operation

from .credit_support import REFUSED, rollout, sample
from .support import written


def prompt(chunk: str) -> str:
    return (
        '<core_memory limit="32">\n</core_memory>\n'
        '<semantic_memory shown="0" total="0">\n</semantic_memory>\n'
        f'<episodic_memory shown="0" total="0">\n</episodic_memory>\n<chunk>\n{chunk}\n</chunk>\n'
    )


def share(stream: list[str], *contents: str, time: str = "", **settings: bool) -> float:
    """Of writes about the last of these chunks."""
    writes = [Operation("insert", "semantic", 1, content, time) for content in contents]
    read = [sample(place, prompt=prompt(chunk)) for place, chunk in enumerate(stream)]
    read[-1] = sample(len(stream) - 1, *writes, prompt=prompt(stream[-1]))
    return LedgerContent(**settings).shares([rollout(samples=read)])[0][-1]


OSLO, ROME = "Tavo's home is Oslo.", "Tavo's home is now Rome."
RUMOUR = "Some say that Tavo's home is Rome."


@pytest.mark.parametrize(
    ("stream", "content", "sound"),
    [
        ([OSLO], "Tavo's home is Oslo", True),
        ([OSLO], "Tavo's home is Rome", False),
        ([OSLO, ROME], "Tavo's home is Rome", True),
        ([OSLO, ROME], "Tavo's home is Rome, earlier Oslo", True),
        ([OSLO, ROME], "Tavo's home is Rome, earlier Cairo", False),
        ([OSLO, ROME], "Tavo's home was Oslo", True),
        ([OSLO, ROME], "Tavo's home is Oslo", False),
        ([OSLO, RUMOUR], "Tavo's home is Oslo", True),
        ([RUMOUR], "Tavo's home is Rome", False),
        ([RUMOUR], RUMOUR, False),
        ([OSLO], "Tavo's home is Oslo, Rome, Cairo", False),
        ([OSLO], "Tavo's home is Oslo. Kelu's pet is cat.", False),
        ([OSLO], "Tavo was mentioned", False),
        ([OSLO, "Tavo's home is not Oslo after all."], "Tavo's home is not Oslo after all", True),
        ([OSLO], "Tavo's home is not Oslo after all", False),
        (["Tavo's badge is valid."], "Tavo's badge is valid", True),
        (["Tavo's badge is valid.", "Tavo's badge is revoked."], "Tavo's badge is valid", False),
        (["Tavo's exam is on 2024-05-01."], "Tavo's exam is on 2024-05-01", True),
        (["Tavo's exam is on 2024-05-01."], "Tavo's exam is on 2024-05-02", False),
    ],
)
def test_a_memory_is_sound_if_all_it_says_is_true_by_then(
    stream: list[str], content: str, sound: bool
) -> None:
    assert share(stream, content) == float(sound)


def test_an_event_without_a_day_in_its_text_has_that_of_its_memory() -> None:
    told = ["Tavo's exam is on 2024-05-01."]
    assert share(told, "Tavo's exam", time="2024-05-01") == 1
    assert share(told, "Tavo's exam", time="2024-05-02") == 0
    assert share(told, "Tavo's exam") == 0


def test_what_later_chunks_say_is_not_held_against_a_memory() -> None:
    told = Operation("insert", "semantic", 1, "Tavo's home is Oslo")
    read = [sample(0, told, prompt=prompt(OSLO)), sample(1, prompt=prompt(ROME))]
    assert LedgerContent().shares([rollout(samples=read)]) == [(1.0, 1.0)]


def test_a_chunk_has_the_share_of_its_writes_and_silence_is_sound() -> None:
    assert share([OSLO], "Tavo's home is Oslo", "Tavo's home is Rome") == 0.5
    assert share([OSLO]) == 1
    assert share([OSLO], quirks=True) == 0
    other = [sample(0, REFUSED, prompt=prompt(OSLO)), sample(1, prompt=prompt(ROME), failure="too long")]
    assert LedgerContent().shares([rollout(samples=other)]) == [(1.0, 0.0)]


def test_a_prompt_of_another_task_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="laid out"):
        LedgerContent().shares([rollout(samples=[sample(0, prompt="hello")])])


def test_the_ledgers_writers_are_told_apart_by_content() -> None:
    rumours = Rates(rumour=1.0)
    writers = [Teacher(), Empty(), Teacher(rumours), Verbatim(), AllValues(), CoreTable()]
    collected = [written(writer) for writer in writers]
    rewards = assign_rewards(collected, RewardTable(content=0.1), check=LedgerContent())
    oracle, empty, *others = (mean(each.content) for each in rewards)
    assert oracle == empty == 1
    assert max(others) < 0.8
    # All values of an attribute are no value of it.
    wrote = [bool(writes(sample)) for sample in collected[4].samples]
    assert rewards[4].content == tuple(float(not each) for each in wrote)
    assert any(wrote)
    assert rewards[0].total - assign_rewards(collected[:1], RewardTable())[0].total == pytest.approx(0.1)


class Judge:
    """Calls sound what holds a word; remembers what it was asked."""

    def __init__(self, word: str, *, away: bool = False) -> None:
        self.word, self.away = word, away
        self.asked: list[GenerateRequest] = []
        self._lock = threading.Lock()

    def generate(self, request: GenerateRequest) -> Completion:
        with self._lock:
            self.asked.append(request)
        if self.away:
            raise make(UnavailableError, "UNAVAILABLE", "nobody answers")
        entry = request.chat.messages[-1].content.rpartition("<entry")[2]
        said = "<think>hm</think> Sound." if self.word in entry else "Unsound: made up"
        return Completion(said, FinishReason.FINISH_REASON_STOP, PolicyIdentity(), Usage())


def test_a_judge_is_asked_once_about_each_write_and_sees_the_chunk() -> None:
    told = [Operation("insert", "semantic", 1, text) for text in ("Oslo", "Rome")]
    read = [sample(0, *told, REFUSED, prompt=prompt(OSLO)), sample(1, prompt=prompt(ROME))]
    judge = Judge("Oslo")
    found = JudgedContent(judge).shares([rollout(samples=read), rollout(samples=read[:1], index=1)])
    assert found == [(0.5, 1.0), (0.5,)]
    assert len(judge.asked) == 2
    for request in judge.asked:
        assert OSLO in request.chat.messages[-1].content
        assert request.sampling.temperature == 0
    assert JudgedContent(Judge("Rome"), quirks=True).shares([rollout(samples=read)]) == [(0.5, 0.0)]


def test_a_judge_that_is_away_stops_the_step() -> None:
    told = Operation("insert", "semantic", 1, "Oslo")
    with pytest.raises(UnavailableError):
        JudgedContent(Judge("", away=True)).shares([rollout(samples=[sample(0, told, prompt=prompt(OSLO))])])
