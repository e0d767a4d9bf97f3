//! Words that carry no meaning for retrieval. A list per language; most languages have none yet.
//!
//! The English list is meant for questions put to memories: it holds question words, pronouns, auxiliaries and what
//! splitting at an apostrophe leaves of contractions (`don't` is `don` and `t`). It keeps words that change an
//! answer, such as `not`, `before` or `first`.

/// Words without meaning in a language, lower-cased and in the analyzer's spelling.
pub(super) fn stop_words(language: &str) -> &'static [&'static str] {
    match language {
        "en" => ENGLISH,
        _ => &[],
    }
}

#[rustfmt::skip]
const ENGLISH: &[&str] = &[
    "a", "am", "an", "and", "are", "as", "at", "be", "been", "being", "but", "by", "d", "did", "do", "does", "for",
    "from", "had", "has", "have", "he", "her", "hers", "his", "how", "i", "if", "in", "is", "it", "its", "ll", "m",
    "me", "my", "of", "on", "or", "our", "ours", "re", "s", "she", "so", "t", "than", "that", "the", "their",
    "theirs", "them", "then", "these", "they", "this", "those", "to", "us", "ve", "was", "we", "were", "what",
    "when", "where", "which", "who", "whom", "whose", "why", "with", "you", "your", "yours",
];

#[cfg(test)]
mod tests {
    use super::ENGLISH;

    #[test]
    fn the_english_list_is_sorted_and_has_no_word_twice() {
        assert!(ENGLISH.is_sorted_by(|left, right| left < right));
    }
}
