"""`memalpha up`: starts the services, says when they are ready, and ends them all together."""

from memalpha.up.launch import run

__all__ = ["run"]
