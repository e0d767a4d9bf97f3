//! Exact and approximate nearest neighbours of unit vectors. All SIMD and `unsafe` of memcore is here.
