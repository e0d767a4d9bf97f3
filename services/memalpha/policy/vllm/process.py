"""One run of vLLM: its processes, from start to end, behind the few calls that the core needs.

Only this module and `worker` know vLLM. A process that is gone raises `ProcessDied` from every call, at once.
Text stays outside: ids go in and come out, as reading and writing text is the same for all engines.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from memalpha.config import PolicySettings
from memalpha.errors import InternalError, InvalidInputError, UnsupportedError, make
from memalpha.policy.local import libraries
from memalpha.policy.local.libraries import Library
from memalpha.policy.vllm import adapter
from memalpha.policy.vllm.request import Request
from memalpha.policy.vllm.stderr import Heard

T = TypeVar("T")

vllm: Any = Library("vllm")
_arguments: Any = Library("vllm.engine.arg_utils")
_async_llm: Any = Library("vllm.v1.engine.async_llm")
_exceptions: Any = Library("vllm.exceptions")
_dead: Any = Library("vllm.v1.engine.exceptions")
_params: Any = Library("vllm.sampling_params")
_platforms: Any = Library("vllm.platforms")
_lora: Any = Library("vllm.lora.request")
_transfer: Any = Library("vllm.distributed.weight_transfer.base")

# vLLM's processes end themselves once the process of this number is gone.
OWNER = "MEMALPHA_VLLM_OWNER"
_ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    # Several engines on one machine would otherwise all sit on its first cores.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    # vLLM's attention in single precision would round products to TF32 on a GPU: logprobs were 5e-4 off.
    "TRITON_F32_DEFAULT": "ieee",
}
_WORKER = "memalpha.policy.vllm.worker.Worker"
# Of weight transfers; see `worker`.
BACKEND = "memalpha_folder"
# Gibibytes of keys and values on a CPU, where vLLM would take a large share of the machine.
CPU_CACHE_GIB = 1.0
# Tokens of one pass on a CPU, unless a single prompt may have more.
_CPU_PASS_TOKENS = 4096
_LOOK_SECONDS = 0.1
# Until a death must be known; see `Process._death`.
_LOOKS = 30


class ProcessDied(Exception):
    """vLLM's processes are gone."""


@dataclass(frozen=True, slots=True)
class Step:
    """Some new tokens, each with the logprob it was sampled with."""

    tokens: Sequence[int]
    logprobs: Sequence[float]
    cached: int = 0


def prepare(settings: PolicySettings) -> None:
    """Makes this process ready to load vLLM: quiet, offline, with few threads.

    Raises:
        InvalidInputError: ENGINE_NOT_INSTALLED.
    """
    libraries.check_installed("vllm")
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ[OWNER] = str(os.getpid())
    if "threads" in settings.model_fields_set:
        # vLLM's processes take it from here, and what is set for them wins over what was set for all.
        os.environ["OMP_NUM_THREADS"] = str(settings.threads)
    libraries.prepare(settings.threads)


class Process:
    """A started engine. Belongs to one event loop."""

    def __init__(self, llm: Any, lora: Path | None = None) -> None:
        """Over vLLM's asynchronous engine; all its requests are for an adapter, if there is one."""
        self._llm = llm
        self._stopping = threading.Lock()
        self._lora = _lora.LoRARequest(lora.name, 1, str(lora.resolve())) if lora else None

    @classmethod
    def start(cls, folder: Path, settings: PolicySettings, context: int, *, weights: bool = True) -> Self:
        """Starts the processes and loads the model, which takes its time.

        Args:
            folder: of the model.
            settings: how it is run.
            context: Most tokens of a sequence.
            weights: Whether the folder's are loaded; else they are whatever they are, until some are taken.

        Raises:
            UnsupportedError: MODEL_NOT_LOADED.
        """
        told = engine_arguments(folder, settings, context, on_cpu=device(settings) == "cpu")
        told |= {} if weights else {"load_format": "dummy"}
        heard = Heard()
        try:
            with heard.listening():
                given = _arguments.AsyncEngineArgs(**told)
                return cls(_async_llm.AsyncLLM.from_engine_args(given), settings.adapter)
        except Exception as error:
            # What went wrong in vLLM's own processes is told there and nowhere else.
            said = " ".join(f"{error}: {heard.cause()}".split())[:500]
            message = f"model {folder} cannot be served by vllm: {said}"
            raise make(UnsupportedError, "MODEL_NOT_LOADED", message, path=folder) from error

    async def ready(self) -> None:
        """Loads the adapter, if there is one: vLLM itself would with the first request.

        Raises:
            UnsupportedError: ADAPTER_NOT_LOADED.
        """
        if self._lora is None:
            return
        try:
            await self._answered(self._alive.add_lora(self._lora))
        except Exception as error:
            said = str(error) or "vllm's processes died of it"
            raise adapter.not_served(Path(self._lora.lora_path), said) from error

    @property
    def dead(self) -> bool:
        """Whether it is gone."""
        return self._llm is None or self._llm.errored

    async def complete(self, request: Request, name: str) -> AsyncGenerator[Step]:
        """Goes on with a completion where it stands; closing the iterator frees its row.

        Raises:
            ProcessDied: The processes are gone.
            InvalidInputError: INVALID_SCHEMA.
        """
        prompt = {"prompt_token_ids": request.prompt + request.new}
        with _translated(schema=request.schema):
            outputs = self._alive.generate(prompt, _sampling(request), name, lora_request=self._lora)
            async with aclosing(outputs) as found:
                async for output in found:
                    yield _step(output)

    async def score(self, sequence: list[int], name: str) -> list[float]:
        """Logprobs of each token but the first, at temperature 1.

        Raises:
            ProcessDied: The processes are gone.
        """
        return await self._answered(self._score(sequence, name)) if len(sequence) > 1 else []

    async def _score(self, sequence: list[int], name: str) -> list[float]:
        # The last token is scored as one that is sampled, so that a sequence may fill the whole context.
        *known, last = sequence
        params = vllm.SamplingParams(
            max_tokens=1,
            temperature=1.0,
            prompt_logprobs=0,
            logprob_token_ids=[last],
            detokenize=False,
            ignore_eos=True,
            output_kind=_params.RequestOutputKind.FINAL_ONLY,
        )
        with _translated():
            prompt = {"prompt_token_ids": known}
            outputs = self._alive.generate(prompt, params, name, lora_request=self._lora)
            async with aclosing(outputs) as found:
                output = [each async for each in found][-1]
        before = [
            table[token].logprob for token, table in zip(known[1:], output.prompt_logprobs[1:], strict=True)
        ]
        return [*before, output.outputs[0].logprobs[0][last].logprob]

    async def take(self, folder: Path, version: int) -> None:
        """Exchanges the weights while nothing is in work, and forgets all keys and values of the old ones.

        Raises:
            ProcessDied: The processes are gone.
        """
        await self._answered(self._take(folder, version))

    async def _take(self, folder: Path, version: int) -> None:
        with _translated():
            llm = self._alive
            await llm.pause_generation(mode="abort", clear_cache=True)
            await llm.start_weight_update()
            update = _transfer.WeightTransferUpdateRequest(update_info={"path": str(folder)})
            await llm.update_weights(update)
            await llm.finish_weight_update(str(version))
            await llm.resume_generation()

    async def _answered(self, call: Coroutine[Any, Any, T]) -> T:
        """What comes of calls that are no completions: vLLM may leave these open when its processes die.

        When a worker dies, they may also fail, of whatever it was, before its death is known.
        """
        task = asyncio.create_task(call)
        try:
            while not task.done() and not self.dead:
                await asyncio.wait({task}, timeout=_LOOK_SECONDS)
            if task.done() and task.exception() is not None:
                await self._death()
            if self.dead:
                raise ProcessDied
            return task.result()
        finally:
            task.cancel()

    async def _death(self) -> None:
        """Returns when the processes are known to be gone, or live on for so long that they are well."""
        for _ in range(_LOOKS):
            if self.dead:
                return
            await asyncio.sleep(_LOOK_SECONDS)

    @property
    def _alive(self) -> Any:
        if self.dead:
            raise ProcessDied
        return self._llm

    def stop(self) -> None:
        """Ends the processes; whoever comes again waits until they have ended, for the room."""
        with self._stopping:
            llm, self._llm = self._llm, None
            if llm is None:
                return
            if llm.output_handler is not None:
                # It would take the end for an accident.
                llm.output_handler.get_loop().call_soon_threadsafe(llm.output_handler.cancel)
            llm.shutdown(timeout=0)


def _sampling(request: Request) -> Any:
    own = request.sampling
    schema = _params.StructuredOutputsParams(json=request.schema) if request.schema else None
    return vllm.SamplingParams(
        temperature=0.0 if own.greedy else own.temperature,
        top_p=own.top_p,
        top_k=own.top_k,
        min_p=own.min_p,
        seed=request.seed,
        max_tokens=request.left,
        # Which ids end a completion is the checkpoint's to say, and is told by the caller.
        ignore_eos=True,
        stop_token_ids=request.ends,
        logprobs=0,
        detokenize=False,
        structured_outputs=schema,
        output_kind=_params.RequestOutputKind.DELTA,
    )


def _step(output: Any) -> Step:
    new = output.outputs[0]
    tables = new.logprobs or ()
    scores = [table[token].logprob for token, table in zip(new.token_ids, tables, strict=True)]
    return Step(list(new.token_ids), scores, output.num_cached_tokens or 0)


@contextmanager
def _translated(*, schema: str = "") -> Iterator[None]:
    """Errors that the core knows, in the place of vLLM's.

    All of a request but its schema was checked before: only a schema can be the caller's fault.
    """
    try:
        yield
    except _dead.EngineDeadError as error:
        raise ProcessDied from error
    except _exceptions.VLLMClientError as error:
        said = " ".join(str(error).split())[:300]
        # vLLM names the parameter that it refuses, but for a schema.
        if schema and getattr(error, "parameter", None) is None:
            raise make(InvalidInputError, "INVALID_SCHEMA", f"sampling.json_schema: {said}") from error
        raise make(InternalError, "GENERATION_FAILED", f"vllm refuses the request: {said}") from error


def engine_arguments(folder: Path, settings: PolicySettings, context: int, *, on_cpu: bool) -> dict[str, Any]:
    """How vLLM is told to run."""
    cache = settings.cache_gib or (CPU_CACHE_GIB if on_cpu else None)
    return {
        "model": str(folder),
        "dtype": settings.dtype,
        "max_model_len": context,
        "max_num_seqs": settings.rows,
        "seed": 0,
        # Neither code nor pickles out of a checkpoint, and no sampling that nobody asked for.
        "trust_remote_code": False,
        "load_format": "safetensors",
        "generation_config": "vllm",
        # Those of the distribution that was sampled from, as the contract has it.
        "logprobs_mode": "processed_logprobs",
        "enable_prefix_caching": True,
        "structured_outputs_config": {"backend": "guidance", "disable_any_whitespace": True},
        "weight_transfer_config": {"backend": BACKEND},
        "worker_extension_cls": _WORKER,
        "data_parallel_size": settings.data_parallel,
        "tensor_parallel_size": settings.tensor_parallel,
        "kv_cache_memory_bytes": int(cache * 2**30) if cache else None,
        "gpu_memory_utilization": settings.gpu_memory,
        # On a CPU, graphs take a quarter of a minute to make and save nothing; and vLLM 0.32 dies of a prompt
        # that is read in parts if its completion has a seed, so that each is read whole.
        "enforce_eager": on_cpu,
        "enable_chunked_prefill": not on_cpu,
        "max_num_batched_tokens": max(context, _CPU_PASS_TOKENS) if on_cpu else None,
        "disable_log_stats": True,
        "enable_log_requests": False,
        **(adapter.arguments(settings.adapter) if settings.adapter else {}),
    }


def device(settings: PolicySettings) -> str:
    """Where vLLM runs: that is decided by which build of it is installed.

    Raises:
        InvalidInputError: DEVICE_DIFFERS.
    """
    platform = _platforms.current_platform
    found = "cpu" if platform.is_cpu() else "cuda" if platform.is_cuda_alike() else "no device that it finds"
    if found not in ("cpu", "cuda") or settings.device not in ("auto", found):
        message = f"policy.device is {settings.device}, but the vllm that is installed here runs on {found}"
        raise make(InvalidInputError, "DEVICE_DIFFERS", message, device=settings.device)
    return found
