"""The RPCs of all services, with the classes of their requests and replies."""

from typing import Final

from grpc_health.v1 import health_pb2

from memalpha.api.agent.v1alpha1 import agent_service_pb2 as agent_pb
from memalpha.api.memory.v1alpha1 import memory_service_pb2 as memory_pb
from memalpha.api.policy.v1alpha1 import policy_service_pb2 as policy_pb
from memalpha.transport import Method

MEMORY: Final = memory_pb.DESCRIPTOR.services_by_name["MemoryService"].full_name
AGENT: Final = agent_pb.DESCRIPTOR.services_by_name["AgentService"].full_name
POLICY: Final = policy_pb.DESCRIPTOR.services_by_name["PolicyService"].full_name

CREATE_BANK: Final = Method[memory_pb.CreateBankRequest, memory_pb.CreateBankResponse](
    MEMORY, "CreateBank", memory_pb.CreateBankResponse
)
GET_BANK: Final = Method[memory_pb.GetBankRequest, memory_pb.GetBankResponse](
    MEMORY, "GetBank", memory_pb.GetBankResponse
)
LIST_BANKS: Final = Method[memory_pb.ListBanksRequest, memory_pb.ListBanksResponse](
    MEMORY, "ListBanks", memory_pb.ListBanksResponse
)
DELETE_BANK: Final = Method[memory_pb.DeleteBankRequest, memory_pb.DeleteBankResponse](
    MEMORY, "DeleteBank", memory_pb.DeleteBankResponse
)
APPEND_CHUNKS: Final = Method[memory_pb.AppendChunksRequest, memory_pb.AppendChunksResponse](
    MEMORY, "AppendChunks", memory_pb.AppendChunksResponse
)
LIST_CHUNKS: Final = Method[memory_pb.ListChunksRequest, memory_pb.ListChunksResponse](
    MEMORY, "ListChunks", memory_pb.ListChunksResponse
)
LIST_PENDING_BANKS: Final = Method[memory_pb.ListPendingBanksRequest, memory_pb.ListPendingBanksResponse](
    MEMORY, "ListPendingBanks", memory_pb.ListPendingBanksResponse
)
GET_WRITER_VIEW: Final = Method[memory_pb.GetWriterViewRequest, memory_pb.GetWriterViewResponse](
    MEMORY, "GetWriterView", memory_pb.GetWriterViewResponse
)
APPLY_OPERATIONS: Final = Method[memory_pb.ApplyOperationsRequest, memory_pb.ApplyOperationsResponse](
    MEMORY, "ApplyOperations", memory_pb.ApplyOperationsResponse
)
REPORT_CHUNK_FAILURE: Final = Method[
    memory_pb.ReportChunkFailureRequest, memory_pb.ReportChunkFailureResponse
](MEMORY, "ReportChunkFailure", memory_pb.ReportChunkFailureResponse)
RESOLVE_PARKED_CHUNK: Final = Method[
    memory_pb.ResolveParkedChunkRequest, memory_pb.ResolveParkedChunkResponse
](MEMORY, "ResolveParkedChunk", memory_pb.ResolveParkedChunkResponse)
LIST_MEMORIES: Final = Method[memory_pb.ListMemoriesRequest, memory_pb.ListMemoriesResponse](
    MEMORY, "ListMemories", memory_pb.ListMemoriesResponse
)
SEARCH_MEMORIES: Final = Method[memory_pb.SearchMemoriesRequest, memory_pb.SearchMemoriesResponse](
    MEMORY, "SearchMemories", memory_pb.SearchMemoriesResponse
)
PUT_VECTORS: Final = Method[memory_pb.PutVectorsRequest, memory_pb.PutVectorsResponse](
    MEMORY, "PutVectors", memory_pb.PutVectorsResponse
)
SET_EMBEDDER: Final = Method[memory_pb.SetEmbedderRequest, memory_pb.SetEmbedderResponse](
    MEMORY, "SetEmbedder", memory_pb.SetEmbedderResponse
)
LIST_BANK_EVENTS: Final = Method[memory_pb.ListBankEventsRequest, memory_pb.ListBankEventsResponse](
    MEMORY, "ListBankEvents", memory_pb.ListBankEventsResponse
)
MEMORIZE: Final = Method[agent_pb.MemorizeRequest, agent_pb.MemorizeResponse](
    AGENT, "Memorize", agent_pb.MemorizeResponse
)
RECALL: Final = Method[agent_pb.RecallRequest, agent_pb.RecallResponse](
    AGENT, "Recall", agent_pb.RecallResponse
)
ANSWER: Final = Method[agent_pb.AnswerRequest, agent_pb.AnswerResponse](
    AGENT, "Answer", agent_pb.AnswerResponse
)
CONSOLIDATE: Final = Method[agent_pb.ConsolidateRequest, agent_pb.ConsolidateResponse](
    AGENT, "Consolidate", agent_pb.ConsolidateResponse
)
GENERATE: Final = Method[policy_pb.GenerateRequest, policy_pb.GenerateResponse](
    POLICY, "Generate", policy_pb.GenerateResponse
)
GET_POLICY: Final = Method[policy_pb.GetPolicyRequest, policy_pb.GetPolicyResponse](
    POLICY, "GetPolicy", policy_pb.GetPolicyResponse
)
SCORE: Final = Method[policy_pb.ScoreRequest, policy_pb.ScoreResponse](
    POLICY, "Score", policy_pb.ScoreResponse
)
LOAD_WEIGHTS: Final = Method[policy_pb.LoadWeightsRequest, policy_pb.LoadWeightsResponse](
    POLICY, "LoadWeights", policy_pb.LoadWeightsResponse
)
CHECK_HEALTH: Final = Method[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse](
    "grpc.health.v1.Health", "Check", health_pb2.HealthCheckResponse
)
