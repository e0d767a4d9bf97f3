"""A policy service that runs already: whether it can write for a run, or is the one that is to be evaluated.

It may have been started for something else. That is found out before anything is spent on it; all that is
wrong is said at once, and how a right one is started.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from memalpha.api.policy.v1alpha1.policy_service_pb2 import (
    GetPolicyResponse,
    LoadWeightsRequest,
    ScoreRequest,
    SequenceScore,
    WeightProbe,
)
from memalpha.client import PolicyClient
from memalpha.config import PREFIX, Settings
from memalpha.errors import ConflictError, InvalidInputError, MemalphaError, UnsupportedError, make
from memalpha.policy.checkpoint import Manifest, manifest, verified
from memalpha_trainer import probes
from memalpha_trainer.config import Config
from memalpha_trainer.served import decided

Kept = Callable[[int], Path | None]
"""The folder of weights by their number; None if it is gone."""


def check_running(config: Config, model: Path, weights: Path, steps: int, *, begun: bool = False) -> None:
    """Whether a running service can write for a run: the checkpoint that it started from, or weights of it.

    What the weights are is asked later, by a probe.

    Args:
        config: The run's, which names the service.
        model: The checkpoint.
        weights: Folder below which the run's weights stand, now or later.
        steps: Optimizer steps that the run has behind it.
        begun: Whether the run has a folder, so that it is resumed and not started again.

    Raises:
        ConflictError: ANOTHER_POLICY; it says what is served, what should be, and how to start that.
    """
    with PolicyClient.connect(config.policy.address) as client:
        said = client.describe()
    sealed = _sealed(model)
    first, version = sealed.policy_version, said.policy.policy_version
    wanted = f"version {first}" if not steps else f"versions {first} to {first + steps}"
    faults = {
        f"it serves version {version} of its weights, and the run needs {wanted}": (
            not first <= version <= first + steps
        ),
        **_differences(sealed, said),
        "it takes no weights, for want of policy.weights_root": not said.loads_weights,
    }
    _refuse_for_run(config, model, weights, [fault for fault, is_so in faults.items() if is_so], begun=begun)


def check_reads(config: Config, model: Path, weights: Path, kept: Kept) -> None:
    """Whether a running service reads weights where a run writes them.

    Asked with the weights that it serves already, and with no probe, since it takes a probe for the folder.
    Where theirs is gone it is asked with the folder above, which it says is no checkpoint if it can read it.

    Args:
        config: The run's, which names the service.
        model: The checkpoint.
        weights: Folder below which the run's weights stand.
        kept: Where weights of a number stand there, if they do.

    Raises:
        ConflictError: ANOTHER_POLICY; it names both folders.
    """
    with PolicyClient.connect(config.policy.address) as client:
        version = client.describe().policy.policy_version
        asked = (kept(version) or weights).resolve()
        try:
            client.load_weights(LoadWeightsRequest(policy_version=version, path=str(asked)))
        except (ConflictError, InvalidInputError, UnsupportedError) as error:
            if error.reason == "TOKENIZER_DIFFERS" and asked == weights.resolve():
                return
            differ = f"it serves other weights as version {version}"
            faults = {"PATH_OUTSIDE_ROOT": _elsewhere(weights.resolve(), error), "WEIGHTS_DIFFER": differ}
            if error.reason not in faults:
                raise
            _refuse_for_run(config, model, weights, [faults[error.reason]], begun=True)


def check_serves(config: Config, model: Path, address: str) -> bool:
    """Whether a running service serves a checkpoint, and not another policy.

    The weights are read only where the checkpoint keeps no probe, and they alone may be what differs.

    Args:
        config: The checkpoint's; `optim.dtype` decides what the service's logprobs may be off.
        model: The checkpoint.
        address: host:port of the service.

    Returns:
        Whether the weights were compared: they cannot be if the service gives no logprobs.

    Raises:
        ConflictError: ANOTHER_POLICY; it says what is served, and how the checkpoint is.
        CorruptionError: CHECKPOINT_DAMAGED.
    """
    sealed = _sealed(model)
    probe = probes.kept(model, sealed, config.optim.dtype)
    with PolicyClient.connect(address) as client:
        said = client.describe()
        version = said.policy.policy_version
        faults = {
            f"it has version {version}, not {sealed.policy_version}": version != sealed.policy_version,
            **_differences(sealed, said),
        }
        found = [fault for fault, is_so in faults.items() if is_so]
        if not found and said.scores:
            found = _other_weights(client, config, probe or _probe_of(config, model))
    if found:
        message = (
            f"the policy service at {address} does not serve {model}: {'; '.join(found)}. Leave --address"
            " out, or start one by\n"
            f"memalpha up --policy {config.policy.engine} --model {shlex.quote(str(model))}"
        )
        raise make(ConflictError, "ANOTHER_POLICY", message, address=address, served=version)
    return said.scores


def _sealed(model: Path) -> Manifest:
    found = manifest(model)
    assert found is not None  # looked at before
    return found


def _differences(sealed: Manifest, said: GetPolicyResponse) -> Mapping[str, bool]:
    return {
        "its model has another tokenizer": said.tokenizer_digest != sealed.tokenizer_digest,
        "its model was trained otherwise": said.trained_with != sealed.trained_with.message(),
    }


def _probe_of(config: Config, model: Path) -> WeightProbe:
    """What the weights say that are there, if they are those that were sealed."""
    from memalpha_trainer.weights import probe_of

    verified(model)
    return probe_of(model, config.optim.dtype)


def _other_weights(client: PolicyClient, config: Config, probe: WeightProbe) -> list[str]:
    off = _off(client.score(ScoreRequest(sequences=probe.sequences)).scores, probe)
    if off <= probe.tolerance:
        return []
    allowed = f"{probe.tolerance:g} is allowed with optim.dtype {config.optim.dtype}"
    return [f"its logprobs are off by {off:.3g}, and {allowed}"]


def _elsewhere(weights: Path, error: MemalphaError) -> str:
    """Where a service reads, as its error says."""
    root = error.metadata.get("root", "another folder")
    if root == str(weights):
        return f"it does not see the files of {weights}, though its policy.weights_root is called so"
    return f"it reads no weights at {weights}: its policy.weights_root is {root}"


def _off(found: Sequence[SequenceScore], probe: WeightProbe) -> float:
    """The largest difference; infinite where something is no number."""
    pairs = [
        abs(one - other)
        for theirs, ours in zip(found, probe.scores, strict=True)
        for one, other in zip(theirs.logprobs, ours.logprobs, strict=True)
    ]
    return math.inf if any(map(math.isnan, pairs)) else max(pairs)


def _refuse_for_run(config: Config, model: Path, weights: Path, found: Sequence[str], *, begun: bool) -> None:
    if not found:
        return
    address = config.policy.address
    again = ", and go on with --resume" if begun else ""
    message = (
        f"the policy service at {address} cannot write for this run: {'; '.join(found)}."
        f" Start it as follows{again}:\n{_command(decided(config, model, weights, address))}"
    )
    raise make(ConflictError, "ANOTHER_POLICY", message, address=address)


def _command(decided: Mapping[str, Any]) -> str:
    """How a shell starts a service with settings, whatever that shell or this process has set.

    All that was decided is said, what is usual too; nothing else is, such as a key that this process knows.
    """
    variables = Settings.model_validate(decided).environment()
    names = [name for name in decided if name not in ("policy", "log_format")]
    names += [f"policy__{name}" for name in decided["policy"]]
    words = (
        f"{each}={shlex.quote(variables[each])}" for each in (f"{PREFIX}{name.upper()}" for name in names)
    )
    return " ".join([*words, "memalpha serve policy"])
