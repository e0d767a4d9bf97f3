"""Judges that say what they are told to, and fail when they are told to."""

from memalpha.agent.backoff import Backoff
from memalpha.agent.protocols import Completion
from memalpha.api.policy.v1alpha1.policy_service_pb2 import FinishReason, PolicyIdentity, Usage
from memalpha_evals.scheduler import Patience


class Scripted:
    """A policy that says what it is told to, by prompt and seed."""

    def __init__(self, says) -> None:
        self.says, self.asked = says, []

    async def generate(self, request) -> Completion:
        prompt = request.chat.messages[0].content
        self.asked.append((prompt, request.sampling.seed, request.sampling.temperature))
        return Completion(
            self.says(prompt, request.sampling.seed),
            FinishReason.FINISH_REASON_STOP,
            PolicyIdentity(policy_id="judge"),
            Usage(prompt_tokens=100, completion_tokens=10),
        )

    async def describe(self):
        raise NotImplementedError


class Failing(Scripted):
    """Raises what it is given first, then says what it is told to."""

    def __init__(self, says, errors) -> None:
        super().__init__(says)
        self.errors = list(errors)

    async def generate(self, request) -> Completion:
        if self.errors:
            raise self.errors.pop(0)
        return await super().generate(request)


AT_ONCE = Patience(tries=3, busy_tries=5, pause=Backoff(0.0, 0.0))
