# /// script
# requires-python = "==3.11.*"
# dependencies = ["tokenizers==0.22.2"]
# ///
"""Writes `src/classes.rs`: what BERT's tokenizer, as the tokenizers library has it, does to each character.

Its character tables are of an older Unicode than Rust's; a word cut elsewhere would be another vector.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

_CLEAN = BertNormalizer(clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False)
_CHINESE = BertNormalizer(clean_text=False, handle_chinese_chars=True, strip_accents=False, lowercase=False)
_STRIP = BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False)
_SPLIT = BertPreTokenizer()

_CLASSES: dict[str, tuple[str, Callable[[str], bool]]] = {
    "DROPPED": (
        "Control and format characters, as if never written.",
        lambda c: _CLEAN.normalize_str(c) == "",
    ),
    "CHINESE": ("Each a word of its own.", lambda c: _CHINESE.normalize_str(c) == f" {c} "),
    "MARKS": ("Dropped after decomposition: accents.", lambda c: _STRIP.normalize_str(c) == ""),
    "PUNCTUATION": (
        "Each a word of its own, after decomposition.",
        lambda c: [word for word, _ in _SPLIT.pre_tokenize_str(f"a{c}b")] == ["a", c, "b"],
    ),
}


def ranges(belongs: Callable[[str], bool]) -> list[tuple[int, int]]:
    """First and last of each run of code points that belong."""
    found: list[tuple[int, int]] = []
    for code in range(0x80, 0x110000):
        if 0xD800 <= code < 0xE000 or not belongs(chr(code)):
            continue
        if found and found[-1][1] == code - 1:
            found[-1] = (found[-1][0], code)
        else:
            found.append((code, code))
    return found


def table(name: str, says: str, found: list[tuple[int, int]]) -> str:
    """One Rust constant, five ranges a line."""
    pairs = [f"(0x{first:x}, 0x{last:x})" for first, last in found]
    lines = [", ".join(pairs[at : at + 5]) for at in range(0, len(pairs), 5)]
    body = "".join(f"    {line},\n" for line in lines)
    head = f"/// {says}\n#[rustfmt::skip]\npub(crate) static {name}: [(u32, u32); {len(pairs)}] = [\n"
    return head + body + "];\n"


def main() -> None:
    """Writes the Rust file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    head = (
        "//! Ranges of code points from U+0080 on, first and last, that BERT's tokenizer treats alike.\n"
        "//!\n"
        "//! Written by `distill/classes.py` from the tokenizers library 0.22.2; not edited by hand.\n\n"
    )
    tables = [table(name, says, ranges(rule)) for name, (says, rule) in _CLASSES.items()]
    out.write_text(head + "\n".join(tables))


if __name__ == "__main__":
    main()
