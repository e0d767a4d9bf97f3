//! From text to terms: Unicode words, lower-cased, folded, without stop words, stemmed.
//!
//! Scripts that are written without spaces (Chinese, Japanese, Thai and others) and Korean have no words to find
//! without a dictionary: their runs become overlapping pairs of characters, a lone character stays one term.

use std::borrow::Cow;
use std::cell::RefCell;

use hashbrown::HashSet;
use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::char::is_combining_mark;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfkc_quick};
use unicode_segmentation::UnicodeSegmentation;

use super::fold::fold;
use super::memo::Memo;
use super::stopwords::stop_words;
use super::terms::{Sink, Terms};

/// Characters of a word that count; the rest is cut, so that no pasted blob becomes a huge term.
const LONGEST_WORD: usize = 64;

/// Languages with a stemmer, as ISO 639-1 codes. `none` is the analyzer without stemmer and stop words.
pub const LANGUAGES: [(&str, Option<Algorithm>); 19] = [
    ("ar", Some(Algorithm::Arabic)),
    ("da", Some(Algorithm::Danish)),
    ("de", Some(Algorithm::German)),
    ("el", Some(Algorithm::Greek)),
    ("en", Some(Algorithm::English)),
    ("es", Some(Algorithm::Spanish)),
    ("fi", Some(Algorithm::Finnish)),
    ("fr", Some(Algorithm::French)),
    ("hu", Some(Algorithm::Hungarian)),
    ("it", Some(Algorithm::Italian)),
    ("nl", Some(Algorithm::Dutch)),
    ("no", Some(Algorithm::Norwegian)),
    ("none", None),
    ("pt", Some(Algorithm::Portuguese)),
    ("ro", Some(Algorithm::Romanian)),
    ("ru", Some(Algorithm::Russian)),
    ("sv", Some(Algorithm::Swedish)),
    ("ta", Some(Algorithm::Tamil)),
    ("tr", Some(Algorithm::Turkish)),
];

thread_local! {
    /// What a lower-cased word comes to, in the language of that place: the one that the thread met last.
    static STEMS: RefCell<(usize, Memo<Box<str>>)> = RefCell::default();
}

/// Turns text of one language into terms. Cheap to share, and pure: same text, same terms.
pub struct Analyzer {
    /// Place in [`LANGUAGES`].
    language: usize,
    stemmer: Option<Stemmer>,
    stop_words: HashSet<&'static str>,
    /// English spells itself in ASCII and its stemmer knows no marks; other stemmers need theirs.
    fold_before_stem: bool,
}

impl Analyzer {
    /// `None` unless `language` is one of [`LANGUAGES`].
    pub fn new(language: &str) -> Option<Self> {
        let place = LANGUAGES.iter().position(|(code, _)| *code == language)?;
        Some(Self {
            language: place,
            stemmer: LANGUAGES[place].1.map(Stemmer::create),
            stop_words: stop_words(language).iter().copied().collect(),
            fold_before_stem: language == "en",
        })
    }

    /// Terms of a document, with counts.
    pub fn analyze(&self, text: &str) -> Terms {
        let mut sink = Sink::default();
        let text = compatible(text);
        if text.is_ascii() {
            self.stretch(&text, 0, &mut sink);
            return sink.terms();
        }
        // No word spans a space, and only stretches that are all ASCII are segmented fast.
        let mut start = 0;
        for stretch in text.split(' ') {
            self.stretch(stretch, start, &mut sink);
            start += stretch.len() + 1;
        }
        sink.terms()
    }

    /// Words as Unicode bounds them, as they stand.
    pub fn words(text: &str) -> impl Iterator<Item = &str> {
        text.unicode_words()
    }

    /// Distinct terms of a query, in order of first appearance.
    pub fn query_terms(&self, text: &str) -> Vec<Box<str>> {
        let counts = self.analyze(text).counts;
        counts.into_iter().map(|(term, _)| term).collect()
    }

    /// The words of a stretch that begins at byte `start` of the text.
    fn stretch(&self, stretch: &str, start: usize, sink: &mut Sink) {
        for (at, word) in stretch.unicode_word_indices() {
            if word.is_ascii() {
                self.word(word, sink);
            } else {
                self.mixed_word(word, start + at, sink);
            }
        }
    }

    /// Stretches of one word with and without spaces in their script (`東京tower`).
    fn mixed_word(&self, word: &str, offset: usize, sink: &mut Sink) {
        let mut rest = word;
        while let Some(first) = rest.chars().next() {
            let spaced = !is_unspaced(first);
            let length = rest.find(|other| is_unspaced(other) == spaced).unwrap_or(rest.len());
            let (stretch, tail) = rest.split_at(length);
            if spaced {
                self.word(stretch, sink);
            } else {
                sink.pairs(stretch, offset + word.len() - rest.len());
            }
            rest = tail;
        }
    }

    fn word(&self, word: &str, sink: &mut Sink) {
        if is_decimal(word) {
            sink.push(&word.replace(',', ""));
            return;
        }
        for part in word.split(is_separator).filter(|part| !part.is_empty()) {
            self.part(part, sink);
        }
    }

    fn part(&self, part: &str, sink: &mut Sink) {
        let mut word = shortened(lower(part));
        if self.fold_before_stem {
            word = fold(word);
        }
        if self.stop_words.contains(&*word) {
            return;
        }
        match &self.stemmer {
            Some(stemmer) => STEMS.with_borrow_mut(|(language, stems)| {
                if *language != self.language {
                    (*language, *stems) = (self.language, Memo::default());
                }
                stems.with(&word, |word| fold(stemmer.stem(word)).into(), |stem| sink.push(stem));
            }),
            None => sink.push(&fold(word)),
        }
    }
}

/// Full-width, ligature and decomposed forms as the characters they stand for.
fn compatible(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || is_nfkc_quick(text.chars()) == IsNormalized::Yes {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.nfkc().collect())
}

fn lower(word: &str) -> Cow<'_, str> {
    if word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        return Cow::Borrowed(word);
    }
    Cow::Owned(word.to_lowercase())
}

fn shortened(word: Cow<'_, str>) -> Cow<'_, str> {
    match word.char_indices().nth(LONGEST_WORD) {
        Some((end, _)) => Cow::Owned(word[..end].to_owned()),
        None => word,
    }
}

/// `3.5` and `1,000`, but not `8.5.2023`, which is found by its parts.
fn is_decimal(word: &str) -> bool {
    let inside = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'.' | b',');
    word.as_bytes().first().is_some_and(u8::is_ascii_digit)
        && word.as_bytes().iter().all(inside)
        && word.bytes().filter(|&byte| byte == b'.').count() <= 1
}

/// Word boundaries of Unicode keep `Caroline's`, `snake_case` and `site.org` together; their parts are terms.
fn is_separator(letter: char) -> bool {
    !letter.is_alphanumeric() && !is_combining_mark(letter)
}

/// Scripts without spaces between words, and Korean, whose words carry their particles with them.
fn is_unspaced(letter: char) -> bool {
    matches!(letter,
        '\u{0e00}'..='\u{0eff}'       // Thai, Lao
        | '\u{1000}'..='\u{109f}'     // Myanmar
        | '\u{1100}'..='\u{11ff}'     // Hangul jamo
        | '\u{1780}'..='\u{17ff}'     // Khmer
        | '\u{3005}'..='\u{3007}'     // iteration mark, zero
        | '\u{3041}'..='\u{30ff}'     // Hiragana, Katakana
        | '\u{31f0}'..='\u{31ff}'     // Katakana extensions
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' // Han
        | '\u{ac00}'..='\u{d7ff}'     // Hangul
        | '\u{20000}'..='\u{3ffff}') // Han extensions
}
