"""Settings of the agent loop. No torch, no environment: whoever builds an agent passes them in."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from memalpha.api.memory.v1alpha1.memory_service_pb2 import GetWriterViewRequest, RecentView, RelevantView

ViewSize = Annotated[int, Field(ge=0, le=1000)]


class AgentSettings(BaseModel):
    """How an agent cuts text, what it shows to the policy, and how it works."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Most o200k tokens of one chunk.
    chunk_tokens: int = Field(default=1024, ge=16, le=32_768)
    # Which memories the policy sees: those that match the chunk best, or the newest (the paper's way).
    view: Literal["relevant", "recent"] = "relevant"
    # How many semantic and episodic memories it sees at most.
    semantic: ViewSize = 10
    episodic: ViewSize = 10
    # Banks in work at once.
    concurrency: int = Field(default=8, ge=1, le=256)
    # Tries of one chunk in a row while others change its bank; then it waits for the next poll.
    attempts: int = Field(default=5, ge=1, le=100)
    # Most tokens that the policy may write for one chunk; also what is kept free in its context.
    max_new_tokens: int = Field(default=2048, ge=1, le=65_536)
    # Seconds between two looks for pending banks that nobody announced.
    poll_seconds: float = Field(default=1.0, gt=0, le=3600)
    # First and longest pause, in seconds, after an outage or a conflict; doubled each time, with jitter.
    backoff_seconds: float = Field(default=0.2, gt=0, le=60)
    longest_backoff_seconds: float = Field(default=10.0, gt=0, le=3600)

    # Whether new banks have vectors where no embedder is given: those of the memory's built-in one.
    vectors: bool = True
    # Longest that a question or a chunk waits for its vector, in seconds; then its words are compared alone.
    embedding_seconds: float = Field(default=2.0, gt=0, le=60)

    def view_request(self, bank_id: str, halvings: int, vector: bytes = b"") -> GetWriterViewRequest:
        """Asks for the writer's view, its sizes halved `halvings` times; `vector` is the next chunk's."""
        semantic, episodic = self.semantic >> halvings, self.episodic >> halvings
        if self.view == "recent":
            recent = RecentView(semantic=semantic, episodic=episodic)
            return GetWriterViewRequest(bank_id=bank_id, recent=recent)
        relevant = RelevantView(semantic=semantic, episodic=episodic)
        return GetWriterViewRequest(bank_id=bank_id, relevant=relevant, embedding_f32_le=vector)

    def most_halvings(self) -> int:
        """How often the view can be halved until it shows nothing."""
        return max(self.semantic, self.episodic).bit_length()
