//! How parts grow up: a frozen tail is sealed, small sealed parts become one, and a part whose dead outweigh its
//! living is written anew. All of it runs beside searches and writes: what a job reads never changes, and documents
//! that die meanwhile keep their deaths when its result is installed.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::bundle::Builder;
use super::deaths::NEVER;
use super::part::{Facts, Part, Words};
use super::sealed::{Sealed, Writer};
use super::tail::Tail;
use super::{COMPACTION_FLOOR, Index, Moved, Slot};
use crate::error::Result;

/// Parts of one size that are merged.
const FAN_IN: usize = 4;

/// Documents of the smallest size; each size is [`FAN_IN`] times the one before.
const SMALLEST: usize = 4096;

/// A tail that grows no more.
pub struct Frozen {
    /// The part it becomes.
    pub number: u32,
    tail: Arc<Tail>,
}

impl Frozen {
    /// How many documents it holds.
    pub fn documents(&self) -> usize {
        self.tail.facts.len()
    }

    /// Builds the sealed part's bundle; every document keeps its number.
    pub fn seal(&self, analyzer: &str) -> Result<Builder> {
        let (facts, forward) = (&self.tail.facts, self.tail.forward());
        let mut writer = Writer::new()?;
        for document in 0..facts.len() {
            writer.add(facts, document, forward.terms(document))?;
        }
        writer.finish(analyzer)
    }
}

/// Sealed parts that should become one, as they were when this was asked for.
pub struct Merge {
    parts: Vec<Part>,
}

/// A merge that has run: where documents went, and which terms of theirs are dead.
pub struct Merged {
    parts: Vec<Part>,
    places: Vec<Vec<Option<u32>>>,
    dead: Vec<(u8, Arc<str>)>,
}

impl Merge {
    /// Numbers of the parts.
    pub fn numbers(&self) -> Vec<u32> {
        self.parts.iter().map(|part| part.number).collect()
    }

    /// Builds the merged part's bundle, without what no search at revision `visible_from` or later can see.
    pub fn run(self, visible_from: u64, analyzer: &str) -> Result<(Merged, Builder)> {
        let mut writer = Writer::new()?;
        let (mut places, mut dead, mut next) = (Vec::new(), Vec::new(), 0);
        for part in &self.parts {
            let (facts, forward) = (part.facts(), part.forward());
            let mut place = vec![None; facts.len()];
            for (document, place) in place.iter_mut().enumerate() {
                let death = part.deaths.of(document as u32);
                if death <= visible_from {
                    continue;
                }
                writer.add(facts, document, forward.terms(document))?;
                if death != NEVER {
                    let kind = facts.kinds[document];
                    dead.extend(forward.terms(document).map(|(term, _)| (kind, Arc::from(term))));
                }
                *place = Some(next);
                next += 1;
            }
            places.push(place);
        }
        Ok((Merged { parts: self.parts, places, dead }, writer.finish(analyzer)?))
    }
}

impl Merged {
    /// Where each document of the merged part came from, in its order: a place among the parts, and the document.
    pub fn origins(&self) -> impl Iterator<Item = (usize, u32)> {
        self.places.iter().enumerate().flat_map(|(part, places)| {
            let kept = places.iter().enumerate().filter(|(_, place)| place.is_some());
            kept.map(move |(document, _)| (part, document as u32))
        })
    }

    fn place(&self, part: usize, document: u32) -> Option<u32> {
        self.places[part][document as usize]
    }

    /// The merged part, with all deaths that `current` have by now.
    fn part(&self, number: u32, sealed: Arc<Sealed>, current: &[Part]) -> Part {
        let mut merged = Part::new(number, Words::Sealed(sealed));
        let mut deaths = Vec::new();
        for (place, part) in current.iter().enumerate() {
            let log = part.deaths.log();
            deaths.extend(log.filter_map(|(death, document)| Some((death, self.place(place, document)?))));
        }
        deaths.sort_unstable();
        deaths.into_iter().for_each(|(death, document)| merged.deaths.stamp(document, death));
        self.dead.iter().for_each(|(kind, term)| merged.deaths.bury(*kind, term, 1));
        for (part, before) in current.iter().zip(&self.parts) {
            for ((kind, term), holders) in died_since(part, before) {
                merged.deaths.bury(kind, term, holders);
            }
        }
        merged
    }

    fn moved(&self, number: u32) -> Vec<Moved> {
        let mut moved = Vec::new();
        for (part, places) in self.parts.iter().zip(&self.places) {
            let Facts { keys, .. } = part.facts();
            for (document, place) in places.iter().enumerate() {
                let Some(place) = place else { continue };
                let old_slot = Slot::new(part.number, document as u32);
                moved.push(Moved { key: keys[document], old_slot, new_slot: Slot::new(number, *place) });
            }
        }
        moved
    }
}

/// Dead postings that `part` has and `before` had not.
fn died_since<'a>(part: &'a Part, before: &Part) -> HashMap<(u8, &'a str), u32> {
    let mut died = HashMap::new();
    if part.deaths.count() == before.deaths.count() {
        return died;
    }
    for (kind, term, _) in part.deaths.terms() {
        let holders = part.deaths.holders(kind, term) - before.deaths.holders(kind, term);
        if holders > 0 {
            died.insert((kind, term), holders as u32);
        }
    }
    died
}

impl Index {
    /// The oldest frozen tail.
    pub fn frozen(&self) -> Option<Frozen> {
        let behind = &self.parts[..self.parts.len() - 1];
        behind.iter().find_map(|part| match &part.words {
            Words::Tail(tail) => Some(Frozen { number: part.number, tail: Arc::clone(tail) }),
            Words::Sealed(_) => None,
        })
    }

    /// Numbers of the sealed parts.
    pub fn sealed_numbers(&self) -> impl Iterator<Item = u32> {
        self.parts.iter().filter(|part| is_sealed(part)).map(|part| part.number)
    }

    /// One sealed part, to be written anew.
    pub fn rewrite(&self, number: u32) -> Option<Merge> {
        let part = self.parts.iter().find(|part| part.number == number && is_sealed(part))?;
        Some(Merge { parts: vec![part.clone()] })
    }

    /// A number for the part that a merge makes.
    pub fn reserve_number(&mut self) -> u32 {
        self.take_number()
    }

    /// Ends the tail and starts a new one; `None` if it holds nothing.
    pub fn freeze(&mut self) -> Option<Frozen> {
        let last = self.parts.last()?;
        let Words::Tail(tail) = &last.words else { return None };
        if tail.facts.len() == 0 {
            return None;
        }
        let frozen = Frozen { number: last.number, tail: Arc::clone(tail) };
        self.start_tail();
        Some(frozen)
    }

    /// Puts a sealed part in the place of the frozen tail it was built from; false if there is none.
    pub fn install(&mut self, number: u32, sealed: Arc<Sealed>) -> bool {
        let growing = self.parts.len() - 1;
        let frozen = self.parts[..growing].iter_mut().find(|part| part.number == number);
        match frozen {
            Some(part) if *part.facts() == sealed.facts => {
                part.words = Words::Sealed(sealed);
                true
            }
            _ => false,
        }
    }

    /// Sealed parts to merge or to write anew, if there are enough of one size or dead ones outweigh the living.
    pub fn merge_due(&self) -> Option<Merge> {
        let stale = self.parts.iter().position(|part| {
            is_sealed(part) && part.deaths.postings() > part.living_postings().max(COMPACTION_FLOOR)
        });
        let run = stale.map(|place| place..place + 1).or_else(|| self.small_run())?;
        Some(self.merge(run))
    }

    pub(super) fn merge(&self, run: Range<usize>) -> Merge {
        Merge { parts: self.parts[run].to_vec() }
    }

    /// Neighbours that are of one size or smaller, of the smallest size that has enough of them.
    fn small_run(&self) -> Option<Range<usize>> {
        let sizes: Vec<Option<u32>> =
            self.parts.iter().map(|part| is_sealed(part).then(|| size(part))).collect();
        let largest = sizes.iter().flatten().max()?;
        (0..=*largest).find_map(|most| {
            let small = |size: &Option<u32>| size.is_some_and(|size| size <= most);
            let end = sizes.iter().rposition(small)? + 1;
            let start = sizes[..end].iter().rposition(|size| !small(size)).map_or(0, |place| place + 1);
            (end - start >= FAN_IN).then_some(start..end)
        })
    }

    /// Puts a merged part in the place of those it was built from, under a reserved number; returns where their
    /// documents went. `None` if one of them is there no more.
    pub fn install_merged(
        &mut self,
        merged: &Merged,
        number: u32,
        sealed: Arc<Sealed>,
    ) -> Option<Vec<Moved>> {
        let numbers: Vec<u32> = merged.parts.iter().map(|part| part.number).collect();
        let is_first = |part: &Part| Some(&part.number) == numbers.first();
        let start = self.parts.iter().position(is_first)?;
        let run = start..(start + numbers.len()).min(self.parts.len());
        if !self.parts[run.clone()].iter().map(|part| &part.number).eq(&numbers) {
            return None;
        }
        let part = merged.part(number, sealed, &self.parts[run.clone()]);
        self.parts.splice(run, [part]);
        Some(merged.moved(number))
    }
}

fn is_sealed(part: &Part) -> bool {
    matches!(part.words, Words::Sealed(_))
}

fn size(part: &Part) -> u32 {
    (part.living() / SMALLEST).max(1).ilog(FAN_IN)
}
