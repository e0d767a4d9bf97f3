"""The processes that serve memalpha: memory, policy and agent. None of them imports another."""
