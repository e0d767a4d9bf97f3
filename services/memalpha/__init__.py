"""memalpha: long-term memory for LLM agents that learns what to remember."""
