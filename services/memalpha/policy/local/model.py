"""A causal language model and its weights: loaded strictly, run over a cache, scored, exchanged.

Only decoders with full attention in every layer and a plain output head are served; for these, rows of
different length share a pass by mask and positions alone. Whatever is off in a checkpoint is an error: a
tensor too few or too many, another shape, a tied head that is not its embedding, a number that is not finite.
The library itself would fill the gap with random numbers and go on.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from memalpha.errors import MemalphaError
from memalpha.policy.architecture import CONFIG, Architecture, check_alike, not_loaded
from memalpha.policy.local import network as passes
from memalpha.policy.local.libraries import safetensors, torch, transformers

# Tokens of one scoring pass, and logits of one call of the head: what bounds their memory.
_PASS_TOKENS = 8192
_HEAD_LOGITS = 1 << 25


class Model:
    """A network ready to run. Safe to use from several threads, as nothing in it changes."""

    def __init__(self, network: Any) -> None:
        """Over a network in evaluation mode."""
        self._network = network
        self._head = network.get_output_embeddings()

    @classmethod
    def load(cls, folder: Path, device: str, dtype: str) -> Model:
        """Loads a folder's network and weights.

        Raises:
            UnsupportedError: MODEL_NOT_LOADED.
        """
        with loading(folder):
            config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
            _check_architecture(folder, config)
            network, found = transformers.AutoModelForCausalLM.from_pretrained(
                folder,
                config=config,
                dtype=getattr(torch, dtype),
                attn_implementation="sdpa",
                local_files_only=True,
                output_loading_info=True,
            )
        off = {kind: sorted(map(str, names)) for kind, names in found.items() if names}
        if off:
            raise not_loaded(folder, "; ".join(f"{kind} {names[:3]}" for kind, names in off.items()))
        # The library leaves them apart where a file has both and they differ.
        if config.tie_word_embeddings and not _tied(network):
            raise not_loaded(folder, "lm_head.weight must be the embedding, to which it is tied")
        check_finite(folder, network.state_dict().items())
        return cls(network.to(device).eval())

    def with_weights(self, folder: Path) -> Model:
        """The same network with the tensors of a folder's safetensors files; this one stays as it is.

        Raises:
            UnsupportedError: MODEL_NOT_LOADED.
        """
        tensors = _tensors(folder)
        network = copy.deepcopy(self._network)
        expected = network.state_dict()
        if _tied(network):
            _check_tie(folder, network, tensors)
        wrong = sorted(tensors.keys() ^ expected.keys()) or sorted(
            name for name, tensor in tensors.items() if tensor.shape != expected[name].shape
        )
        if wrong:
            raise not_loaded(folder, f"names or shapes differ from the served model's: {wrong[:3]}")
        check_finite(folder, tensors.items())
        network.load_state_dict(tensors)
        return Model(network)

    @property
    def device(self) -> Any:
        """Where it runs."""
        return self._network.device

    @property
    def context(self) -> int:
        """Most tokens that it was built for."""
        return self._network.config.max_position_embeddings

    @property
    def vocabulary(self) -> int:
        """Token ids are below this."""
        return self._network.config.vocab_size

    def ends(self) -> frozenset[int]:
        """Ids that end a completion."""
        ids = self._network.generation_config.eos_token_id
        ids = self._network.config.eos_token_id if ids is None else ids
        return frozenset([ids] if isinstance(ids, int) else ids or ())

    def states(self, ids: Any, positions: Any, attention: passes.Attention) -> Any:
        """Last hidden states (rows, tokens, size) of ids (rows, tokens) at positions (rows, tokens)."""
        return passes.states(self._network, ids, positions, attention)

    def logits(self, states: Any) -> Any:
        """Logits (…, vocabulary) of hidden states (…, size)."""
        return self._head(states)

    def score(self, sequences: Sequence[Sequence[int]], temperature: float = 1.0) -> list[list[float]]:
        """Logprobs of each token but the first of each sequence."""
        scores: list[list[float]] = [[] for _ in sequences]
        with torch.inference_mode():
            for places in _passes(sequences):
                rows = [sequences[place] for place in places]
                for place, found in zip(places, self._scored(rows, temperature), strict=True):
                    scores[place] = found
        return scores

    def _scored(self, rows: Sequence[Sequence[int]], temperature: float) -> Iterator[list[float]]:
        ids = padded(rows, self.device)
        positions = torch.arange(ids.shape[1], device=self.device).expand_as(ids)
        states = self.states(ids, positions, passes.causal)
        step = max(1, _HEAD_LOGITS // self.vocabulary)
        for row, state in zip(rows, states, strict=True):
            found: list[float] = []
            for start in range(0, len(row) - 1, step):
                part = state[start : min(start + step, len(row) - 1)]
                logits = self.logits(part).float() / temperature
                targets = torch.tensor(row[start + 1 : start + 1 + len(part)], device=self.device)
                chosen = logits.gather(-1, targets[:, None])[:, 0]
                found += (chosen - logits.logsumexp(-1)).tolist()
            yield found


def configuration(folder: Path) -> Any:
    """A folder's configuration as the library reads it, for a network that is served.

    Raises:
        UnsupportedError: MODEL_NOT_LOADED.
    """
    Architecture.read(folder).check(folder)
    with loading(folder):
        return transformers.AutoConfig.from_pretrained(folder, local_files_only=True)


def check_configuration(folder: Path, served: dict[str, Any]) -> None:
    """Refuses a folder of weights for another network than the served one; see `check_alike`.

    Raises:
        UnsupportedError: CONFIG_DIFFERS, or MODEL_NOT_LOADED.
    """
    # A folder of weights alone says nothing.
    if (folder / CONFIG).is_file():
        check_alike(folder, configuration(folder).to_dict(), served)


def padded(rows: Sequence[Sequence[int]], device: Any) -> Any:
    """Ids (rows, longest), filled up with zeros on the right."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=device)


def _passes(sequences: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Places of sequences that go together: of like length, and not too many tokens with their padding."""
    chosen: list[int] = []
    for place in sorted(range(len(sequences)), key=lambda place: -len(sequences[place])):
        if chosen and len(sequences[chosen[0]]) * (len(chosen) + 1) > _PASS_TOKENS:
            yield chosen
            chosen = []
        chosen.append(place)
    yield chosen


def _check_architecture(folder: Path, config: Any) -> None:
    # The library's reading of the file, which has what the file leaves out.
    Architecture.model_validate(config.to_dict()).check(folder)


def _tensors(folder: Path) -> dict[str, Any]:
    paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        raise not_loaded(folder, "it holds no *.safetensors")
    tensors: dict[str, Any] = {}
    for path in paths:
        with loading(folder):
            found = safetensors.load_file(path)
        twice = sorted(tensors.keys() & found.keys())
        if twice:
            raise not_loaded(folder, f"more than one file holds {twice[:3]}")
        tensors |= found
    return tensors


def _tied(network: Any) -> bool:
    return network.get_output_embeddings().weight is network.get_input_embeddings().weight


def _check_tie(folder: Path, network: Any, tensors: dict[str, Any]) -> None:
    """Adds a tied head that a file leaves out, and refuses one that differs from its embedding."""
    names = {id(value): name for name, value in network.named_parameters(remove_duplicate=True)}
    embedding = names[id(network.get_input_embeddings().weight)]
    if embedding in tensors and not torch.equal(
        tensors.setdefault("lm_head.weight", tensors[embedding]), tensors[embedding]
    ):
        raise not_loaded(folder, f"lm_head.weight must be {embedding}, to which it is tied")


def check_finite(folder: Path, tensors: Iterable[tuple[str, Any]]) -> None:
    """Refuses tensors that hold a number which is not finite, or of which nobody can tell (float8).

    Raises:
        UnsupportedError: MODEL_NOT_LOADED.
    """
    for name, tensor in tensors:
        with loading(folder, f"{name} of {tensor.dtype}: "):
            if not finite(tensor):
                raise not_loaded(folder, f"{name} holds a number that is not finite")


def finite(tensor: Any) -> bool:
    """Whether all numbers are: the least and the largest show it, at a tenth of the cost of asking each."""
    return not tensor.numel() or bool(torch.isfinite(torch.stack(tensor.aminmax())).all())


@contextmanager
def loading(folder: Path, what: str = "") -> Iterator[None]:
    """Whatever the libraries raise inside becomes MODEL_NOT_LOADED, after words of what was looked at."""
    try:
        yield
    except MemalphaError:
        raise
    except Exception as error:  # safetensors' own error derives from nothing else
        raise not_loaded(folder, f"{what}{type(error).__name__}: {error}") from error
