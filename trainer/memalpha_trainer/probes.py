"""What a checkpoint's weights say of a few ids, kept beside them.

Whoever made the weights had the network at hand and wrote it down; whoever wants to know later whether a
service serves them compares, and loads nothing. The file is sealed with the folder.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from google.protobuf import json_format

from memalpha.api.policy.v1alpha1.policy_service_pb2 import WeightProbe
from memalpha.errors import CorruptionError, make
from memalpha.policy.checkpoint import MANIFEST, Manifest

PROBE = "probe.json"
# Logprobs of random ids are far down, where bfloat16 is coarse; a wrong tensor is off by more.
_TOLERANCE = {"float32": 1e-3, "bfloat16": 0.25}


def tolerance(dtype: str) -> float:
    """What a service that computes with a dtype may be off."""
    return _TOLERANCE[dtype]


def keep(folder: Path, probe: WeightProbe) -> None:
    """Writes a probe into a folder that is not sealed yet."""
    (folder / PROBE).write_text(json_format.MessageToJson(probe, indent=None) + "\n", "utf-8")


def kept(folder: Path, sealed: Manifest, dtype: str) -> WeightProbe | None:
    """The probe in a folder, for a service that computes with `dtype`; None if it keeps none.

    Raises:
        CorruptionError: CHECKPOINT_DAMAGED.
    """
    if PROBE not in sealed.files:
        return None
    path = folder / PROBE
    data = path.read_bytes() if path.is_file() else b""
    if sha256(data).hexdigest() != sealed.files[PROBE]:
        message = f"checkpoint {folder}: {PROBE!r} is missing or not the file that {MANIFEST} names"
        raise make(CorruptionError, "CHECKPOINT_DAMAGED", message, path=folder, file=PROBE)
    probe = _parsed(data)
    if probe is None:
        message = f"checkpoint {folder}: {PROBE!r} holds no probe"
        raise make(CorruptionError, "CHECKPOINT_DAMAGED", message, path=folder, file=PROBE)
    probe.tolerance = tolerance(dtype)
    return probe


def _parsed(data: bytes) -> WeightProbe | None:
    """A probe with a logprob of each id but the first; None if it is none."""
    try:
        probe = json_format.Parse(data, WeightProbe())
    except (json_format.ParseError, UnicodeDecodeError):
        return None
    ids = [len(each.token_ids) - 1 for each in probe.sequences]
    logprobs = [len(each.logprobs) for each in probe.scores]
    return probe if ids == logprobs and all(logprobs) and logprobs else None
