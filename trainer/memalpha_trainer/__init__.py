"""Trains memory policies: a policy reads streams chunk by chunk; what its memories answer is its reward.

Rollouts become records (`records`), records become rewards and advantages (`credit`), these become rows and
gradients (`grpo`), and new weights go back to the policy that writes the next rollouts (`weights`).
"""
