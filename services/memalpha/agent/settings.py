"""Settings of the agent loop. No torch, no environment: whoever builds an agent passes them in."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from memalpha.api.memory.v1alpha1.memory_pb2 import BankSettings
from memalpha.api.memory.v1alpha1.memory_pb2 import Embedder as BankEmbedder
from memalpha.api.memory.v1alpha1.memory_service_pb2 import GetWriterViewRequest, RecentView, RelevantView

ViewSize = Annotated[int, Field(ge=0, le=1000)]


class AgentSettings(BaseModel):
    """How an agent cuts text, what it shows to writer and reader, and how it works."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Most o200k tokens of one chunk.
    chunk_tokens: int = Field(default=1024, ge=16, le=32_768)
    # Which memories the policy sees: those that match the chunk best, or the newest (the paper's way).
    view: Literal["relevant", "recent"] = "relevant"
    # How many semantic and episodic memories it sees at most.
    semantic: ViewSize = 10
    episodic: ViewSize = 10
    # The words of all prompts: the name of a built-in pack, or a folder; see `packs`.
    prompt_pack: str = Field(default="default", min_length=1)
    # The wire format that the policy must write; empty: any that the prompt pack goes with.
    wire_format: str = ""
    # How many related memories it sees at once when it puts them in order.
    piece: int = Field(default=20, ge=2, le=100)
    # While the prompt has more o200k tokens than this, the view is halved; 0 leaves the limit to the policy.
    most_prompt_tokens: int = Field(default=0, ge=0, le=1_000_000)
    # Softmax temperature of writer and reader; None leaves it to the policy.
    temperature: float | None = Field(default=None, ge=0, le=2)

    # What a reader gets: what `recall` finds, within a budget of tokens; or the best of each type by Okapi,
    # as many as `retrieved` (the paper's way).
    retrieval: Literal["recall", "okapi"] = "recall"
    retrieved: int = Field(default=20, ge=1, le=1000)
    # While the reader's prompt has more o200k tokens than this, less is retrieved.
    most_reader_prompt_tokens: int = Field(default=30_000, ge=64, le=1_000_000)
    # Most tokens of an answer; also what is kept free in the reader's context.
    max_answer_tokens: int = Field(default=1024, ge=1, le=65_536)
    # For comparison with the paper's numbers only: what is put before a question is searched for too.
    quirks: bool = False

    # Of new banks: most o200k tokens of core memory, and the language of their words (`none`: no stemming).
    core_tokens: int = Field(default=512, ge=1, le=8192)
    language: str = "en"

    # Banks in work at once.
    concurrency: int = Field(default=8, ge=1, le=256)
    # Tries of one chunk in a row while others change its bank; then it waits for the next poll.
    attempts: int = Field(default=5, ge=1, le=100)
    # Most tokens that the policy may write for one chunk; also what is kept free in its context.
    max_new_tokens: int = Field(default=2048, ge=1, le=65_536)
    # Whether the policy is held to a schema of the calls that can be carried out; see `guided`.
    guided_calls: bool = False
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

    @property
    def view_name(self) -> str:
        """The view as `TrainedWith.view` has it."""
        return f"{self.view}({self.semantic},{self.episodic})"

    def bank_settings(self, embedder: BankEmbedder | None) -> BankSettings:
        """Settings of a new bank; without an embedder it gets the memory's built-in one."""
        return BankSettings(core_token_limit=self.core_tokens, language=self.language, embedder=embedder)

    def most_halvings(self) -> int:
        """How often the view can be halved until it shows nothing."""
        return max(self.semantic, self.episodic).bit_length()
