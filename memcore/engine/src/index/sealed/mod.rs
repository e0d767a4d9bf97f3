//! A sealed part: documents and postings in one bundle, never changed again. Postings and the dictionary of terms
//! are a tantivy segment with one text field per kind; documents and the bounds of long lists are sections of ours.
//!
//! All use of tantivy is in this module, but for the type of shared bytes. A bundle is checked when it is opened,
//! so reading it afterwards cannot fail but by a bug.

mod directory;
mod write;

use std::sync::{Arc, OnceLock};

use tantivy::postings::TermInfo;
use tantivy::schema::{Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::{InvertedIndexReader, SegmentReader};

use super::KINDS;
use super::bundle::{Bundle, damaged};
use super::list::{Ceiling, Columns, List, densified, is_dense};
use super::part::{Facts, Forward};
use crate::error::{Error, Result};
use directory::BundleDirectory;
pub(super) use write::Writer;

/// Layout of the sections; another one is refused.
const VERSION: u32 = 1;

const INFO: &str = "words";
const DOCUMENTS: &str = "words/documents";
const CEILINGS: &str = "words/ceilings";
/// What a tantivy file's section is named by, before the file's own name.
const FILES: &str = "words/segment/";

/// Bytes of a document in [`DOCUMENTS`]: columns of keys, births, lengths and kinds.
const DOCUMENT: usize = 8 + 8 + 4 + 1;

/// Bytes of an entry in [`CEILINGS`]: kind, start of the list, then the ceiling's numbers.
const ENTRY: usize = 4 + 8 + 4 * Ceiling::NUMBERS;

/// What reading an open bundle relies on.
const CHECKED: &str = "a bundle whose checksums were right is readable";

/// A sealed part.
pub struct Sealed {
    pub(super) facts: Facts,
    /// One for each kind.
    shelves: Vec<Shelf>,
    /// In order of kinds and starts.
    long: Vec<Long>,
    postings: usize,
}

/// Lists of one kind.
struct Shelf {
    field: Arc<InvertedIndexReader>,
    /// In order of terms: lists that a search has asked for, unpacked once for all.
    unpacked: Box<[OnceLock<Box<Unpacked>>]>,
}

struct Unpacked {
    columns: Columns<'static>,
    ceiling: Option<Ceiling>,
    dense: Option<Vec<u8>>,
}

/// What only long lists have.
struct Long {
    kind: u8,
    /// First byte of the postings in their field, which tells lists apart.
    start: u64,
    ceiling: Ceiling,
}

/// A document of a sealed part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Document {
    pub key: u64,
    pub birth: u64,
    pub length: u32,
    pub kind: u8,
}

impl Sealed {
    /// Opens what [`Frozen::seal`](super::Frozen::seal) or [`Merge::run`](super::Merge::run) built with the same
    /// analyzer.
    pub fn open(bundle: &Bundle, analyzer: &str) -> Result<Self> {
        let postings = read_info(&bundle.section(INFO)?, analyzer)?;
        let facts = read_documents(&bundle.section(DOCUMENTS)?)?;
        let long = read_ceilings(&bundle.section(CEILINGS)?)?;
        let reader = open_segment(bundle).map_err(|error| damaged(&error.to_string()))?;
        if reader.max_doc() as usize != facts.len() {
            return Err(damaged("the words are those of other documents"));
        }
        let shelves = (0..KINDS as u32).map(|kind| Shelf::open(&reader, kind));
        let shelves = shelves.collect::<tantivy::Result<_>>().map_err(|error| damaged(&error.to_string()))?;
        Ok(Self { facts, shelves, long, postings })
    }

    /// Documents in order of their numbers.
    pub fn documents(&self) -> impl ExactSizeIterator<Item = Document> {
        let Facts { keys, births, lengths, kinds } = &self.facts;
        (0..self.facts.len()).map(|document| Document {
            key: keys[document],
            birth: births[document],
            length: lengths[document],
            kind: kinds[document],
        })
    }

    pub(super) fn postings(&self) -> usize {
        self.postings
    }

    pub(super) fn list(&self, kind: u8, term: &str) -> Option<List<'_>> {
        let Shelf { field, unpacked } = &self.shelves[usize::from(kind)];
        if unpacked.is_empty() {
            return None;
        }
        let terms = field.terms();
        let ordinal = terms.term_ord(term).expect(CHECKED)?;
        let Unpacked { columns, ceiling, dense } = &**unpacked[ordinal as usize].get_or_init(|| {
            let info = terms.get(term).expect(CHECKED).expect("a term that has a place is there");
            Box::new(self.unpacked(kind, &Packed { field, info }))
        });
        Some(List::plain(&columns.documents, &columns.frequencies, ceiling.as_ref(), dense.as_deref()))
    }

    fn unpacked(&self, kind: u8, packed: &Packed) -> Unpacked {
        let (columns, documents) = (packed.unpack(), self.facts.len());
        let place = (kind, packed.start());
        let long = self.long.binary_search_by_key(&place, |long| (long.kind, long.start));
        let ceiling = long.ok().map(|found| self.long[found].ceiling.clone());
        let dense = ceiling.is_some() && is_dense(columns.documents.len(), documents);
        let dense = dense.then(|| densified(&columns, documents)).flatten();
        Unpacked { columns, ceiling, dense }
    }

    /// Distinct terms of one kind, with their lists.
    pub(super) fn each(&self, kind: u8, mut visit: impl FnMut(&str, List)) {
        let field = &self.shelves[usize::from(kind)].field;
        let mut terms = field.terms().stream().expect(CHECKED);
        while terms.advance() {
            let term = std::str::from_utf8(terms.key()).expect(CHECKED);
            let packed = Packed { field, info: terms.value().clone() };
            visit(term, List::packed(packed));
        }
    }

    /// Every document's terms.
    pub(super) fn forward(&self) -> Forward {
        let mut names = Vec::new();
        let mut postings = Vec::with_capacity(self.postings);
        for kind in 0..KINDS as u8 {
            self.each(kind, |term, list| {
                let number = names.len() as u32;
                names.push(term.into());
                postings.extend(list.columns().iter().map(|(document, count)| (document, number, count)));
            });
        }
        postings.sort_unstable();
        let terms = postings.iter().map(|(_, number, frequency)| (*number, *frequency)).collect();
        let documents = 0..self.facts.len() as u32;
        let ends =
            documents.map(|document| postings.partition_point(|(other, ..)| *other <= document)).collect();
        Forward { names, terms, ends }
    }
}

impl Shelf {
    fn open(reader: &SegmentReader, kind: u32) -> tantivy::Result<Self> {
        let field = reader.inverted_index(Field::from_field_id(kind))?;
        let unpacked = (0..field.terms().num_terms()).map(|_| OnceLock::new()).collect();
        Ok(Self { field, unpacked })
    }
}

/// A list as tantivy keeps it.
pub(super) struct Packed<'a> {
    field: &'a InvertedIndexReader,
    info: TermInfo,
}

impl Packed<'_> {
    pub(super) fn postings(&self) -> usize {
        self.info.doc_freq as usize
    }

    pub(super) fn unpack(&self) -> Columns<'static> {
        let read = IndexRecordOption::WithFreqs;
        let mut blocks = self.field.read_block_postings_from_terminfo(&self.info, read).expect(CHECKED);
        let mut documents = Vec::with_capacity(self.postings());
        let mut frequencies = Vec::with_capacity(self.postings());
        while !blocks.docs().is_empty() {
            documents.extend_from_slice(blocks.docs());
            frequencies.extend_from_slice(blocks.freqs());
            blocks.advance();
        }
        Columns { documents: documents.into(), frequencies: frequencies.into() }
    }

    /// First byte of the postings in their field.
    fn start(&self) -> u64 {
        self.info.postings_range.start as u64
    }
}

fn schema() -> Schema {
    let mut schema = Schema::builder();
    let indexing = TextFieldIndexing::default()
        .set_tokenizer("raw")
        .set_fieldnorms(false)
        .set_index_option(IndexRecordOption::WithFreqs);
    for kind in 0..KINDS {
        let options = TextOptions::default().set_indexing_options(indexing.clone());
        schema.add_text_field(&kind.to_string(), options);
    }
    schema.build()
}

fn open_segment(bundle: &Bundle) -> tantivy::Result<SegmentReader> {
    let index = tantivy::Index::open(BundleDirectory::new(bundle, FILES))?;
    let segments = index.searchable_segments()?;
    let [segment] = &segments[..] else {
        return Err(tantivy::TantivyError::InternalError(format!("{} segments", segments.len())));
    };
    if index.schema() != schema() {
        return Err(tantivy::TantivyError::SchemaError("not the fields of a words index".to_owned()));
    }
    SegmentReader::open(segment)
}

/// Postings in the segment.
fn read_info(info: &[u8], analyzer: &str) -> Result<usize> {
    let (version, info) = info.split_first_chunk().ok_or_else(|| damaged("no version"))?;
    let version = u32::from_le_bytes(*version);
    if version != VERSION {
        return Err(Error::corruption(format!("search bundle of version {version}, not {VERSION}")));
    }
    let (postings, name) = info.split_first_chunk().ok_or_else(|| damaged("no number of postings"))?;
    if name != analyzer.as_bytes() {
        let name = String::from_utf8_lossy(name);
        return Err(Error::corruption(format!("search bundle of analyzer {name:?}, not {analyzer:?}")));
    }
    usize::try_from(u64::from_le_bytes(*postings)).map_err(|_| damaged("too many postings"))
}

fn read_documents(bytes: &[u8]) -> Result<Facts> {
    let count = bytes.len() / DOCUMENT;
    if count * DOCUMENT != bytes.len() {
        return Err(damaged("documents are cut short"));
    }
    let (keys, rest) = bytes.split_at(8 * count);
    let (births, rest) = rest.split_at(8 * count);
    let (lengths, kinds) = rest.split_at(4 * count);
    if kinds.iter().any(|kind| usize::from(*kind) >= KINDS) {
        return Err(damaged("a document is of no known kind"));
    }
    let wide = |column: &[u8]| column.as_chunks().0.iter().copied().map(u64::from_le_bytes).collect();
    let births: Vec<u64> = wide(births);
    if !births.is_sorted() {
        return Err(damaged("documents are out of order"));
    }
    let lengths = lengths.as_chunks().0.iter().copied().map(u32::from_le_bytes).collect();
    Ok(Facts { keys: wide(keys), births, lengths, kinds: kinds.to_vec() })
}

fn read_ceilings(bytes: &[u8]) -> Result<Vec<Long>> {
    let (entries, rest) = bytes.as_chunks::<ENTRY>();
    if !rest.is_empty() {
        return Err(damaged("bounds are cut short"));
    }
    Ok(entries.iter().map(read_entry).collect())
}

fn read_entry(entry: &[u8; ENTRY]) -> Long {
    let mut words = entry.as_chunks().0.iter().copied().map(u32::from_le_bytes);
    let mut next = || words.next().unwrap_or_default();
    let kind = next() as u8;
    let start = u64::from(next()) | u64::from(next()) << 32;
    let ceiling = Ceiling::from_numbers(std::array::from_fn(|_| next()));
    Long { kind, start, ceiling }
}
