"""GRPO on rows of chunks, over TRL's trainer; see `trainer`. Its modules load torch, it does not."""
