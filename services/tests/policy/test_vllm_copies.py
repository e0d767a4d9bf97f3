"""Several copies of a model behind one service, on a CPU: each generates, and each takes new weights."""

import asyncio
from itertools import chain
from typing import Any

import pytest

from memalpha.api.policy.v1alpha1 import policy_service_pb2 as pb

from .engines import PLACE, serving
from .test_local_parity import PARITY, largest_gap, noisy, reference, requests
from .test_local_weights import scores

pytest.importorskip("vllm", reason="needs vllm: uv sync --group vllm")

# Each copy has processes of its own, which take their time to start; vLLM waits two minutes for the first.
pytestmark = [pytest.mark.long, pytest.mark.timeout(1500), pytest.mark.filterwarnings("ignore")]
SMALL: dict[str, Any] = {**PLACE, "cache_gib": 0.25, "gpu_memory": 0.1}


def together(service: Any, seed: int) -> Any:
    made = requests(8, seed=seed)
    return asyncio.gather(*(asyncio.create_task(service.client.generate(each)) for each in made))


async def test_every_copy_generates_and_takes_new_weights(tiny_folder, tmp_path) -> None:
    folder = tiny_folder()
    newer = noisy(folder, tmp_path / "new", size=0.02, version=2)
    settings = {"model": str(folder), "data_parallel": 2, "rows": 4, "weights_root": tmp_path, **SMALL}
    async with serving("vllm", **settings) as service:
        core: Any = service.engine
        client = core._core._process._llm.engine_core
        running, copies = asyncio.ensure_future(together(service, 1)), set[bytes]()
        while not running.done():
            copies |= set(client.reqs_in_flight.values())
            await asyncio.sleep(0.001)
        before = running.result()
        assert len(copies) == 2
        await service.client.load_weights(pb.LoadWeightsRequest(policy_version=2, path="new"))
        after = await together(service, 2)
        # Whichever copy it is that scores.
        scored = [await scores(service) for _ in range(4)]
    assert largest_gap(reference(folder), list(before)) <= PARITY
    assert largest_gap(reference(newer), list(after)) <= PARITY
    assert {each.policy.policy_version for each in after} == {2}
    for one, other in zip(scored[0] * 3, chain(*scored[1:]), strict=True):
        assert list(one.logprobs) == pytest.approx(list(other.logprobs), abs=PARITY)
    # The control: before the exchange it was others that were served.
    assert largest_gap(reference(newer), list(before)) > 10 * PARITY
