//! Sealed bytes: what is read is what was written, or an error.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use memcore_vector::{Mode, Query, SealOptions, SealedVectors, VectorError, Vectors, normalized};
use proptest::prelude::*;

mod data;
use data::{Random, Shape};

/// Small, but with everything that can be in it.
const EVERYTHING: SealOptions = SealOptions { signs_from: 0, graph_from: 0 };

fn bytes(count: usize, options: SealOptions) -> Vec<u8> {
    let mut vectors = Vectors::new(20).unwrap();
    for vector in data::vectors(Shape::Noise, count, 0, 20, 1).0 {
        vectors.push(None).unwrap();
        vectors.push(Some(&normalized(&vector, 20).unwrap())).unwrap();
    }
    vectors.seal(options).unwrap()
}

fn open(bytes: Vec<u8>) -> Result<SealedVectors, VectorError> {
    SealedVectors::open(Arc::new(bytes))
}

#[test]
fn what_is_sealed_is_the_same_whenever() {
    assert_eq!(bytes(200, EVERYTHING), bytes(200, EVERYTHING));
}

#[test]
fn nothing_can_be_sealed() {
    let sealed = open(Vectors::new(7).unwrap().seal(EVERYTHING).unwrap()).unwrap();
    let query = Query::new(&[1.0; 7], 7).unwrap();
    assert_eq!((sealed.dim(), sealed.len(), sealed.count()), (7, 0, 0));
    assert_eq!(sealed.search(&query, 10, None, Mode::Auto, u64::from).hits, []);
}

#[test]
fn a_part_outlives_whoever_opened_it_and_is_searched_by_many_threads() {
    let sealed = Arc::new(open(bytes(300, EVERYTHING)).unwrap());
    let search = |sealed: &SealedVectors, seed| {
        let query = Query::new(&Random::new(seed).vector(20), 20).unwrap();
        sealed.search(&query, 5, None, Mode::Exact, u64::from)
    };
    let threads: Vec<_> = (0..8)
        .map(|seed| {
            let sealed = Arc::clone(&sealed);
            std::thread::spawn(move || search(&sealed, seed))
        })
        .collect();
    for (seed, thread) in threads.into_iter().enumerate() {
        assert_eq!(thread.join().unwrap(), search(&sealed, seed as u64));
    }
}

#[test]
fn every_shorter_or_longer_file_is_refused() {
    let whole = bytes(70, EVERYTHING);
    for len in (0..whole.len()).step_by(7) {
        assert!(matches!(open(whole[..len].to_vec()), Err(VectorError::Damaged(_))), "{len}");
    }
    let mut longer = whole;
    longer.extend([0; 64]);
    assert!(matches!(open(longer), Err(VectorError::Damaged(_))));
}

#[test]
fn sizes_that_overflow_are_refused() {
    let whole = bytes(70, SealOptions::default());
    for at in (24..64).step_by(8) {
        for size in [u64::MAX, u64::MAX / 2, 1 << 40, 1 << 32] {
            let mut damaged = whole.clone();
            damaged[at..at + 8].copy_from_slice(&size.to_le_bytes());
            assert!(matches!(open(damaged), Err(VectorError::Damaged(_))), "{size} at {at}");
        }
    }
}

proptest! {
    #[test]
    fn a_changed_byte_is_found(at in any::<prop::sample::Index>(), change in 1u8..) {
        let mut damaged = bytes(70, EVERYTHING);
        let at = at.index(damaged.len());
        damaged[at] ^= change;
        prop_assert!(matches!(open(damaged), Err(VectorError::Damaged(_))));
    }

    #[test]
    fn other_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(open(bytes).is_err());
    }
}
