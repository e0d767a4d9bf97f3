//! An exact search is brute force, only faster.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use memcore_vector::{BitSet, Hit, Kernels, Mode, Query, SealOptions, SealedVectors, Vectors, normalized};
use proptest::prelude::*;

mod data;
use data::Random;

fn vectors(dim: usize, rows: &[Option<Vec<f32>>]) -> Vectors {
    let mut vectors = Vectors::new(dim).unwrap();
    for row in rows {
        let row = row.as_ref().map(|row| normalized(row, dim).unwrap());
        vectors.push(row.as_deref()).unwrap();
    }
    vectors
}

fn sealed(vectors: &Vectors) -> SealedVectors {
    SealedVectors::open(Arc::new(vectors.seal(SealOptions::default()).unwrap())).unwrap()
}

/// The product in the order that the crate states: 32 accumulators, halved.
fn product(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 32];
    for (at, (a, b)) in a.iter().zip(b).enumerate() {
        sums[at % 32] = a.mul_add(*b, sums[at % 32]);
    }
    let mut half = 16;
    while half > 0 {
        (0..half).for_each(|lane| sums[lane] += sums[lane + half]);
        half /= 2;
    }
    sums[0]
}

fn brute_force(
    vectors: &Vectors,
    query: &Query,
    k: usize,
    allowed: Option<&BitSet>,
    key: fn(u32) -> u64,
) -> Vec<Hit> {
    let docs = (0..vectors.len() as u32).filter(|doc| allowed.is_none_or(|allowed| allowed.contains(*doc)));
    let scored = |doc| Some(Hit { doc, score: product(vectors.get(doc)?, query.vector()) });
    let mut hits: Vec<Hit> = docs.filter_map(scored).collect();
    hits.sort_by(|a, b| b.score.total_cmp(&a.score).then(key(a.doc).cmp(&key(b.doc))));
    hits.truncate(k);
    hits
}

fn bits(hits: &[Hit]) -> Vec<(u32, u32)> {
    hits.iter().map(|hit| (hit.doc, hit.score.to_bits())).collect()
}

/// Later documents first, so that an order by number would show.
fn backwards(doc: u32) -> u64 {
    u64::from(u32::MAX - doc)
}

/// A vector of one of several kinds that are hard on quantization or on ties.
fn hard_vector(random: &mut Random, dim: usize) -> Vec<f32> {
    let mut vector = random.vector(dim);
    match random.next() % 8 {
        // Equal to others.
        0 | 1 => vector = (0..dim).map(|at| (at % 3) as f32 - 1.5).collect(),
        // Nearly equal to those.
        2 => vector = (0..dim).map(|at| (at % 3) as f32 - 1.5 + 1e-6 * random.normal()).collect(),
        // One huge component, the rest lost in the codes.
        3 => vector[random.next() as usize % dim] = 1e6,
        // Small beyond the normal range.
        4 => vector.iter_mut().for_each(|x| *x *= 1e-39),
        // Denormals beside a component of 1.
        5 => {
            vector.iter_mut().for_each(|x| *x *= 1e-40);
            vector[0] = 1.0;
        }
        _ => (),
    }
    if vector.iter().all(|x| *x == 0.0) {
        vector[0] = 1.0;
    }
    vector
}

fn rows(random: &mut Random, count: usize, dim: usize) -> Vec<Option<Vec<f32>>> {
    (0..count).map(|_| (!random.next().is_multiple_of(5)).then(|| hard_vector(random, dim))).collect()
}

/// Exact search equals brute force, in both kinds of part and on every path.
fn check(seed: u64, count: usize, dim: usize, k: usize, one_in: Option<u64>) {
    let mut random = Random::new(seed);
    let vectors = vectors(dim, &rows(&mut random, count, dim));
    let sealed = sealed(&vectors);
    let allowed = one_in.map(|n| BitSet::from_fn(count, |_| random.next().is_multiple_of(n)));
    for _ in 0..3 {
        let vector = hard_vector(&mut random, dim);
        for kernels in Kernels::available() {
            let query = Query::with_kernels(&vector, dim, kernels).unwrap();
            let expected = bits(&brute_force(&vectors, &query, k, allowed.as_ref(), backwards));
            for part in [vectors.part(), sealed.part()] {
                let found = part.search(&query, k, allowed.as_ref(), Mode::Exact, backwards);
                assert_eq!(bits(&found.hits), expected, "{kernels:?}, {dim} dimensions");
                assert!(!found.approximate);
                for hit in found.hits {
                    assert_eq!(part.score(hit.doc, &query).map(f32::to_bits), Some(hit.score.to_bits()));
                }
            }
        }
    }
}

#[test]
fn exact_search_equals_brute_force_in_every_dimension() {
    for dim in (1..=130).chain([384]) {
        check(dim as u64, 150, dim, 10, None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn exact_search_equals_brute_force(
        seed: u64,
        count in 0usize..700,
        dim in prop_oneof![1usize..80, Just(384)],
        k in prop_oneof![0usize..20, Just(1_000)],
        one_in in prop_oneof![Just(None), (1u64..30).prop_map(Some)],
    ) {
        check(seed, count, dim, k, one_in);
    }

    #[test]
    fn parts_that_grow_and_change_are_what_was_last_said(
        seed: u64,
        steps in prop::collection::vec((0u8..4, any::<prop::sample::Index>()), 0..80),
    ) {
        let mut random = Random::new(seed);
        let (mut vectors, mut model) = (Vectors::new(3).unwrap(), Vec::<Option<Vec<f32>>>::new());
        for (step, index) in steps {
            let vector = normalized(&hard_vector(&mut random, 3), 3).unwrap();
            let doc = if model.is_empty() { 0 } else { index.index(model.len()) };
            match step {
                0 => {
                    vectors.push(None).unwrap();
                    model.push(None);
                }
                1 => {
                    vectors.push(Some(&vector)).unwrap();
                    model.push(Some(vector));
                }
                2 if !model.is_empty() => {
                    vectors.set(doc as u32, &vector).unwrap();
                    model[doc] = Some(vector);
                }
                3 if !model.is_empty() => {
                    vectors.clear(doc as u32);
                    model[doc] = None;
                }
                _ => (),
            }
        }
        let sealed = sealed(&vectors);
        let count = model.iter().flatten().count();
        prop_assert_eq!((vectors.len(), vectors.count()), (model.len(), count));
        prop_assert_eq!((sealed.len(), sealed.count()), (model.len(), count));
        for (doc, row) in (0u32..).zip(&model) {
            prop_assert_eq!(vectors.get(doc), row.as_deref());
            prop_assert_eq!(sealed.get(doc), row.as_deref());
        }
    }
}

#[test]
fn equal_scores_are_in_order_of_keys_also_at_the_cut() {
    let same = || Some(vec![3.0, 4.0]);
    let vectors = vectors(2, &[same(), None, same(), Some(vec![4.0, 3.0]), same()]);
    let query = Query::new(&[3.0, 4.0], 2).unwrap();
    let docs = |k, key: fn(u32) -> u64| {
        let found = vectors.search(&query, k, None, Mode::Exact, key);
        found.hits.iter().map(|hit| hit.doc).collect::<Vec<_>>()
    };
    assert_eq!(docs(2, u64::from), [0, 2]);
    assert_eq!(docs(2, backwards), [4, 2]);
    assert_eq!(docs(9, backwards), [4, 2, 0, 3]);
}

#[test]
fn a_score_is_the_cosine() {
    let vectors = vectors(2, &[Some(vec![3.0, 4.0]), None]);
    let query = Query::new(&[100.0, 0.0], 2).unwrap();
    // 3/5
    assert!((vectors.score(0, &query).unwrap() - 0.6).abs() < 1e-6);
    assert_eq!(vectors.score(1, &query), None);
    assert_eq!(vectors.score(2, &query), None);
}

#[test]
fn what_is_refused_changes_nothing() {
    let mut vectors = Vectors::new(2).unwrap();
    let errors =
        [vectors.push(Some(&[1.0])), vectors.push(Some(&[1.0, 1.0])), vectors.push(Some(&[f32::NAN, 0.0]))];
    assert!(errors.iter().all(Result::is_err), "{errors:?}");
    assert_eq!(vectors.len(), 0);
    vectors.push(Some(&[0.0, 1.0])).unwrap();
    vectors.set(0, &[0.0, 2.0]).unwrap_err();
    assert_eq!(vectors.get(0), Some(&[0.0, 1.0][..]));
    assert!(Vectors::new(0).is_err() && Vectors::new(4097).is_err() && Vectors::new(4096).is_ok());
}
