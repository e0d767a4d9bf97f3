"""The warm start: a tiny model learns by imitation what training then improves on.

It learns the format and to copy from practice texts (`practice`), and what to write from a teacher that is
mostly wrong where it matters (`trajectories`). Before anything trains on, `gates` says whether the result is
fit for it. `rejection` is the arm that goes on imitating, its own best rollouts.
"""
