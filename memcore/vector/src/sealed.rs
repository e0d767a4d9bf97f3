//! Vectors that never change, read where their bytes lie.
//!
//! The bytes are a header and sections at multiples of 64, whose places follow from the header's numbers alone. One
//! checksum covers everything and is checked at opening, for a graph is trusted by the library that reads it.

use std::ops::Range;
use std::sync::Arc;

use crate::bits::BitSet;
use crate::bytes::{Number, SharedBytes, bytes_of};
use crate::graph::Graph;
use crate::kernels::padded;
use crate::part::{Found, Mode, Part};
use crate::quantize::Quantized;
use crate::query::Query;
use crate::signs::{SignCodes, Signs, block_size};
use crate::unit::{MAX_DIMENSION, check_dimension};
use crate::{VectorError, Vectors};

const MAGIC: [u8; 8] = *b"memvecs\0";
const VERSION: u64 = 1;

/// Magic, version, checksum of all that follows it, then dimension, documents, rows, blocks of sign codes, and bytes
/// of graph, 8 bytes each.
const HEADER: usize = 64;
const CHECKED_FROM: usize = 24;

const ALIGNMENT: usize = 64;

/// How vectors are sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealOptions {
    /// Vectors from which sign codes are written. Fewer are always searched exactly.
    pub signs_from: usize,
    /// Vectors from which a graph is built and preferred to sign codes. Sign codes won wherever it was measured (up
    /// to 20,000 vectors), and a graph takes milliseconds for each vector, so there is none by default.
    pub graph_from: usize,
}

impl Default for SealOptions {
    fn default() -> Self {
        Self { signs_from: 2_048, graph_from: usize::MAX }
    }
}

/// Where everything lies.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Layout {
    dim: usize,
    len: usize,
    present: Range<usize>,
    rows: Range<usize>,
    codes: Range<usize>,
    quantized: Range<usize>,
    weights: Range<usize>,
    signs: Range<usize>,
    graph: Range<usize>,
    total: usize,
}

impl Layout {
    /// `None` if the numbers are no vectors' or do not fit into memory.
    fn new(numbers: [u64; 5]) -> Option<Self> {
        let [dim, len, rows, blocks, graph] = numbers;
        let (dim, len) = (usize::try_from(dim).ok()?, usize::try_from(len).ok()?);
        check_dimension(dim, MAX_DIMENSION).ok()?;
        let stride = padded(dim) as u64;
        let (present, weights) = (len.div_ceil(64) as u64, if blocks > 0 { stride } else { 0 });
        if rows > len as u64 || len > u32::MAX as usize || !(blocks == 0 || blocks == rows.div_ceil(64)) {
            return None;
        }
        let mut at = HEADER as u64;
        let mut section = |count: u64, size: u64| {
            let end = at.checked_add(count.checked_mul(size)?)?;
            let range = usize::try_from(at).ok()?..usize::try_from(end).ok()?;
            at = end.checked_next_multiple_of(ALIGNMENT as u64)?;
            Some(range)
        };
        Some(Self {
            dim,
            len,
            present: section(present, 8)?,
            rows: section(rows, 4 * stride)?,
            codes: section(rows, stride)?,
            quantized: section(rows, size_of::<Quantized>() as u64)?,
            weights: section(weights, 4)?,
            signs: section(blocks, block_size(stride as usize) as u64)?,
            graph: section(graph, 1)?,
            total: usize::try_from(at).ok()?,
        })
    }
}

/// The vectors of a part that is sealed.
pub struct SealedVectors {
    /// Points into `bytes`, so it is dropped first.
    graph: Option<Graph>,
    layout: Layout,
    bytes: SharedBytes,
}

impl Vectors {
    /// The bytes of these vectors, for [`SealedVectors::open`].
    pub fn seal(&self, options: SealOptions) -> Result<Vec<u8>, VectorError> {
        let part = self.part();
        let signs = (self.count() >= options.signs_from.max(1)).then(|| SignCodes::of(&part));
        let signs = signs.as_ref().map(SignCodes::view);
        let graph = if self.count() >= options.graph_from.max(1) { Graph::build(&part)? } else { Vec::new() };
        let blocks = signs.map_or(0, |signs| signs.blocks.len() / block_size(part.stride));
        let numbers = [self.dim(), self.len(), part.quantized.len(), blocks, graph.len()].map(|n| n as u64);
        let layout = Layout::new(numbers).ok_or(VectorError::Damaged("too large".into()))?;
        let mut bytes = vec![0; layout.total];
        let mut write = |range: &Range<usize>, from: &[u8]| bytes[range.clone()].copy_from_slice(from);
        write(&layout.present, bytes_of(part.present));
        write(&layout.rows, bytes_of(part.rows));
        write(&layout.codes, bytes_of(part.codes));
        write(&layout.quantized, bytes_of(part.quantized));
        write(&layout.weights, bytes_of(signs.map_or(&[], |signs| signs.weights)));
        write(&layout.signs, signs.map_or(&[], |signs| signs.blocks));
        write(&layout.graph, &graph);
        write_header(&mut bytes, numbers);
        Ok(bytes)
    }
}

fn write_header(bytes: &mut [u8], numbers: [u64; 5]) {
    for (nth, number) in numbers.into_iter().enumerate() {
        bytes[CHECKED_FROM + 8 * nth..][..8].copy_from_slice(&number.to_le_bytes());
    }
    let crc = u64::from(crc32fast::hash(&bytes[CHECKED_FROM..]));
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..16].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..24].copy_from_slice(&crc.to_le_bytes());
}

impl SealedVectors {
    /// Opens what [`Vectors::seal`] gave, without a copy. The bytes must start at a multiple of 8.
    pub fn open(bytes: Arc<dyn AsRef<[u8]> + Send + Sync>) -> Result<Self, VectorError> {
        let bytes = SharedBytes::new(bytes);
        let layout = checked(bytes.all()).map_err(|what| VectorError::Damaged(what.into()))?;
        let mut sealed = Self { graph: None, layout, bytes };
        let part = sealed.part();
        let rows = part.quantized.len();
        let last = part.present.iter().rposition(|word| *word != 0);
        let end = last.map_or(0, |at| 64 * at + 64 - part.present[at].leading_zeros() as usize);
        if end > rows {
            return Err(VectorError::Damaged(format!("document {} has no row", end - 1)));
        }
        let graph = sealed.bytes.read(&sealed.layout.graph);
        if !graph.is_empty() {
            // SAFETY: the checksum says that the bytes are whole; they stay where they are and as they are as long
            // as `bytes` lives, which is longer than `graph`.
            sealed.graph = Some(unsafe { Graph::view(graph, &part) }?);
        }
        Ok(sealed)
    }

    pub fn dim(&self) -> usize {
        self.layout.dim
    }

    /// How many documents there are, with a vector or without.
    pub fn len(&self) -> usize {
        self.layout.len
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many documents have a vector.
    pub fn count(&self) -> usize {
        self.part().count()
    }

    pub fn has(&self, doc: u32) -> bool {
        self.part().has(doc)
    }

    pub fn get(&self, doc: u32) -> Option<&[f32]> {
        self.part().get(doc)
    }

    /// See [`Part::score`].
    pub fn score(&self, doc: u32, query: &Query) -> Option<f32> {
        self.part().score(doc, query)
    }

    /// See [`Part::search`].
    pub fn search(
        &self,
        query: &Query,
        k: usize,
        allowed: Option<&BitSet>,
        mode: Mode,
        key: impl Fn(u32) -> u64,
    ) -> Found {
        self.part().search(query, k, allowed, mode, key)
    }

    pub fn part(&self) -> Part<'_> {
        let layout = &self.layout;
        let weights = self.read(&layout.weights);
        let blocks = self.read(&layout.signs);
        Part {
            dim: layout.dim,
            stride: padded(layout.dim),
            len: layout.len,
            present: self.read(&layout.present),
            rows: self.read(&layout.rows),
            codes: self.read(&layout.codes),
            quantized: self.read(&layout.quantized),
            signs: (!weights.is_empty()).then_some(Signs { weights, blocks }),
            graph: self.graph.as_ref(),
        }
    }

    fn read<T: Number>(&self, range: &Range<usize>) -> &[T] {
        self.bytes.read(range)
    }
}

/// The layout of bytes that are whole, or what is wrong with them.
fn checked(bytes: &[u8]) -> Result<Layout, &'static str> {
    if bytes.len() < HEADER || bytes[..8] != MAGIC {
        return Err("no header");
    }
    if !bytes.as_ptr().addr().is_multiple_of(8) {
        return Err("not at a multiple of 8");
    }
    let number =
        |at: usize| bytes[at..at + 8].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
    if number(8) != VERSION {
        return Err("of another version");
    }
    let layout = Layout::new([24, 32, 40, 48, 56].map(number)).ok_or("impossible sizes")?;
    if layout.total != bytes.len() {
        return Err("not of the length that the header says");
    }
    if number(16) != u64::from(crc32fast::hash(&bytes[CHECKED_FROM..])) {
        return Err("checksum");
    }
    Ok(layout)
}
