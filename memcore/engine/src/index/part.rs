//! A run of a bank's documents with its own postings: growing, frozen or sealed, and searched alike.
//!
//! What a part holds never changes once it is frozen, and may be shared; its deaths belong to the bank.

use std::ops::Range;
use std::sync::Arc;

use super::deaths::{Deaths, NEVER};
use super::list::List;
use super::sealed::Sealed;
use super::tail::Tail;
use super::{Filter, KINDS, Slot};
use crate::text::Terms;

/// What a search asks about documents, a column each.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) keys: Vec<u64>,
    /// Ascending.
    pub(super) births: Vec<u64>,
    /// Terms per document.
    pub(super) lengths: Vec<u32>,
    pub(super) kinds: Vec<u8>,
}

impl Facts {
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn add(&mut self, key: u64, kind: u8, birth: u64, length: u32) -> u32 {
        debug_assert!(self.births.last().is_none_or(|last| *last <= birth), "births come in order");
        self.keys.push(key);
        self.births.push(birth);
        self.lengths.push(length);
        self.kinds.push(kind);
        self.keys.len() as u32 - 1
    }

    /// Documents born at `revision` or before: those below this number.
    pub(super) fn born_by(&self, revision: u64) -> usize {
        match self.births.last() {
            Some(last) if *last > revision => self.births.partition_point(|birth| *birth <= revision),
            _ => self.births.len(),
        }
    }
}

/// Every document's terms, as (number of the term in `names`, frequency).
pub(super) struct Forward {
    pub(super) names: Vec<Arc<str>>,
    pub(super) terms: Vec<(u32, u32)>,
    /// End of each document in `terms`.
    pub(super) ends: Vec<usize>,
}

impl Forward {
    pub(super) fn range(&self, document: usize) -> Range<usize> {
        let start = document.checked_sub(1).map_or(0, |previous| self.ends[previous]);
        start..self.ends[document]
    }

    pub(super) fn terms(&self, document: usize) -> impl Iterator<Item = (&str, u32)> {
        let terms = &self.terms[self.range(document)];
        terms.iter().map(|(number, frequency)| (&*self.names[*number as usize], *frequency))
    }
}

#[derive(Clone)]
pub(super) enum Words {
    Tail(Arc<Tail>),
    Sealed(Arc<Sealed>),
}

#[derive(Clone)]
pub(super) struct Part {
    pub(super) number: u32,
    pub(super) words: Words,
    pub(super) deaths: Deaths,
}

impl Part {
    pub(super) fn new(number: u32, words: Words) -> Self {
        Self { number, words, deaths: Deaths::default() }
    }

    pub(super) fn facts(&self) -> &Facts {
        match &self.words {
            Words::Tail(tail) => &tail.facts,
            Words::Sealed(sealed) => &sealed.facts,
        }
    }

    pub(super) fn list(&self, kind: u8, term: &str) -> Option<List<'_>> {
        match &self.words {
            Words::Tail(tail) => tail.list(kind, term),
            Words::Sealed(sealed) => sealed.list(kind, term),
        }
    }

    /// Distinct terms of one kind, with their lists.
    pub(super) fn each(&self, kind: u8, visit: impl FnMut(&str, List)) {
        match &self.words {
            Words::Tail(tail) => tail.each(kind, visit),
            Words::Sealed(sealed) => sealed.each(kind, visit),
        }
    }

    pub(super) fn forward(&self) -> Forward {
        match &self.words {
            Words::Tail(tail) => tail.forward(),
            Words::Sealed(sealed) => sealed.forward(),
        }
    }

    pub(super) fn living(&self) -> usize {
        self.facts().len() - self.deaths.count()
    }

    pub(super) fn living_postings(&self) -> usize {
        let postings = match &self.words {
            Words::Tail(tail) => tail.postings(),
            Words::Sealed(sealed) => sealed.postings(),
        };
        postings - self.deaths.postings()
    }

    /// Documents among `list` that a search at `revision` sees.
    ///
    /// Counts what was born by then, less the dead, but those that died later; only where many did it reads the list.
    pub(super) fn holders(&self, kind: u8, term: &str, list: &List, revision: u64) -> usize {
        let (facts, deaths) = (self.facts(), &self.deaths);
        let later: Vec<u32> = deaths.after(revision).take(list.postings + 1).collect();
        if later.len() > list.postings {
            let documents = list.columns().documents.iter();
            return documents.filter(|document| deaths.spare(facts, **document, revision)).count();
        }
        let born = facts.born_by(revision);
        let born = if born == facts.len() { list.postings } else { list.before(born) };
        let later = later.into_iter().filter(|document| list.frequency(*document) > 0);
        born + later.count() - deaths.holders(kind, term)
    }

    /// The document as a hit, if a search sees it.
    #[inline]
    pub(super) fn shows(&self, document: u32, filter: &Filter) -> Option<Slot> {
        let slot = Slot::new(self.number, document);
        let seen = self.deaths.spare(self.facts(), document, filter.revision)
            && filter.allowed.is_none_or(|allowed| allowed(slot));
        seen.then_some(slot)
    }

    /// Records a death together with the terms that die; `terms` is asked for them if the part cannot tell.
    pub(super) fn kill(&mut self, document: u32, death: u64, terms: impl FnOnce() -> Terms) {
        let kind = self.facts().kinds[document as usize];
        self.deaths.stamp(document, death);
        match &self.words {
            Words::Tail(tail) => tail.terms(document).for_each(|term| self.deaths.bury(kind, term, 1)),
            Words::Sealed(_) => {
                terms().counts.iter().for_each(|(term, _)| self.deaths.bury(kind, term, 1));
            }
        }
    }

    /// Records deaths, as (document, death), of documents whose terms only the postings tell.
    pub(super) fn bury_all(&mut self, deaths: &[(u32, u64)]) {
        if deaths.is_empty() {
            return;
        }
        let mut deaths = deaths.to_vec();
        deaths.sort_unstable_by_key(|(document, death)| (*death, *document));
        deaths.iter().for_each(|(document, death)| self.deaths.stamp(*document, *death));
        let mut dead = Vec::new();
        for kind in 0..KINDS as u8 {
            self.each(kind, |term, list| {
                let documents = list.columns().documents.iter();
                let holders = documents.filter(|document| self.deaths.of(**document) != NEVER).count();
                dead.push((kind, Arc::<str>::from(term), holders as u32));
            });
        }
        for (kind, term, holders) in dead.into_iter().filter(|(_, _, holders)| *holders > 0) {
            self.deaths.bury(kind, &term, holders);
        }
    }
}
