//! Which documents hold a term: one list of (slot, occurrences) per term, in order of slots.

use std::collections::HashMap;

use crate::text::Terms;

/// One document in a term's list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Posting {
    pub(super) slot: u32,
    pub(super) frequency: u32,
}

/// Terms by number, and their lists. Numbers only mean something until the next [`Postings::renumber`].
#[derive(Default)]
pub(super) struct Postings {
    numbers: HashMap<Box<str>, u32>,
    lists: Vec<Vec<Posting>>,
}

impl Postings {
    pub(super) fn insert(&mut self, slot: u32, terms: &Terms) {
        for (term, frequency) in &terms.counts {
            let posting = Posting { slot, frequency: *frequency };
            match self.numbers.get(term) {
                Some(&number) => self.lists[number as usize].push(posting),
                None => {
                    self.numbers.insert(term.clone(), self.lists.len() as u32);
                    self.lists.push(vec![posting]);
                }
            }
        }
    }

    /// Documents that hold `term`, dead ones among them.
    pub(super) fn list(&self, term: &str) -> &[Posting] {
        self.numbers.get(term).map_or(&[], |&number| &self.lists[number as usize])
    }

    /// Gives every posting its new slot, drops those without one, and forgets terms that nothing holds any more.
    pub(super) fn renumber(&mut self, new_slot: impl Fn(u32) -> Option<u32>) {
        let mut old = std::mem::take(self);
        for (term, number) in old.numbers {
            let list = std::mem::take(&mut old.lists[number as usize]);
            let kept: Vec<Posting> = list
                .into_iter()
                .filter_map(|posting| Some(Posting { slot: new_slot(posting.slot)?, ..posting }))
                .collect();
            if !kept.is_empty() {
                self.numbers.insert(term, self.lists.len() as u32);
                self.lists.push(kept);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn terms(&self) -> usize {
        self.lists.len()
    }
}
