//! Vectors to search, the same for the same seed.

#![allow(dead_code, reason = "each test uses a part")]

/// Numbers that look random.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Within 0..1, never 0.
    pub fn unit(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Standard normal (Box and Muller).
    pub fn normal(&mut self) -> f32 {
        let radius = (-2.0 * self.unit().ln()).sqrt();
        (radius * (std::f64::consts::TAU * self.unit()).cos()) as f32
    }

    pub fn vector(&mut self, dim: usize) -> Vec<f32> {
        (0..dim).map(|_| self.normal()).collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Every direction alike: neighbours are hardly nearer than others.
    Noise,
    /// Around one point in `n / 50`, as far from it as that is from the next.
    Clusters,
    /// As embeddings after a principal component analysis: later components are smaller, and the mean is not 0.
    Sloped,
}

pub const SHAPES: [Shape; 3] = [Shape::Noise, Shape::Clusters, Shape::Sloped];

/// `count` vectors and `queries` more of the same kind, not scaled.
pub fn vectors(
    shape: Shape,
    count: usize,
    queries: usize,
    dim: usize,
    seed: u64,
) -> (Vec<Vec<f32>>, Vec<Vec<f32>>) {
    let mut random = Random::new(seed);
    let centres: Vec<Vec<f32>> = (0..count / 50 + 1).map(|_| random.vector(dim)).collect();
    let mut all = Vec::with_capacity(count + queries);
    for _ in 0..count + queries {
        let mut vector = random.vector(dim);
        match shape {
            Shape::Noise => (),
            Shape::Clusters => {
                let centre = &centres[random.next() as usize % centres.len()];
                vector.iter_mut().zip(centre).for_each(|(x, centre)| *x = *x * 0.7 + centre);
            }
            Shape::Sloped => {
                let slope = |at: usize| 1.0 / (1.0 + at as f32).sqrt();
                vector.iter_mut().enumerate().for_each(|(at, x)| *x = (*x + 0.5) * slope(at));
            }
        }
        all.push(vector);
    }
    let queries = all.split_off(count);
    (all, queries)
}
