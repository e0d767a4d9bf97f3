"""What a run on many GPUs needs, found out before any GPU is held.

`plan` counts, without torch, what one step costs: rows, tokens, calls, GPU-hours. `dry_run` builds the model
without data, holds the checkpoint's headers against it, and takes one sharded training step with fake tensors
and a fake process group, so that one CPU measures the peak memory of each rank in seconds.
"""
