"""Tests of `memalpha doctor`."""
