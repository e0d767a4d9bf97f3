"""Makes a checkpoint of a tiny model: Qwen3 architecture, random weights, a byte-level BPE of its own.

The same shape, seed and library versions give the same bytes. The folder is complete: tokenizer, chat
template, weights, and `memalpha.json`, which makes it one that the policy service takes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memalpha.errors import InvalidInputError, make
from memalpha.policy.checkpoint import Manifest, Training, seal
from memalpha.policy.local.libraries import prepare, tokenizers, torch, transformers
from memalpha.policy.tiny.corpus import texts

_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
# One token each, but text: the model writes them, and what it writes is read.
_TAGS = ("<tool_call>", "</tool_call>", "<tools>", "</tools>", "<think>", "</think>")
_HEAD_SIZE = 32
# How Qwen's tokenizers cut text before pairs are merged, with digits one by one.
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True, slots=True)
class Shape:
    """What a tiny model is like. The defaults have 0.9 million parameters.

    Attributes:
        layers: Decoder layers.
        hidden: Size of a token's state; a multiple of 64.
        vocabulary: Tokens, from 320 on: 256 bytes, tags, and what the tokenizer learns.
        context: Most tokens of a sequence.
        tied: Whether the output head is the embedding.
        seed: Of the weights and of the tokenizer's corpus.
    """

    layers: int = 4
    hidden: int = 128
    vocabulary: int = 1024
    context: int = 8192
    tied: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the shape."""
        rules = {
            "layers must be from 1 to 64": 1 <= self.layers <= 64,
            "hidden must be a multiple of 64, to 4096": self.hidden in range(64, 4097, 64),
            "vocabulary must be from 320 to 65536": 320 <= self.vocabulary <= 65536,
            "context must be from 64 to 131072": 64 <= self.context <= 131072,
        }
        for rule, kept in rules.items():
            if not kept:
                name = rule.partition(" ")[0]
                message = f"{rule}; it is {getattr(self, name)}"
                raise make(InvalidInputError, "INVALID_SHAPE", message, field=name)


def tiny(out: Path, shape: Shape, training: Training, corpus: Iterable[str] | None = None) -> Manifest:
    """Writes a checkpoint.

    Args:
        out: A folder that does not exist yet, or is empty.
        shape: Of the model.
        training: What it is going to be trained with.
        corpus: What the tokenizer learns from; None is the module's own.

    Raises:
        InvalidInputError: FOLDER_NOT_EMPTY, or ENGINE_NOT_INSTALLED.
    """
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise make(InvalidInputError, "FOLDER_NOT_EMPTY", f"folder {out} must be empty", path=out)
    prepare(threads=1)
    tokenizer = _tokenizer(shape, texts(shape.seed) if corpus is None else corpus)
    tokenizer.save_pretrained(out)
    _network(shape, tokenizer).save_pretrained(out)
    return seal(out, training)


def _tokenizer(shape: Shape, corpus: Iterable[str]) -> Any:
    decoders, splitters = tokenizers.decoders, tokenizers.pre_tokenizers
    learner = tokenizers.Tokenizer(tokenizers.models.BPE())
    words = splitters.Split(tokenizers.Regex(_WORDS), "isolated")
    to_bytes = splitters.ByteLevel(add_prefix_space=False, use_regex=False)
    learner.pre_tokenizer = splitters.Sequence([words, to_bytes])
    learner.decoder = decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=shape.vocabulary - len(_TAGS),
        special_tokens=list(_SPECIAL),
        initial_alphabet=splitters.ByteLevel.alphabet(),
        show_progress=False,
    )
    learner.train_from_iterator(corpus, trainer)
    learnt = transformers.PreTrainedTokenizerFast(
        tokenizer_object=learner,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
        model_max_length=shape.context,
        clean_up_tokenization_spaces=False,
    )
    learnt.add_tokens(list(_TAGS))
    learnt.chat_template = (Path(__file__).parent / "chat_template.jinja").read_text("utf-8").strip()
    return learnt


def _network(shape: Shape, tokenizer: Any) -> Any:
    heads = shape.hidden // _HEAD_SIZE
    config = transformers.Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden,
        intermediate_size=3 * shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        head_dim=_HEAD_SIZE,
        max_position_embeddings=shape.context,
        tie_word_embeddings=shape.tied,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(shape.seed)
        network = transformers.Qwen3ForCausalLM(config)
    ends = [tokenizer.eos_token_id, tokenizer.pad_token_id]
    network.generation_config = transformers.GenerationConfig(eos_token_id=ends, pad_token_id=ends[1])
    return network
