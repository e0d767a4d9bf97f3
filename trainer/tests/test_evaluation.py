from dataclasses import replace

from memalpha.tasks import Instance
from memalpha.tasks.ledger import ledger
from memalpha.tasks.memorized import Memorized
from memalpha.tasks.writers import Empty
from memalpha_trainer.evaluation import result, scripted
from memalpha_trainer.rollouts.live import Plan
from memalpha_trainer.rollouts.policy import Sampling
from memalpha_trainer.rollouts.readers import answered
from memalpha_trainer.rollouts.trace import Trace

from .support import SETTING

PLAN = Plan(seed=1, group_size=1, concurrency=1, sampling=Sampling(max_tokens=8, temperature=0.0))
STREAMS = [ledger(number) for number in range(2)]


class Mute:
    """Answers nothing, whatever the memory: what an untrained model is worth."""

    async def answers(self, instance: Instance, done: Memorized, trace: Trace) -> tuple:
        return tuple(answered(each, "", (), ()) for each in instance.questions)


async def test_an_empty_memory_is_at_the_floor_where_the_reader_tells_it_from_the_ceiling() -> None:
    empty = await scripted(lambda share: Empty(), SETTING, STREAMS, PLAN)
    found = await result("empty", empty, SETTING, STREAMS, PLAN)
    assert found.normalised
    assert found.mean == 0.0


async def test_where_it_does_not_the_mean_of_the_scores_is_given() -> None:
    setting = replace(SETTING, reader=Mute())
    empty = await scripted(lambda share: Empty(), setting, STREAMS, PLAN)
    found = await result("empty", empty, setting, STREAMS, PLAN)
    assert not found.normalised
    assert found.mean == sum(empty.scores) / len(empty.scores)
