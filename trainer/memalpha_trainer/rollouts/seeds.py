"""Where randomness comes from: every stream and every completion has a seed that its place decides.

Nothing is drawn from a shared generator, so that a rollout is the same alone or beside others, at the first
try or after an outage, in an undisturbed run or a resumed one.
"""

from hashlib import sha256


def seed(*place: object) -> int:
    """A number from 0 to 2^63 - 1 that belongs to a place, such as (run seed, step, group, rollout, call)."""
    digest = sha256(repr(place).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
