"""Tiny models of the Qwen3 architecture: untrained, small enough for any machine, real in every other way."""
