"""What `parity.py` measures with: the conformance suite, the parity table, and where both are shown."""
