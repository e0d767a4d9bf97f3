//! From text to rows: BERT's uncased words, each cut into the longest known pieces from its start.
//!
//! The same cuts as the tokenizers library makes with the teacher's vocabulary, except that text is only text: a
//! literal "[PAD]" is three words. A word with any unknown piece has no rows, as in model2vec. Works on one word at a
//! time in buffers on the stack.

use unicode_normalization::char::decompose_canonical;

use crate::classes::{CHINESE, DROPPED, MARKS, PUNCTUATION};
use crate::table::{Place, Table};

/// Characters of the longest word that is looked up; a longer one is unknown.
const LONGEST_WORD: usize = 100;

/// Calls `each` with the row of each known token, in the text's order.
pub(crate) fn tokens(text: &str, table: &Table, mut each: impl FnMut(u16)) {
    words(text, |word| pieces(word, table, &mut each));
}

/// Calls `each` with every row of the word, or never if some piece of it is unknown.
fn pieces(word: &[u8], table: &Table, each: &mut impl FnMut(u16)) {
    let mut rows = [0; LONGEST_WORD];
    let mut found = 0;
    let (mut rest, mut place) = (word, Place::Start);
    while !rest.is_empty() {
        let Some((row, length)) = table.longest(rest, place) else { return };
        rows[found] = row;
        found += 1;
        (rest, place) = (&rest[length..], Place::Continuation);
    }
    rows[..found].iter().for_each(|&row| each(row));
}

/// Calls `each` with the text's words, normalised, without those that are too long.
fn words(text: &str, each: impl FnMut(&[u8])) {
    let mut word = Word { bytes: [0; 4 * LONGEST_WORD], length: 0, characters: 0, each };
    for c in text.chars() {
        if c.is_ascii() { word.ascii(c as u8) } else { word.other(c) }
    }
    word.end();
}

/// The word being read.
struct Word<E> {
    bytes: [u8; 4 * LONGEST_WORD],
    length: usize,
    characters: usize,
    each: E,
}

impl<E: FnMut(&[u8])> Word<E> {
    fn ascii(&mut self, byte: u8) {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => self.end(),
            0..0x20 | 0x7f => {}
            b'a'..=b'z' => self.push_ascii(byte),
            b'A'..=b'Z' => self.push_ascii(byte.to_ascii_lowercase()),
            b'0'..=b'9' => self.push_ascii(byte),
            _ => self.alone(byte as char),
        }
    }

    fn other(&mut self, c: char) {
        if within(&DROPPED, c) {
            return;
        }
        if c.is_whitespace() {
            return self.end();
        }
        let chinese = within(&CHINESE, c);
        if chinese {
            self.end();
        }
        decompose_canonical(c, |part| self.part(part));
        if chinese {
            self.end();
        }
    }

    /// A character after decomposition.
    fn part(&mut self, c: char) {
        if within(&MARKS, c) {
            return;
        }
        for c in c.to_lowercase() {
            if c.is_ascii_punctuation() || within(&PUNCTUATION, c) { self.alone(c) } else { self.push(c) }
        }
    }

    fn alone(&mut self, c: char) {
        self.end();
        self.push(c);
        self.end();
    }

    fn push_ascii(&mut self, byte: u8) {
        self.characters += 1;
        if self.characters <= LONGEST_WORD {
            self.bytes[self.length] = byte;
            self.length += 1;
        }
    }

    fn push(&mut self, c: char) {
        self.characters += 1;
        if self.characters <= LONGEST_WORD {
            self.length += c.encode_utf8(&mut self.bytes[self.length..]).len();
        }
    }

    fn end(&mut self) {
        if (1..=LONGEST_WORD).contains(&self.characters) {
            (self.each)(&self.bytes[..self.length]);
        }
        (self.length, self.characters) = (0, 0);
    }
}

fn within(ranges: &[(u32, u32)], c: char) -> bool {
    let at = ranges.partition_point(|&(_, last)| last < c as u32);
    ranges.get(at).is_some_and(|&(first, _)| first <= c as u32)
}
