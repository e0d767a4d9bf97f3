//! A usearch graph over a part's eight-bit codes.
//!
//! The graph stores no vectors but documents' numbers: our kernel looks the codes up, so they lie on disk once and are
//! compared by the same SIMD as in a scan (usearch without its SIMD library compares floats one by one). It is built by one thread (concurrent `add` loses vectors),
//! never changed, and searched by no more threads than it was told.

use std::cell::Cell;
use std::ptr;

use parking_lot::{Condvar, Mutex};
use usearch::{Index, IndexOptions, MetricKind, ScalarKind, b1x8};

use crate::VectorError;
use crate::bits::ones;
use crate::kernels::{Kernels, LANES};
use crate::part::Part;
use crate::quantize::Quantized;
use crate::query::Query;

/// Neighbours of a document in the graph.
const CONNECTIVITY: usize = 16;

/// Documents looked at to find a new document's neighbours.
const EXPANSION_ADD: usize = 128;

/// Documents found for a query before the best are scored: at least `WIDTH`, and `PER_HIT` for each neighbour asked.
const WIDTH: usize = 128;
const PER_HIT: usize = 4;

/// What a node stores: a document's number, or this for the query of the thread.
const QUERY: u64 = u64::MAX;

/// Farther than any document: a cosine distance is at most 2.
const NOWHERE: f32 = 4.0;

thread_local! {
    static CURRENT: Cell<*const Query> = const { Cell::new(ptr::null()) };
}

pub(crate) struct Graph {
    index: Index,
    gate: Gate,
}

/// The codes that a graph looks up, as pointers because usearch keeps no lifetimes.
struct Codes {
    codes: *const i8,
    quantized: *const Quantized,
    len: usize,
    stride: usize,
    kernels: &'static Kernels,
}

// SAFETY: the codes are only read; they outlive the graph by the contracts of `build` and `view`.
unsafe impl Send for Codes {}
// SAFETY: as above.
unsafe impl Sync for Codes {}

impl Graph {
    /// The bytes of a graph over the documents of a part.
    pub(crate) fn build(part: &Part) -> Result<Vec<u8>, VectorError> {
        let mut index = new_index(part.count(), 1)?;
        // The borrow of `part` outlives `index`, which is dropped here.
        measure(&mut index, part);
        for (block, word) in part.present.iter().enumerate() {
            for lane in ones(*word) {
                let doc = (block * LANES + lane) as u64;
                index.add(doc, &node(doc)).map_err(failed)?;
            }
        }
        let mut bytes = vec![0; index.serialized_length()];
        index.save_to_buffer(&mut bytes).map_err(failed)?;
        Ok(bytes)
    }

    /// A graph over bytes that [`Graph::build`] made of the same part.
    ///
    /// # Safety
    /// The bytes must be whole, and neither they nor what `part` views may move, change or go away before the graph
    /// is dropped.
    pub(crate) unsafe fn view(bytes: &[u8], part: &Part) -> Result<Self, VectorError> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from) * 2;
        let mut index = new_index(0, threads)?;
        // SAFETY: the caller keeps the bytes.
        unsafe { index.view_from_buffer(bytes) }.map_err(failed)?;
        if index.size() != part.count() {
            return Err(VectorError::Damaged(format!("graph of {} documents", index.size())));
        }
        measure(&mut index, part);
        Ok(Self { index, gate: Gate { free: Mutex::new(threads), freed: Condvar::new() } })
    }

    /// Some of the documents that are nearest to the query and that `wanted` holds, nearest first.
    pub(crate) fn near(
        &self,
        query: &Query,
        k: usize,
        wanted: Option<impl Fn(u32) -> bool>,
    ) -> Option<impl Iterator<Item = u32>> {
        let width = WIDTH.max(k * PER_HIT);
        let _pass = self.gate.pass();
        CURRENT.set(query);
        let matches = match wanted {
            Some(wanted) => self.index.filtered_search(&node(QUERY), width, |doc| wanted(doc as u32)),
            None => self.index.search(&node(QUERY), width),
        };
        CURRENT.set(ptr::null());
        Some(matches.ok()?.keys.into_iter().map(|doc| doc as u32))
    }
}

fn new_index(capacity: usize, threads: usize) -> Result<Index, VectorError> {
    let options = IndexOptions {
        dimensions: 64,
        metric: MetricKind::Hamming,
        quantization: ScalarKind::B1,
        connectivity: CONNECTIVITY,
        expansion_add: EXPANSION_ADD,
        expansion_search: WIDTH,
        multi: false,
    };
    let index = Index::new(&options).map_err(failed)?;
    index.reserve_capacity_and_threads(capacity, threads).map_err(failed)?;
    Ok(index)
}

/// Puts the distance of codes in the place of the metric that usearch gives an index when it is made or viewed.
fn measure(index: &mut Index, part: &Part) {
    let codes = Codes {
        codes: part.codes.as_ptr(),
        quantized: part.quantized.as_ptr(),
        len: part.quantized.len(),
        stride: part.stride,
        kernels: Kernels::best(),
    };
    let distance = move |a: *const b1x8, b: *const b1x8| {
        // SAFETY: every vector of the index is a node of 8 bytes, perhaps not aligned.
        let (a, b) = unsafe { (a.cast::<u64>().read_unaligned(), b.cast::<u64>().read_unaligned()) };
        codes.distance(a, b)
    };
    index.change_metric::<b1x8>(Box::new(distance));
}

fn node(doc: u64) -> [b1x8; 8] {
    doc.to_le_bytes().map(b1x8)
}

impl Codes {
    /// 1 - cosine, as the codes have it.
    fn distance(&self, a: u64, b: u64) -> f32 {
        match (self.get(a), self.get(b)) {
            (Some((a, a_scale)), Some((b, b_scale))) => {
                1.0 - (self.kernels.dot_i8)(a, b) as f32 * (a_scale * b_scale)
            }
            _ => NOWHERE,
        }
    }

    fn get(&self, node: u64) -> Option<(&[i8], f32)> {
        if node == QUERY {
            // SAFETY: `near` has set the query of this thread for as long as it searches, or it is null.
            let query = unsafe { CURRENT.get().as_ref() }?;
            return Some((query.codes(), query.scale()));
        }
        let doc = usize::try_from(node).ok().filter(|doc| *doc < self.len)?;
        // SAFETY: `doc` is below the number of rows, which outlive the graph by the contracts of its makers.
        unsafe {
            let codes = std::slice::from_raw_parts(self.codes.add(doc * self.stride), self.stride);
            Some((codes, (*self.quantized.add(doc)).scale))
        }
    }
}

/// Lets in as many threads as the index has working memory for.
struct Gate {
    free: Mutex<usize>,
    freed: Condvar,
}

struct Pass<'a>(&'a Gate);

impl Gate {
    fn pass(&self) -> Pass<'_> {
        let mut free = self.free.lock();
        self.freed.wait_while(&mut free, |free| *free == 0);
        *free -= 1;
        Pass(self)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        *self.0.free.lock() += 1;
        self.0.freed.notify_one();
    }
}

fn failed(error: impl std::fmt::Display) -> VectorError {
    VectorError::Graph(error.to_string())
}
