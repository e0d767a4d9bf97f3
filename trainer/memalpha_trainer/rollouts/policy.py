"""The policy as one rollout uses it: sampled with the rollout's own seeds, its tokens and logprobs kept.

The agent's loop knows nothing of training. It asks for text; this wrapper adds what training needs to each
request, and the loop hands the completions on as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from memalpha.agent.protocols import Completion, Policy
from memalpha.api.policy.v1alpha1.policy_service_pb2 import GenerateRequest, GetPolicyResponse
from memalpha_trainer.rollouts.seeds import seed


@dataclass(frozen=True, slots=True)
class Sampling:
    """How completions are drawn; 0 is greedy. Never truncated, so that logprobs are the model's."""

    temperature: float = 1.0
    max_tokens: int = 64


@dataclass(slots=True)
class RolloutPolicy:
    """A `Policy` for one rollout, over one that many share.

    Attributes:
        policy: Answers.
        description: Of it, read once: it changes only between rollouts.
        place: Decides the seeds.
        sampling: How to draw.
        version: Of the oldest weights that may answer.
        drawn: Seeds of the completions so far, by their text's place in the order of calls.
    """

    policy: Policy
    description: GetPolicyResponse
    place: tuple[object, ...]
    sampling: Sampling
    version: int = 0
    drawn: list[int] = field(default_factory=list)

    async def generate(self, request: GenerateRequest) -> Completion:
        """Draws the next completion of the rollout."""
        asked = GenerateRequest()
        asked.CopyFrom(request)
        number = seed(*self.place, len(self.drawn))
        asked.return_tokens = True
        asked.min_policy_version = self.version
        asked.sampling.temperature = self.sampling.temperature
        asked.sampling.max_tokens = min(
            request.sampling.max_tokens or self.sampling.max_tokens, self.sampling.max_tokens
        )
        asked.sampling.top_p, asked.sampling.top_k, asked.sampling.min_p = 1.0, 0, 0.0
        asked.sampling.seed = number
        completion = await self.policy.generate(asked)
        self.drawn.append(number)
        return completion

    async def describe(self) -> GetPolicyResponse:
        """What the policy said when the rollout began."""
        return self.description
