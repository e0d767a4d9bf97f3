"""Training jobs over gRPC: `TrainerService` over processes of the trainer, and its client.

A job is a run's folder with a folder `job` in it, and a process that outlives the service. All that the
service knows stands in files (`jobs`, `events`), and whether a process lives is the kernel's word
(`processes`), so that a service that was killed finds its jobs again as they are: waiting, working or ended.
"""

from memalpha_trainer.service.client import TrainerClient
from memalpha_trainer.service.server import serve

__all__ = ["TrainerClient", "serve"]
