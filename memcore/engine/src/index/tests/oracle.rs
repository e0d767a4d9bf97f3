//! Every version of every document there ever was, beside the index, and searched by reading all of them.

use std::collections::{HashMap, HashSet};

use super::*;
use crate::index::{Merged, Moved};

/// One version of a document, as plainly as it can be kept.
pub(super) struct Version {
    pub(super) key: u64,
    pub(super) kind: u8,
    pub(super) terms: Terms,
    pub(super) slot: Option<Slot>,
    pub(super) birth: u64,
    pub(super) death: u64,
}

#[derive(Default)]
pub(super) struct Oracle {
    pub(super) versions: Vec<Version>,
    pub(super) index: Index,
    pub(super) revision: u64,
    /// Searches before it are no longer answered.
    pub(super) oldest: u64,
    pub(super) frozen: Vec<Frozen>,
    pub(super) merging: Option<(Merged, Vec<u8>)>,
    /// Bytes of sealed parts by their numbers.
    pub(super) files: HashMap<u32, Vec<u8>>,
}

pub(super) struct Asked<'a> {
    pub(super) terms: &'a [(Box<str>, u32)],
    pub(super) kinds: u8,
    pub(super) revision: u64,
    pub(super) scoring: Scoring,
    /// Only keys that this number does not divide are allowed; 1 allows none.
    pub(super) but_multiples_of: u64,
    pub(super) k: usize,
}

pub(super) fn words(words: &[u8]) -> Terms {
    terms(&words.iter().map(|word| format!("w{word} ")).collect::<String>())
}

impl Oracle {
    pub(super) fn insert(&mut self, key: u64, kind: u8, terms: Terms) {
        let birth = self.revision;
        let slot = Some(self.index.insert(key, kind, &terms, birth));
        self.versions.push(Version { key, kind, terms, slot, birth, death: u64::MAX });
    }

    pub(super) fn kill(&mut self, pick: usize) -> Option<(u64, u8)> {
        let living: Vec<usize> =
            (0..self.versions.len()).filter(|&v| self.versions[v].death == u64::MAX).collect();
        let version = &mut self.versions[*living.get(pick % living.len().max(1))?];
        version.death = self.revision;
        self.index.kill(version.slot.unwrap(), self.revision, || version.terms.clone());
        Some((version.key, version.kind))
    }

    pub(super) fn compact(&mut self, visible_from: u64) {
        self.oldest = visible_from;
        let tail = self.index.parts.last().unwrap().number;
        let moved = self.index.compact(visible_from);
        self.follow(&moved, &[tail]);
    }

    /// Documents of `parts` are now where `moved` says, or nowhere.
    fn follow(&mut self, moved: &[Moved], parts: &[u32]) {
        let new_slots: HashMap<Slot, Slot> =
            moved.iter().map(|moved| (moved.old_slot, moved.new_slot)).collect();
        for version in &mut self.versions {
            let slot = version.slot.filter(|slot| parts.contains(&slot.part()));
            if let Some(slot) = slot {
                version.slot = new_slots.get(&slot).copied();
            }
        }
    }

    pub(super) fn freeze(&mut self) {
        self.frozen.extend(self.index.freeze());
    }

    pub(super) fn seal_oldest(&mut self) {
        if self.frozen.is_empty() {
            return;
        }
        let frozen = self.frozen.remove(0);
        let bytes = sealed_bytes(&frozen);
        assert!(self.index.install(frozen.number, open(bytes.clone())));
        self.files.insert(frozen.number, bytes);
    }

    /// Begins to merge the sealed parts from one on.
    pub(super) fn start_merge(&mut self, first: usize, count: usize, visible_from: u64) {
        let sealed = |oracle: &Self, place: usize| {
            let part = oracle.index.parts.get(place);
            part.is_some_and(|part| oracle.files.contains_key(&part.number))
        };
        let first = first % self.index.parts.len();
        let end = (first..first + count).take_while(|place| sealed(self, *place)).count() + first;
        if end == first || self.merging.is_some() {
            return;
        }
        self.oldest = visible_from;
        let (merged, bundle) = self.index.merge(first..end).run(visible_from, ANALYZER).unwrap();
        self.merging = Some((merged, bundle.finish()));
    }

    pub(super) fn finish_merge(&mut self) {
        let Some((merged, bytes)) = self.merging.take() else { return };
        let before: HashSet<u32> = self.index.parts.iter().map(|part| part.number).collect();
        let number = self.index.reserve_number();
        let moved = self.index.install_merged(&merged, number, open(bytes.clone())).unwrap_or_default();
        let after: HashSet<u32> = self.index.parts.iter().map(|part| part.number).collect();
        let gone: Vec<u32> = before.difference(&after).copied().collect();
        assert!(!gone.is_empty());
        self.follow(&moved, &gone);
        self.files.extend(after.difference(&before).map(|number| (*number, bytes.clone())));
    }

    /// Starts over from the files, and from the records of what was in none.
    pub(super) fn reopen(&mut self) {
        let old = std::mem::take(&mut self.index);
        self.frozen.clear();
        self.merging = None;
        for part in &old.parts {
            let Some(bytes) = self.files.get(&part.number) else { continue };
            let dead = self.versions.iter().filter(|version| version.death != u64::MAX);
            let inside = dead.filter(|version| version.slot.is_some_and(|s| s.part() == part.number));
            let deaths: Vec<(u32, u64)> =
                inside.map(|version| (version.slot.unwrap().document(), version.death)).collect();
            self.index.adopt(part.number, open(bytes.clone()), &deaths);
        }
        let sealed: HashSet<u32> = self.index.parts.iter().map(|part| part.number).collect();
        let sealed = |slot: Slot| sealed.contains(&slot.part()) && self.files.contains_key(&slot.part());
        let mut replayed: Vec<&mut Version> =
            self.versions.iter_mut().filter(|version| version.slot.is_some_and(|s| !sealed(s))).collect();
        for version in &mut replayed {
            let Version { key, kind, ref terms, birth, .. } = **version;
            version.slot = Some(self.index.insert(key, kind, terms, birth));
        }
        replayed.retain(|version| version.death != u64::MAX);
        replayed.sort_by_key(|version| version.death);
        replayed.iter().for_each(|version| self.index.kill(version.slot.unwrap(), version.death, never));
    }

    pub(super) fn check(&self, asked: &Asked) {
        let (visible, stats) = self.visible(asked);
        let slots: HashMap<Slot, u64> =
            self.versions.iter().filter_map(|version| Some((version.slot?, version.key))).collect();
        let allowed =
            |slot: Slot| asked.but_multiples_of == 0 || !slots[&slot].is_multiple_of(asked.but_multiples_of);
        let (kinds, revision) = (asked.kinds, asked.revision);
        let filter = Filter { kinds, revision, allowed: Some(&allowed) };
        let query = Query { terms: asked.terms, filter, scoring: asked.scoring, stats: &stats };
        let mut expected = score(&visible, asked);
        expected.retain(|hit| allowed(hit.slot));
        expected.sort_by(|left, right| right.score.total_cmp(&left.score).then(left.key.cmp(&right.key)));
        let found = self.index.search(&query, asked.k);
        match asked.scoring {
            Scoring::Bm25 { .. } => assert_eq!(found, expected[..expected.len().min(asked.k)]),
            Scoring::Okapi { .. } => assert_near(&found, &expected, asked.k),
        }
        self.check_single_documents(&query, &found, &expected);
    }

    fn check_single_documents(&self, query: &Query, found: &[Scored], expected: &[Scored]) {
        let slots: Vec<Slot> = self.versions.iter().filter_map(|version| version.slot).collect();
        let scores = self.index.score_of(query, &slots);
        let known: HashSet<Slot> = expected.iter().map(|hit| hit.slot).collect();
        let scores: HashMap<Slot, f64> =
            slots.into_iter().zip(scores).filter_map(|(slot, score)| Some((slot, score?))).collect();
        assert_eq!(scores.keys().copied().collect::<HashSet<_>>(), known);
        for hit in found {
            assert_eq!(scores[&hit.slot], hit.score);
            let told = self.index.explain(query, hit.slot);
            assert_eq!(told.iter().fold(0.0, |sum, term| sum + term.score), hit.score);
        }
    }

    fn visible(&self, asked: &Asked) -> (Vec<&Version>, Stats) {
        let mut stats = Stats::default();
        let at_revision =
            self.versions.iter().filter(|v| v.birth <= asked.revision && asked.revision < v.death);
        let visible = at_revision
            .inspect(|v| stats.add(v.kind, v.terms.length))
            .filter(|v| asked.kinds >> v.kind & 1 == 1)
            .collect();
        (visible, stats)
    }
}

/// Sums of averages differ in their last bits, so that neighbours may change places.
fn assert_near(found: &[Scored], expected: &[Scored], k: usize) {
    assert_eq!(found.len(), expected.len().min(k));
    let near = |left: f64, right: f64| (left - right).abs() <= 1e-9 * left.abs().max(right.abs()).max(1.0);
    for (hit, place) in found.iter().zip(expected) {
        let own = expected.iter().find(|other| other.slot == hit.slot).unwrap();
        assert!(near(hit.score, own.score) && near(hit.score, place.score), "{hit:?} is not {own:?}");
    }
    let in_order = |pair: &[Scored]| (pair[1].score, pair[0].key) < (pair[0].score, pair[1].key);
    assert!(found.windows(2).all(in_order));
}

fn frequency(version: &Version, term: &str) -> Option<f64> {
    let found = version.terms.counts.iter().find(|(other, _)| &**other == term);
    found.map(|(_, count)| f64::from(*count))
}

fn score(visible: &[&Version], asked: &Asked) -> Vec<Scored> {
    let documents = visible.len() as f64;
    let tokens: f64 = visible.iter().map(|v| f64::from(v.terms.length)).sum();
    let (Scoring::Bm25 { k1, b } | Scoring::Okapi { k1, b, .. }) = asked.scoring;
    let weights = weights(visible, asked);
    let add = |sum: Option<f64>, version: &Version, term: &str, weight: f64| {
        let Some(tf) = frequency(version, term) else { return sum };
        let norm = k1 * (1.0 - b) + k1 * b * documents / tokens * f64::from(version.terms.length);
        Some(sum.unwrap_or(0.0) + weight * tf / (tf + norm))
    };
    let total = |version: &Version| {
        let terms = asked.terms.iter().zip(&weights);
        terms.fold(None, |sum, ((term, _), weight)| add(sum, version, term, *weight))
    };
    let hit =
        |version: &&Version| Some(Scored { key: version.key, slot: version.slot?, score: total(version)? });
    visible.iter().filter_map(hit).collect()
}

fn weights(visible: &[&Version], asked: &Asked) -> Vec<f64> {
    let documents = visible.len() as f64;
    let mut holders: HashMap<&str, f64> = HashMap::new();
    for (term, _) in visible.iter().flat_map(|version| &version.terms.counts) {
        *holders.entry(term).or_default() += 1.0;
    }
    let held = |term: &str| holders.get(term).copied().unwrap_or(0.0);
    let weight = |(term, count): &(Box<str>, u32)| match asked.scoring {
        Scoring::Bm25 { k1, .. } => {
            (1.0 + (documents - held(term) + 0.5) / (held(term) + 0.5)).ln() * (k1 + 1.0)
        }
        Scoring::Okapi { k1, epsilon, .. } => {
            // As rank_bm25 0.2.2 does it in BM25Okapi._calc_idf and get_scores.
            let idf = |n: f64| (documents - n + 0.5).ln() - (n + 0.5).ln();
            let average = holders.values().map(|n| idf(*n)).sum::<f64>() / holders.len() as f64;
            let idf = idf(held(term));
            (if idf < 0.0 { epsilon * average } else { idf }) * (k1 + 1.0) * f64::from(*count)
        }
    };
    asked.terms.iter().map(weight).collect()
}
