"""Tests of memalpha.policy."""
