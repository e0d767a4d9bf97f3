"""One run over each engine of the policy service, side by side; see `trainer/benches/engines.py`."""
