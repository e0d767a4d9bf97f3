"""Comparisons of memory systems on long contexts."""
