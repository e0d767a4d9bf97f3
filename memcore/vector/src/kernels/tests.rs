use proptest::prelude::*;

use super::{Kernels, LANES, MAX_LEVEL, scalar};

/// Numbers that look random, from a seed.
fn numbers(seed: u64, len: usize) -> Vec<u64> {
    let mut state = seed | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 11
    };
    (0..len).map(next).collect()
}

fn codes(seed: u64, len: usize) -> Vec<i8> {
    numbers(seed, len).into_iter().map(|number| (number % 255) as i8).map(|code| code.max(-127)).collect()
}

/// Floats over the whole range of exponents whose products stay finite, denormals and both zeros included.
fn floats(seed: u64, len: usize) -> Vec<f32> {
    let of = |number: u64| {
        let sign = (number as u32 & 1) << 31;
        let exponent = ((number >> 1) as u32 % 128) << 23;
        f32::from_bits(sign | exponent | (number >> 20) as u32 & 0x7f_ffff)
    };
    numbers(seed, len).into_iter().map(of).collect()
}

#[test]
fn extremes_do_not_overflow() {
    let extreme = vec![-127i8; 4096];
    for kernels in Kernels::available() {
        // 4096 * 127 * 127
        assert_eq!((kernels.dot_i8)(&extreme, &extreme), 66_064_384, "{kernels:?}");
        let mut sums = [0; LANES];
        // 1024 rows of 63 for each document.
        (kernels.signs)(&vec![0xff; 512 * LANES], &vec![MAX_LEVEL; 1024 * 16], &mut sums);
        assert_eq!(sums, [64_512; LANES], "{kernels:?}");
    }
}

#[test]
fn a_product_is_summed_in_the_stated_order() {
    // Accumulators 0 and 16 hold 1e8 and -1e8, which meet first; accumulator 1 holds 1, which would be lost
    // beside 1e8 but is added when that is gone.
    let (mut a, b) = (vec![0.0f32; 64], vec![1.0f32; 64]);
    (a[0], a[16], a[1]) = (1e8, -1e8, 1.0);
    for kernels in Kernels::available() {
        assert_eq!((kernels.dot_f32)(&a, &b), 1.0, "{kernels:?}");
    }
}

proptest! {
    #[test]
    fn every_path_gives_the_bits_of_the_scalar_one(seed: u64, chunks in 1usize..9, rows in 0usize..11) {
        let len = chunks * LANES;
        let (a, b) = (floats(seed, len), floats(seed ^ 0x5555, len));
        let (matrix, query) = (codes(seed, rows * len), codes(seed ^ 0x3333, len));
        let block: Vec<u8> = numbers(seed, len * 8).into_iter().map(|number| number as u8).collect();
        let table: Vec<u8> = numbers(!seed, len * 4).into_iter().map(|number| number as u8 % 64).collect();
        let results = |kernels: &Kernels| {
            let (mut dots, mut sums) = (vec![0; rows], [0; LANES]);
            (kernels.dots_i8)(&matrix, &query, &mut dots);
            (kernels.signs)(&block, &table, &mut sums);
            let singles: Vec<i32> = matrix.chunks(len).map(|row| (kernels.dot_i8)(row, &query)).collect();
            let mut saturated: Vec<f32> = b.iter().map(|float| float.abs().min(9.0)).collect();
            let offsets: Vec<f32> = a.iter().map(|float| float.abs().clamp(0.1, 9.0)).collect();
            (kernels.saturate)(&mut saturated, &block[..len], &offsets, 2.5);
            let saturated: Vec<u32> = saturated.into_iter().map(f32::to_bits).collect();
            ((kernels.dot_f32)(&a, &b).to_bits(), dots, singles, sums, saturated)
        };
        let expected = results(&scalar::KERNELS);
        prop_assert_eq!(&expected.1, &expected.2);
        for kernels in Kernels::available() {
            prop_assert_eq!(&results(kernels), &expected, "{:?}", kernels);
        }
    }
}
