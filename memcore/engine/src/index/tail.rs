//! Documents not yet sealed, in RAM: postings that grow by appending, and each document's own terms, from which it
//! is killed, moved and sealed.

use std::sync::Arc;

use hashbrown::HashMap;

use super::KINDS;
use super::list::{Ceiling, Columns, LONG, List, densified, is_dense};
use super::part::{Facts, Forward};
use crate::text::Terms;

#[derive(Default, Clone)]
pub(super) struct Tail {
    pub(super) facts: Facts,
    shelves: [Shelf; KINDS],
    /// (term, frequency) of all documents end to end; terms are numbered per kind.
    terms: Vec<(u32, u32)>,
    /// End of each document in `terms`.
    ends: Vec<usize>,
}

/// Lists of one kind.
#[derive(Default, Clone)]
struct Shelf {
    numbers: HashMap<Arc<str>, u32>,
    names: Vec<Arc<str>>,
    lists: Vec<Growing>,
}

#[derive(Default, Clone)]
struct Growing {
    documents: Vec<u32>,
    frequencies: Vec<u32>,
    long: Option<Box<Long>>,
}

/// What only long lists have.
#[derive(Clone)]
struct Long {
    ceiling: Ceiling,
    /// Shorter than the part if the term is not in its last documents.
    dense: Option<Vec<u8>>,
}

impl Tail {
    /// Adds a document behind the others; returns its number.
    pub(super) fn insert(&mut self, key: u64, kind: u8, birth: u64, terms: &Terms) -> u32 {
        let counts = terms.counts.iter().map(|(term, frequency)| (&**term, *frequency));
        self.add(key, kind, birth, terms.length, counts)
    }

    pub(super) fn add<'a>(
        &mut self,
        key: u64,
        kind: u8,
        birth: u64,
        length: u32,
        counts: impl Iterator<Item = (&'a str, u32)>,
    ) -> u32 {
        let document = self.facts.add(key, kind, birth, length);
        let shelf = &mut self.shelves[usize::from(kind)];
        for (term, frequency) in counts {
            let number = shelf.number(term);
            shelf.lists[number as usize].push(document, frequency, &self.facts.lengths);
            self.terms.push((number, frequency));
        }
        self.ends.push(self.terms.len());
        document
    }

    pub(super) fn list(&self, kind: u8, term: &str) -> Option<List<'_>> {
        let shelf = &self.shelves[usize::from(kind)];
        let number = *shelf.numbers.get(term)?;
        Some(shelf.lists[number as usize].view())
    }

    /// Distinct terms of one kind, with their lists.
    pub(super) fn each(&self, kind: u8, mut visit: impl FnMut(&str, List)) {
        let shelf = &self.shelves[usize::from(kind)];
        for (term, list) in shelf.names.iter().zip(&shelf.lists) {
            visit(term, list.view());
        }
    }

    /// The terms of one document.
    pub(super) fn terms(&self, document: u32) -> impl Iterator<Item = &str> {
        let document = document as usize;
        let names = &self.shelves[usize::from(self.facts.kinds[document])].names;
        let start = document.checked_sub(1).map_or(0, |previous| self.ends[previous]);
        self.terms[start..self.ends[document]].iter().map(|(number, _)| &*names[*number as usize])
    }

    /// Every document's terms.
    pub(super) fn forward(&self) -> Forward {
        let mut names: Vec<Arc<str>> = Vec::new();
        let mut first = [0; KINDS];
        for (shelf, first) in self.shelves.iter().zip(&mut first) {
            *first = names.len() as u32;
            names.extend(shelf.names.iter().cloned());
        }
        let mut forward = Forward { names, terms: self.terms.clone(), ends: self.ends.clone() };
        for document in 0..self.facts.len() {
            let first = first[usize::from(self.facts.kinds[document])];
            let range = forward.range(document);
            forward.terms[range].iter_mut().for_each(|(number, _)| *number += first);
        }
        forward
    }

    pub(super) fn postings(&self) -> usize {
        self.terms.len()
    }
}

impl Shelf {
    fn number(&mut self, term: &str) -> u32 {
        if let Some(number) = self.numbers.get(term) {
            return *number;
        }
        let number = self.lists.len() as u32;
        let term: Arc<str> = term.into();
        self.numbers.insert(Arc::clone(&term), number);
        self.names.push(term);
        self.lists.push(Growing::default());
        number
    }
}

impl Growing {
    /// `lengths` are those of all documents so far, the new one included.
    fn push(&mut self, document: u32, frequency: u32, lengths: &[u32]) {
        self.documents.push(document);
        self.frequencies.push(frequency);
        let postings = self.documents.len();
        if let Some(long) = &mut self.long {
            long.push(document, frequency, lengths[document as usize]);
        } else if postings == LONG {
            let ceiling = Ceiling::of(self.columns().iter(), lengths);
            self.long = Some(Box::new(Long { ceiling, dense: None }));
        }
        if postings.is_power_of_two() && is_dense(postings, lengths.len()) {
            let dense = densified(&self.columns(), lengths.len());
            self.long.iter_mut().for_each(|long| long.dense = dense.clone());
        }
    }

    fn columns(&self) -> Columns<'_> {
        Columns { documents: (&self.documents).into(), frequencies: (&self.frequencies).into() }
    }

    fn view(&self) -> List<'_> {
        let long = self.long.as_deref();
        let dense = long.and_then(|long| long.dense.as_deref());
        List::plain(&self.documents, &self.frequencies, long.map(|long| &long.ceiling), dense)
    }
}

impl Long {
    fn push(&mut self, document: u32, frequency: u32, length: u32) {
        self.ceiling.raise(frequency, length);
        let Some(dense) = &mut self.dense else { return };
        match u8::try_from(frequency) {
            Ok(frequency) => {
                dense.resize(document as usize, 0);
                dense.push(frequency);
            }
            Err(_) => self.dense = None,
        }
    }
}
