//! Bytes that somebody else owns, perhaps a memory-mapped file, read as numbers where they lie.

use std::ops::Range;
use std::sync::Arc;

use crate::quantize::Quantized;

/// Owned by whoever, as long as this lives.
pub(crate) struct SharedBytes {
    start: *const u8,
    len: usize,
    _owner: Arc<dyn AsRef<[u8]> + Send + Sync>,
}

// SAFETY: the bytes are only read, and their owner is Send and Sync.
unsafe impl Send for SharedBytes {}
// SAFETY: as above.
unsafe impl Sync for SharedBytes {}

impl SharedBytes {
    pub(crate) fn new(owner: Arc<dyn AsRef<[u8]> + Send + Sync>) -> Self {
        let bytes: &[u8] = (*owner).as_ref();
        let (start, len) = (bytes.as_ptr(), bytes.len());
        Self { start, len, _owner: owner }
    }

    pub(crate) fn all(&self) -> &[u8] {
        // SAFETY: a shared borrow of the owner gave these bytes, and the owner neither moves nor is lent mutably as
        // long as `_owner` counts.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }

    /// Bytes as numbers.
    ///
    /// # Panics
    /// If the range is outside, or does not hold whole, aligned numbers.
    pub(crate) fn read<T: Number>(&self, range: &Range<usize>) -> &[T] {
        let bytes = &self.all()[range.clone()];
        // SAFETY: any bits are a valid `T`, by the contract of `Number`.
        let (before, numbers, after) = unsafe { bytes.align_to::<T>() };
        assert!(before.is_empty() && after.is_empty(), "bytes {range:?} are no whole, aligned numbers");
        numbers
    }
}

/// # Safety
/// Any bits must be a valid value, and a value must have no padding.
pub(crate) unsafe trait Number: Copy + 'static {}

// SAFETY: true of primitive numbers.
unsafe impl Number for i8 {}
// SAFETY: as above.
unsafe impl Number for u8 {}
// SAFETY: as above.
unsafe impl Number for u64 {}
// SAFETY: as above.
unsafe impl Number for f32 {}
// SAFETY: two f32, in C's order.
unsafe impl Number for Quantized {}

/// Numbers as the bytes that [`SharedBytes::read`] reads back.
pub(crate) fn bytes_of<T: Number>(numbers: &[T]) -> &[u8] {
    // SAFETY: a `Number` has no padding, so all its bytes are there; the length is that of the numbers.
    unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), size_of_val(numbers)) }
}
