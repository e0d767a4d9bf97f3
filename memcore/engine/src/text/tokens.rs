//! Counting, splitting and cutting by o200k tokens.
//!
//! A text is read as *units*: words of the tokenizer's own splitting, or single tokens of a word that is too long
//! to keep whole. Cuts fall between units, so a word is broken only where it must be. A piece on its own can need
//! other tokens than it did inside its text, so every piece is counted again before it leaves here.

use std::cell::RefCell;

use bpe_openai::{Tokenizer, o200k_base};

use super::memo::Memo;

/// Words of more tokens than this may be broken: long runs of ideographs, digits, base64.
const UNBROKEN_TOKENS: usize = 16;

/// Limits below this leave no room for the marker in words.
const WORDED_MARKER_LIMIT: usize = 16;

/// Number of o200k tokens. Text that looks like a special token counts as ordinary text.
pub fn count_tokens(text: &str) -> usize {
    thread_local! {
        static COUNTS: RefCell<Memo<usize>> = RefCell::default();
    }
    let tokenizer = o200k_base();
    let count = |word: &str| tokenizer.bpe.count(word.as_bytes());
    COUNTS.with_borrow_mut(|counts| {
        tokenizer.split(text).map(|word| counts.with(word, count, |count| *count)).sum()
    })
}

/// Pieces of at most `max` tokens each, which join to `text`. `max` 0 means 1.
///
/// One character that alone needs more than `max` tokens (at most four are possible) is a piece of its own.
pub fn split_tokens(text: &str, max: usize) -> Vec<&str> {
    let max = max.max(1);
    let units = units(text, max);
    let mut pieces = Vec::new();
    let (mut start, mut first) = (0, 0);
    while first < units.len() {
        let mut last = fill(&units, first, max);
        while last > first + 1 && count_tokens(&text[start..units[last - 1].end]) > max {
            last -= 1;
        }
        let piece = &text[start..units[last - 1].end];
        if last == first + 1 && count_tokens(piece) > max {
            pieces.extend(characters(piece));
        } else {
            pieces.push(piece);
        }
        (start, first) = (units[last - 1].end, last);
    }
    pieces
}

fn characters(text: &str) -> impl Iterator<Item = &str> {
    text.char_indices().map(|(at, character)| &text[at..at + character.len_utf8()])
}

/// `None` if `text` has at most `limit` tokens; else its beginning with a visible marker, together within `limit`.
pub fn cut_core(text: &str, limit: usize) -> Option<String> {
    if count_tokens(text) <= limit {
        return None;
    }
    let marker =
        if limit < WORDED_MARKER_LIMIT { "…".to_owned() } else { format!(" [cut at {limit} tokens]") };
    let units = units(text, limit);
    let mut kept = fill(&units, 0, limit.saturating_sub(count_tokens(&marker)));
    loop {
        let end = if kept == 0 { 0 } else { units[kept - 1].end };
        let cut = format!("{}{marker}", text[..end].trim_end());
        if kept == 0 || count_tokens(&cut) <= limit {
            return Some(cut);
        }
        kept -= 1;
    }
}

/// The end of a stretch of text that is not broken, and its tokens inside the text.
struct Unit {
    end: usize,
    tokens: usize,
}

/// Past-the-end index of the units from `first` on that fit into `room`; at least one unit if `room` is not 0.
fn fill(units: &[Unit], first: usize, room: usize) -> usize {
    let mut used = 0;
    let fitting = units[first..].iter().take_while(|unit| {
        used += unit.tokens;
        used <= room
    });
    first + fitting.count().max(usize::from(room > 0))
}

fn units(text: &str, max: usize) -> Vec<Unit> {
    let tokenizer = o200k_base();
    let mut units = Vec::new();
    let mut start = 0;
    for word in tokenizer.split(text) {
        let tokens = tokenizer.bpe.count(word.as_bytes());
        if tokens <= UNBROKEN_TOKENS.min(max) {
            units.push(Unit { end: start + word.len(), tokens });
        } else {
            break_word(tokenizer, word, start, &mut units);
        }
        start += word.len();
    }
    units
}

/// Units of whole tokens that end between characters.
fn break_word(tokenizer: &Tokenizer, word: &str, offset: usize, units: &mut Vec<Unit>) {
    let (mut end, mut tokens) = (0, 0);
    for token in tokenizer.bpe.encode_via_backtracking(word.as_bytes()) {
        end += tokenizer.bpe.token_len(token);
        tokens += 1;
        if word.is_char_boundary(end) {
            units.push(Unit { end: offset + end, tokens });
            tokens = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use bpe_openai::o200k_base;

    use super::{count_tokens, cut_core, split_tokens};
    use proptest::prelude::*;

    #[test]
    fn special_token_text_is_ordinary_text() {
        // As ordinary text: "<", "|", "endo", "ft", "ext", "|", ">".
        assert_eq!(count_tokens("<|endoftext|>"), 7);
        assert_eq!(count_tokens(""), 0);
        assert_eq!(count_tokens("hello world"), 2);
    }

    #[test]
    fn words_are_not_broken_if_they_fit() {
        assert_eq!(split_tokens("one two three four five", 2), ["one two", " three four", " five"]);
    }

    #[test]
    fn an_empty_text_has_no_pieces() {
        assert_eq!(split_tokens("", 8), [""; 0]);
    }

    #[test]
    fn a_character_that_no_limit_fits_is_a_piece_of_its_own() {
        assert!(count_tokens("𓀀") > 1);
        assert_eq!(split_tokens("𓀀𓀀", 1), ["𓀀", "𓀀"]);
    }

    #[test]
    fn a_stretch_that_needs_more_tokens_alone_is_broken_further() {
        // In this text the first two letters are four tokens; alone they are two words of five.
        assert_eq!(count_tokens("ᰠჇ"), 5);
        assert_eq!(split_tokens("ᰠჇa", 4), ["ᰠ", "Ⴧ", "a"]);
    }

    #[test]
    fn a_core_within_its_limit_is_not_cut() {
        assert_eq!(cut_core("one two three", 3), None);
    }

    #[test]
    fn a_core_over_its_limit_ends_in_a_marker() {
        // The marker " [cut at 16 tokens]" has seven tokens, which leaves nine words.
        assert_eq!(count_tokens(" [cut at 16 tokens]"), 7);
        let text = ["word"; 20].join(" ");
        let kept = ["word"; 9].join(" ");
        assert_eq!(cut_core(&text, 16), Some(format!("{kept} [cut at 16 tokens]")));
        assert_eq!(cut_core(&text, 3), Some("word word…".to_owned()));
        assert_eq!(cut_core(&text, 1), Some("…".to_owned()));
    }

    #[test]
    fn a_megabyte_without_a_space_is_split_within_the_limit() {
        let text = "漢字かな".repeat(1 << 16);
        let pieces = split_tokens(&text, 512);
        assert_eq!(pieces.concat(), text);
        assert!(pieces.iter().all(|piece| count_tokens(piece) <= 512));
        assert!(pieces.len() <= count_tokens(&text) / 500);
    }

    proptest! {
        #[test]
        fn a_count_is_the_tokenizers_own(text in "(\\PC|[\\sA-Ca-c'é中]){0,200}") {
            prop_assert_eq!(count_tokens(&text), o200k_base().count(&text[..]));
        }

        #[test]
        fn pieces_join_to_the_text_and_keep_the_limit(text in "(\\PC|[\\sA-Ca-c'é中]){0,200}", max in 1usize..40) {
            let pieces = split_tokens(&text, max);
            prop_assert_eq!(pieces.concat(), &text[..]);
            for piece in pieces {
                prop_assert!(count_tokens(piece) <= max || piece.chars().nth(1).is_none());
            }
        }

        #[test]
        fn a_cut_core_keeps_the_limit(text in "(\\PC|[\\sA-Ca-c'é中]){0,200}", limit in 1usize..40) {
            match cut_core(&text, limit) {
                Some(cut) => prop_assert!(count_tokens(&cut) <= limit),
                None => prop_assert!(count_tokens(&text) <= limit),
            }
        }
    }
}
