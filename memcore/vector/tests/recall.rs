//! What an approximate search finds of the ten nearest neighbours.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use memcore_vector::{BitSet, Mode, Part, Query, SealOptions, SealedVectors, Vectors, normalized};

mod data;
use data::SHAPES;

/// More documents than are always searched exactly.
const COUNT: usize = 8_700;
const DIM: usize = 64;
const QUERIES: usize = 60;
const K: usize = 10;

fn part_and_queries(shape: data::Shape) -> (Vectors, Vec<Query>) {
    let (rows, queries) = data::vectors(shape, COUNT, QUERIES, DIM, 3);
    let mut vectors = Vectors::new(DIM).unwrap();
    for row in rows {
        vectors.push(Some(&normalized(&row, DIM).unwrap())).unwrap();
    }
    (vectors, queries.iter().map(|query| Query::new(query, DIM).unwrap()).collect())
}

/// The share of the exact neighbours that are found; scores must be those of the exact search.
fn recall(part: &Part, queries: &[Query], allowed: Option<&BitSet>) -> f64 {
    let mut found = 0;
    for query in queries {
        let exact = part.search(query, K, allowed, Mode::Exact, u64::from);
        let auto = part.search(query, K, allowed, Mode::Auto, u64::from);
        assert!(auto.approximate && !exact.approximate);
        assert_eq!(auto.hits.len(), K);
        for hit in auto.hits {
            assert_eq!(part.score(hit.doc, query), Some(hit.score));
            assert!(allowed.is_none_or(|allowed| allowed.contains(hit.doc)));
            found += usize::from(exact.hits.contains(&hit));
        }
    }
    found as f64 / (queries.len() * K) as f64
}

fn every_fiftieth_missing() -> BitSet {
    BitSet::from_fn(COUNT, |doc| doc % 50 != 0)
}

#[test]
fn sign_codes_find_99_of_100_neighbours() {
    for shape in SHAPES {
        let (vectors, queries) = part_and_queries(shape);
        for allowed in [None, Some(&every_fiftieth_missing())] {
            let recall = recall(&vectors.part(), &queries, allowed);
            assert!(recall >= 0.99, "{shape:?}: {recall}");
        }
    }
}

/// Not of noise: there a graph of 12,000 vectors found 80 of 100, for no way leads to a neighbour.
#[test]
fn a_graph_finds_99_of_100_neighbours_in_any_number_of_threads() {
    let (vectors, queries) = part_and_queries(data::Shape::Clusters);
    let options = SealOptions { graph_from: COUNT, signs_from: usize::MAX };
    let sealed = SealedVectors::open(Arc::new(vectors.seal(options).unwrap())).unwrap();
    let search = |query| sealed.search(query, K, None, Mode::Auto, u64::from);
    for allowed in [None, Some(&every_fiftieth_missing())] {
        let recall = recall(&sealed.part(), &queries, allowed);
        assert!(recall >= 0.99, "{recall}");
    }
    let alone: Vec<_> = queries.iter().map(search).collect();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(queries.iter().map(search).collect::<Vec<_>>(), alone));
        }
    });
}

#[test]
fn few_allowed_documents_are_searched_exactly() {
    let (vectors, queries) = part_and_queries(data::Shape::Noise);
    let allowed = BitSet::from_fn(COUNT, |doc| doc % 5 == 0);
    for query in &queries[..5] {
        let auto = vectors.search(query, K, Some(&allowed), Mode::Auto, u64::from);
        assert_eq!(auto, vectors.search(query, K, Some(&allowed), Mode::Exact, u64::from));
        assert!(!auto.approximate);
    }
}

#[test]
fn a_part_of_equals_gives_the_first_of_them() {
    let mut vectors = Vectors::new(DIM).unwrap();
    let same = normalized(&[1.0; DIM], DIM).unwrap();
    (0..COUNT).for_each(|_| assert!(vectors.push(Some(&same)).is_ok()));
    let found = vectors.search(&Query::new(&[1.0; DIM], DIM).unwrap(), 3, None, Mode::Auto, u64::from);
    assert_eq!(found.hits.iter().map(|hit| hit.doc).collect::<Vec<_>>(), [0, 1, 2]);
}
