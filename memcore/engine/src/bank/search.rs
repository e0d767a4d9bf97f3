//! Ranking by words, by vectors, and by both.
//!
//! Hybrid search takes the best candidates of either ranking, scores every one of them both ways, and fuses. Words
//! are exact always; vectors are unless a hit list says otherwise.

use std::cmp::Ordering;
use std::sync::Arc;

use hashbrown::HashSet;
use memcore_vector::{Mode, Query as VectorQuery};

use super::body::Version;
use super::context::{Neighbours, add_context, add_dates};
use super::dates::Dates;
use super::embedding::{embedded, given};
use super::filter::Passes;
use super::fusion::{Candidate, fuse};
use super::vectors::{Near, VectorIndex, Wanted};
use super::{Body, Head, index_kind};
use crate::error::{Error, Result};
use crate::index::{self, Filter, Scored, Scoring, Slot};
use crate::model::{
    Chunk, DEFAULT_CONTEXT_WEIGHT, DEFAULT_DATE_WEIGHT, Embedder, Explanation, Hit, Hits, MemoryType, Method,
    Query, TermScore, WordScoring,
};
use crate::text::Analyzer;

/// Candidates of each ranking, unless more hits than that are asked for.
const CANDIDATES: usize = 100;

/// A query, prepared once, outside of all locks.
pub(crate) struct Asked<'a> {
    query: &'a Query,
    terms: Vec<(Box<str>, u32)>,
    vector: Option<VectorQuery>,
    embedder: &'a Embedder,
    method: Method,
    kinds: u8,
    limit: usize,
    passes: Option<Passes<'a>>,
    context_weight: f64,
    date_weight: f64,
    dates: Dates,
}

impl<'a> Asked<'a> {
    /// # Errors
    /// InvalidInput if the bank's embedder cannot do what is asked, or for an embedding that is not its own.
    pub fn new(query: &'a Query, analyzer: &Analyzer, embedder: &'a Embedder) -> Result<Self> {
        let vector = query_vector(query, embedder)?;
        let method = match (query.method, &vector) {
            (None, Some(_)) => Method::Hybrid,
            (None, None) | (Some(Method::Words), _) => Method::Words,
            (Some(method), Some(_)) => method,
            (Some(method), None) => without_vector(method, embedder)?,
        };
        let weight =
            |given: Option<f64>, hybrid| given.unwrap_or(if method == Method::Hybrid { hybrid } else { 0.0 });
        let dates = Dates::of(&query.text);
        let date_weight = weight(query.date_weight, DEFAULT_DATE_WEIGHT);
        let default = [MemoryType::Semantic, MemoryType::Episodic];
        let types = if query.types.is_empty() { &default[..] } else { &query.types };
        Ok(Self {
            query,
            terms: analyzer.analyze(&query.text).counts,
            vector,
            embedder,
            method,
            kinds: types.iter().fold(0, |mask, kind| mask | 1 << index_kind(*kind)),
            limit: query.limit,
            passes: Passes::new(&query.filter),
            context_weight: weight(query.context_weight, DEFAULT_CONTEXT_WEIGHT),
            date_weight: if dates.is_empty() { 0.0 } else { date_weight },
            dates,
        })
    }

    /// Asks for another type and number of memories.
    pub fn narrow(&mut self, kind: MemoryType, limit: usize) {
        (self.kinds, self.limit) = (1 << index_kind(kind), limit);
    }

    fn scoring(&self) -> Scoring {
        match self.query.scoring {
            WordScoring::Bm25 { k1, b } => Scoring::Bm25 { k1, b },
            WordScoring::Okapi { k1, b } => Scoring::Okapi { k1, b, epsilon: OKAPI_EPSILON },
        }
    }
}

/// Memories looked at on either side for a neighbour, so that a filter which few pass costs no more.
const NEAR: usize = 32;

/// What rank_bm25 replaces a negative idf by, in average idfs.
const OKAPI_EPSILON: f64 = 0.25;

fn query_vector(query: &Query, embedder: &Embedder) -> Result<Option<VectorQuery>> {
    let vector = match &query.embedding {
        Some(embedding) => Some(given("embedding", embedding, embedder)?),
        None if query.method == Some(Method::Words) => None,
        None => embedded(embedder, &query.text),
    };
    let prepare = |vector| VectorQuery::new(vector, embedder.dimensions());
    vector
        .as_deref()
        .map(prepare)
        .transpose()
        .map_err(|error| Error::internal(format!("a checked vector is refused: {error}")))
}

/// What a method comes to for a query without a vector.
fn without_vector(method: Method, embedder: &Embedder) -> Result<Method> {
    match embedder {
        Embedder::None => Err(Error::invalid(
            "NO_EMBEDDER",
            "method must be words: the bank has no embedder; set one with SetEmbedder",
        )),
        Embedder::External { id, .. } => Err(Error::invalid(
            "EMBEDDING_MISSING",
            format!("embedding must hold the query's vector by embedder {id:?}, got none"),
        )),
        // The text has no word that the embedder knows.
        Embedder::Builtin if method == Method::Hybrid => Ok(Method::Words),
        Embedder::Builtin => Ok(Method::Vector),
    }
}

impl Body {
    /// Ranks memories and, if asked, pending chunks.
    pub fn search(&self, asked: &Asked, head: &Head) -> Hits {
        let look = Look { body: self, head, asked };
        let (memories, approximate) = look.memories();
        let pending = if asked.query.include_pending { look.pending() } else { Vec::new() };
        Hits { memories, pending, method: asked.method, approximate }
    }
}

/// One search of a body at a head.
struct Look<'a> {
    body: &'a Body,
    head: &'a Head,
    asked: &'a Asked<'a>,
}

impl Look<'_> {
    fn memories(&self) -> (Vec<Hit>, bool) {
        let limit = self.asked.limit;
        let boosted = self.asked.context_weight > 0.0 || self.asked.date_weight > 0.0;
        let depth =
            if boosted || self.asked.method == Method::Hybrid { limit.max(CANDIDATES) } else { limit };
        let (mut found, approximate) = match self.asked.method {
            Method::Words => (self.by_words(depth), false),
            Method::Vector => self.by_vector(depth),
            Method::Hybrid => self.by_both(depth),
        };
        if boosted || self.asked.method == Method::Hybrid {
            self.score(&mut found);
        }
        found.sort_unstable_by(best_first);
        let bar = self.asked.query.min_score.unwrap_or(f64::NEG_INFINITY);
        let wanted = found.into_iter().take_while(|candidate| candidate.score >= bar).take(limit);
        (wanted.filter_map(|candidate| self.hit(candidate)).collect(), approximate)
    }

    fn by_words(&self, count: usize) -> Vec<Candidate> {
        let scored = self.words(count);
        let ranked = scored.iter().zip(1..);
        ranked
            .map(|(found, rank)| Candidate {
                score: found.score,
                words: Some(found.score),
                words_rank: Some(rank),
                words_part: found.score,
                ..Candidate::of(found.key, found.slot)
            })
            .collect()
    }

    fn by_vector(&self, count: usize) -> (Vec<Candidate>, bool) {
        let (near, approximate) = self.near(count);
        let ranked = near.iter().zip(1..);
        let candidates = ranked.map(|(near, rank)| Candidate {
            score: near.cosine,
            cosine: Some(near.cosine),
            vector_rank: Some(rank),
            vector_part: near.cosine,
            ..Candidate::of(near.key, near.slot)
        });
        (candidates.collect(), approximate)
    }

    fn by_both(&self, count: usize) -> (Vec<Candidate>, bool) {
        let words = self.by_words(count);
        let (near, approximate) = self.by_vector(count);
        (union(words, near), approximate)
    }

    /// Turns what the rankings found into scores: fused, with context and dates.
    fn score(&self, candidates: &mut Vec<Candidate>) {
        let ranked = candidates.len();
        let neighbours = self.with_neighbours(candidates);
        self.complete(candidates);
        match self.asked.method {
            Method::Words => candidates.iter_mut().for_each(Candidate::take_words),
            Method::Vector => candidates.iter_mut().for_each(Candidate::take_cosine),
            Method::Hybrid => fuse(candidates, ranked, self.asked.query.fusion),
        }
        let unit = match self.asked.method {
            Method::Hybrid => 1.0,
            Method::Words | Method::Vector => candidates.iter().map(|one| one.score).fold(0.0, f64::max),
        };
        if let Some(neighbours) = neighbours {
            add_context(candidates, &neighbours, self.asked.context_weight);
        }
        if !self.asked.dates.is_empty() {
            let event_time = |candidate: &Candidate| {
                self.body
                    .at(candidate.key, self.head.revision)
                    .map_or("", |memory| memory.event_time.as_str())
            };
            add_dates(candidates, &self.asked.dates, event_time, self.asked.date_weight, unit);
        }
    }

    /// Adds the candidates' neighbours behind them; returns everybody's, if they are to count.
    fn with_neighbours(&self, candidates: &mut Vec<Candidate>) -> Option<Vec<Neighbours>> {
        if self.asked.context_weight == 0.0 || !self.body.dated {
            return None;
        }
        let mut known: HashSet<Slot> = candidates.iter().map(|candidate| candidate.slot).collect();
        let ranked = candidates.len();
        let mut all: Vec<Neighbours> = Vec::with_capacity(3 * ranked);
        for place in 0..ranked {
            let found = self.neighbours(candidates[place].key);
            let fresh = found.iter().flatten().filter(|(_, slot)| known.insert(*slot));
            candidates.extend(fresh.map(|(key, slot)| Candidate::of(*key, *slot)));
            all.push(found);
        }
        all.extend(candidates[ranked..].iter().map(|candidate| self.neighbours(candidate.key)));
        Some(all)
    }

    /// The memories before and after one by id that the query may find, if they happened at the same time.
    fn neighbours(&self, key: u64) -> Neighbours {
        let at = |key| self.body.at(key, self.head.revision);
        let Some(event_time) = at(key).map(|memory| &memory.event_time).filter(|time| !time.is_empty())
        else {
            return [None, None];
        };
        let fits = |(key, versions): (&u64, &Vec<Version>)| {
            let version = versions.iter().rev().find(|version| version.is_seen(self.head.revision))?;
            let slot = version.slot.filter(|slot| self.finds(*slot))?;
            Some((*key, slot, version.memory.event_time == *event_time))
        };
        let same_time = |found: Option<(u64, Slot, bool)>| {
            found.filter(|found| found.2).map(|(key, slot, _)| (key, slot))
        };
        let before = self.body.memories.range(..key).rev().take(NEAR).find_map(fits);
        let after = self.body.memories.range(key + 1..).take(NEAR).find_map(fits);
        [same_time(before), same_time(after)]
    }

    /// Whether the query may find a document at all.
    fn finds(&self, slot: Slot) -> bool {
        let filter = Filter { kinds: self.asked.kinds, revision: self.head.revision, allowed: None };
        self.body.memory_index.sees(slot, &filter) && (self.asked.passes.is_none() || self.passes(slot))
    }

    /// Gives candidates the scores that no ranking gave them.
    fn complete(&self, candidates: &mut [Candidate]) {
        if self.asked.method != Method::Vector {
            let lacking: Vec<Slot> =
                candidates.iter().filter(|c| c.words.is_none()).map(|c| c.slot).collect();
            let scores = self.with_words(|index, query| index.score_of(query, &lacking));
            let unscored = candidates.iter_mut().filter(|candidate| candidate.words.is_none());
            unscored.zip(scores).for_each(|(candidate, score)| candidate.words = score);
        }
        if let (Some(vectors), Some(query), true) =
            (self.vectors(), &self.asked.vector, self.asked.method != Method::Words)
        {
            for candidate in candidates.iter_mut().filter(|candidate| candidate.cosine.is_none()) {
                candidate.cosine = vectors.score(candidate.slot, query);
            }
        }
    }

    fn words(&self, count: usize) -> Vec<Scored> {
        self.with_words(|index, query| index.search(query, count))
    }

    fn with_words<T>(&self, ask: impl FnOnce(&index::Index, &index::Query) -> T) -> T {
        let passes = |slot| self.passes(slot);
        let allowed: Option<&dyn Fn(Slot) -> bool> =
            if self.asked.passes.is_some() { Some(&passes) } else { None };
        let filter = Filter { kinds: self.asked.kinds, revision: self.head.revision, allowed };
        let query = index::Query {
            terms: &self.asked.terms,
            filter,
            scoring: self.asked.scoring(),
            stats: &self.head.memory_index,
        };
        ask(&self.body.memory_index, &query)
    }

    /// The bank's vectors, unless its embedder is being exchanged and they are not those of this head.
    fn vectors(&self) -> Option<&VectorIndex> {
        let same = *self.asked.embedder == self.body.head.embedder;
        self.body.vectors.as_ref().filter(|_| same)
    }

    fn near(&self, count: usize) -> (Vec<Near>, bool) {
        let (Some(vectors), Some(query)) = (self.vectors(), &self.asked.vector) else {
            return (Vec::new(), false);
        };
        let index = &self.body.memory_index;
        let filter = Filter { kinds: self.asked.kinds, revision: self.head.revision, allowed: None };
        let passes = |slot| self.passes(slot);
        let wanted = Wanted {
            kinds: self.asked.kinds,
            revision: self.head.revision,
            sees: &|slot| index.sees(slot, &filter),
            allowed: if self.asked.passes.is_some() { Some(&passes) } else { None },
        };
        let mode = if self.asked.query.exact { Mode::Exact } else { Mode::Auto };
        vectors.search(query, count, &wanted, |slot| index.key(slot), mode)
    }

    fn passes(&self, slot: Slot) -> bool {
        let memory = self.body.at(self.body.memory_index.key(slot), self.head.revision);
        match (&self.asked.passes, memory) {
            (Some(passes), Some(memory)) => passes.test(memory, |chunk| self.source(chunk)),
            (None, memory) => memory.is_some(),
            (Some(_), None) => false,
        }
    }

    fn source(&self, position: u64) -> Option<&str> {
        self.body.chunks.get(position as usize).map(|place| &*place.source)
    }

    fn hit(&self, candidate: Candidate) -> Option<Hit> {
        let memory = self.body.at(candidate.key, self.head.revision)?;
        let explanation = self.asked.query.explain.then(|| self.explanation(&candidate));
        let has_vector = self.vectors().is_some_and(|vectors| vectors.has(candidate.slot));
        Some(Hit {
            memory: Arc::clone(memory),
            score: candidate.score,
            words_rank: candidate.words_rank,
            vector_rank: candidate.vector_rank,
            has_vector,
            explanation,
        })
    }

    fn explanation(&self, candidate: &Candidate) -> Explanation {
        let terms = match candidate.words {
            Some(_) => self.with_words(|index, query| index.explain(query, candidate.slot)),
            None => Vec::new(),
        };
        Explanation {
            words_score: candidate.words,
            vector_score: candidate.cosine,
            words_part: candidate.words_part,
            vector_part: candidate.vector_part,
            context_part: candidate.context_part,
            date_part: candidate.date_part,
            terms: terms.into_iter().map(term_score).collect(),
        }
    }

    fn pending(&self) -> Vec<(Chunk, f64)> {
        let query = index::Query {
            terms: &self.asked.terms,
            filter: Filter { kinds: 1, revision: self.head.revision, allowed: None },
            scoring: self.asked.scoring(),
            stats: &self.head.pending_index,
        };
        let found = self.body.pending_index.search(&query, self.asked.limit);
        let chunk =
            |hit: &Scored| self.body.pending.get(&hit.key).map(|pending| Chunk::clone(&pending.chunk));
        found.iter().filter_map(|hit| Some((chunk(hit)?, hit.score))).collect()
    }
}

fn term_score(term: index::TermScore) -> TermScore {
    TermScore {
        term: term.term.into(),
        document_frequency: term.holders as u64,
        term_frequency: term.frequency,
        weight: term.weight,
        score: term.score,
    }
}

fn best_first(left: &Candidate, right: &Candidate) -> Ordering {
    right.score.total_cmp(&left.score).then(left.key.cmp(&right.key))
}

/// Both rankings' candidates, each once, with the ranks of both.
fn union(words: Vec<Candidate>, near: Vec<Candidate>) -> Vec<Candidate> {
    let mut all = words;
    all.extend(near);
    all.sort_unstable_by_key(|candidate| candidate.slot);
    all.dedup_by(|other, kept| {
        let same = other.slot == kept.slot;
        if same {
            kept.words = kept.words.or(other.words);
            kept.words_rank = kept.words_rank.or(other.words_rank);
            kept.cosine = kept.cosine.or(other.cosine);
            kept.vector_rank = kept.vector_rank.or(other.vector_rank);
        }
        same
    });
    all
}
