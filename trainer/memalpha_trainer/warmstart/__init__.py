"""The warm start: a tiny model learns by imitation what training then improves on.

Its weights begin with a circuit that copies (`wiring`). It learns the format from practice texts (`practice`)
and what to write from a teacher that is mostly wrong where it matters (`trajectories`). Before anything
trains on, `gates` says whether the result is fit for it. `rejection` is the arm that goes on imitating, its
own best rollouts.
"""
