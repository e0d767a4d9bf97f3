//! Rows that start at a multiple of 64 bytes, so that no load of 64 crosses a cache line.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use crate::bytes::Number;

const LINE: usize = 64;

#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; LINE]);

/// A vector of numbers whose length is a whole number of cache lines.
#[derive(Debug, Clone)]
pub(crate) struct Aligned<T> {
    lines: Vec<Line>,
    numbers: PhantomData<T>,
}

impl<T> Default for Aligned<T> {
    fn default() -> Self {
        Self { lines: Vec::new(), numbers: PhantomData }
    }
}

impl<T: Number> Aligned<T> {
    /// `len` zeros.
    pub(crate) fn zeros(len: usize) -> Self {
        let mut zeros = Self::default();
        zeros.resize(len);
        zeros
    }

    /// Adds zeros or cuts. `len` must fill whole lines.
    pub(crate) fn resize(&mut self, len: usize) {
        let bytes = len * size_of::<T>();
        assert!(bytes.is_multiple_of(LINE));
        self.lines.resize(bytes / LINE, Line([0; LINE]));
    }
}

impl<T: Number> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let len = self.lines.len() * LINE / size_of::<T>();
        // SAFETY: lines are aligned for any number, any bits are one by the contract of `Number`, and the length
        // is what the lines hold.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), len) }
    }
}

impl<T: Number> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        let len = self.lines.len() * LINE / size_of::<T>();
        // SAFETY: as above, and bytes have no invalid values that a number could leave behind.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), len) }
    }
}
