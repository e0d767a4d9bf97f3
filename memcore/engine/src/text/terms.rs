//! The terms of one text, and the buffer that gathers them.

use std::ops::Range;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

/// The terms of one text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// Distinct terms with their numbers of occurrences, in order of first appearance.
    pub counts: Vec<(Box<str>, u32)>,
    /// All occurrences.
    pub length: u32,
}

/// Gathers terms end to end in one string: a term is allocated once, however often it occurs.
#[derive(Default)]
pub(super) struct Sink {
    letters: String,
    spans: Vec<Range<usize>>,
    run: Option<Run>,
}

/// A run of characters without spaces, as far as it is read.
struct Run {
    last: char,
    /// Byte of the text behind `last`.
    end: usize,
    paired: bool,
}

impl Sink {
    /// Adds a term that no run continues.
    pub(super) fn push(&mut self, term: &str) {
        self.end_run();
        self.record(&[term]);
    }

    /// Adds the overlapping pairs of a stretch that begins at byte `offset` of the text.
    ///
    /// Word boundaries cut such scripts at every character or at none, so a stretch continues the run that ended
    /// where it begins.
    pub(super) fn pairs(&mut self, stretch: &str, offset: usize) {
        let mut buffers = ([0; 4], [0; 4]);
        for (at, letter) in stretch.char_indices() {
            let start = offset + at;
            let previous = self.run.as_ref().filter(|run| run.end == start).map(|run| run.last);
            match previous {
                Some(last) => {
                    self.record(&[last.encode_utf8(&mut buffers.0), letter.encode_utf8(&mut buffers.1)]);
                }
                None => self.end_run(),
            }
            let end = start + letter.len_utf8();
            self.run = Some(Run { last: letter, end, paired: previous.is_some() });
        }
    }

    pub(super) fn terms(mut self) -> Terms {
        self.end_run();
        let mut places: HashMap<&str, usize> = HashMap::with_capacity(self.spans.len());
        let mut counts: Vec<(Box<str>, u32)> = Vec::with_capacity(self.spans.len());
        for span in &self.spans {
            let term = &self.letters[span.clone()];
            match places.entry(term) {
                Entry::Occupied(place) => counts[*place.get()].1 += 1,
                Entry::Vacant(place) => {
                    place.insert(counts.len());
                    counts.push((term.into(), 1));
                }
            }
        }
        let length = u32::try_from(self.spans.len()).unwrap_or(u32::MAX);
        Terms { counts, length }
    }

    /// A run of one character is a term; a longer one has given its pairs.
    fn end_run(&mut self) {
        if let Some(run) = self.run.take().filter(|run| !run.paired) {
            self.record(&[run.last.encode_utf8(&mut [0; 4])]);
        }
    }

    fn record(&mut self, parts: &[&str]) {
        let start = self.letters.len();
        parts.iter().for_each(|part| self.letters.push_str(part));
        if self.letters.len() > start {
            self.spans.push(start..self.letters.len());
        }
    }
}
