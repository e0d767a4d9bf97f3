//! How a sealed part is built: document by document, without threads, in RAM.

use std::collections::BTreeSet;
use std::path::PathBuf;

use tantivy::directory::RamDirectory;
use tantivy::schema::Field;
use tantivy::tokenizer::{PreTokenizedString, Token};
use tantivy::{Directory, IndexSettings, SegmentReader, SingleSegmentIndexWriter, TantivyDocument};

use super::{CEILINGS, DOCUMENTS, FILES, INFO, Packed, VERSION, schema};
use crate::error::{Error, Result};
use crate::index::KINDS;
use crate::index::bundle::Builder;
use crate::index::list::{Ceiling, LONG};
use crate::index::part::Facts;

/// Bytes that size the writer's table of terms; it grows beyond them.
const BUDGET: usize = 1 << 20;

/// Puts a sealed part together.
pub(in crate::index) struct Writer {
    facts: Facts,
    postings: u64,
    directory: RamDirectory,
    segment: SingleSegmentIndexWriter,
}

impl Writer {
    pub(in crate::index) fn new() -> Result<Self> {
        let directory = RamDirectory::create();
        let settings = IndexSettings { docstore_compress_dedicated_thread: false, ..Default::default() };
        let builder = tantivy::Index::builder().schema(schema()).settings(settings);
        let segment =
            builder.single_segment_index_writer(directory.clone(), BUDGET).map_err(|e| failed(&e))?;
        Ok(Self { facts: Facts::default(), postings: 0, directory, segment })
    }

    /// Adds document `document` of `facts`, behind the others.
    pub(in crate::index) fn add<'a>(
        &mut self,
        facts: &Facts,
        document: usize,
        terms: impl Iterator<Item = (&'a str, u32)>,
    ) -> Result<()> {
        let kind = facts.kinds[document];
        self.facts.add(facts.keys[document], kind, facts.births[document], facts.lengths[document]);
        let mut tokens = Vec::new();
        for (term, frequency) in terms {
            self.postings += 1;
            let token = Token { text: term.to_owned(), position: 0, ..Token::default() };
            tokens.extend((0..frequency).map(|_| token.clone()));
        }
        let text = PreTokenizedString { text: String::new(), tokens };
        let mut added = TantivyDocument::new();
        added.add_pre_tokenized_text(Field::from_field_id(u32::from(kind)), text);
        self.segment.add_document(added).map_err(|error| failed(&error))
    }

    /// The sections of the finished part.
    pub(in crate::index) fn finish(self, analyzer: &str) -> Result<Builder> {
        let Self { facts, postings, directory, segment } = self;
        let index = segment.finalize().map_err(|error| failed(&error))?;
        let mut info = VERSION.to_le_bytes().to_vec();
        info.extend(postings.to_le_bytes());
        info.extend(analyzer.as_bytes());
        let mut bundle = Builder::default();
        bundle.add(INFO, info);
        bundle.add(DOCUMENTS, documents(&facts));
        bundle.add(CEILINGS, ceilings(&index, &facts.lengths).map_err(|error| failed(&error))?);
        for file in files(&index).map_err(|error| failed(&error))? {
            if directory.exists(&file).map_err(|error| failed(&error))? {
                let bytes = directory.atomic_read(&file).map_err(|error| failed(&error))?;
                bundle.add(format!("{FILES}{}", file.display()), bytes);
            }
        }
        Ok(bundle)
    }
}

fn failed(error: &dyn std::error::Error) -> Error {
    Error::internal(format!("sealing a search bundle failed: {error}"))
}

fn documents(facts: &Facts) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(facts.keys.iter().flat_map(|key| key.to_le_bytes()));
    bytes.extend(facts.births.iter().flat_map(|birth| birth.to_le_bytes()));
    bytes.extend(facts.lengths.iter().flat_map(|length| length.to_le_bytes()));
    bytes.extend(&facts.kinds);
    bytes
}

/// Names of the files that a segment may have, and of the one that describes it.
fn files(index: &tantivy::Index) -> tantivy::Result<BTreeSet<PathBuf>> {
    let mut files: BTreeSet<PathBuf> = index.load_metas()?.list_segment_files().into_iter().collect();
    files.insert("meta.json".into());
    Ok(files)
}

fn ceilings(index: &tantivy::Index, lengths: &[u32]) -> tantivy::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for segment in index.searchable_segments()? {
        let reader = SegmentReader::open(&segment)?;
        for kind in 0..KINDS as u32 {
            let field = reader.inverted_index(Field::from_field_id(kind))?;
            let mut terms = field.terms().stream()?;
            while terms.advance() {
                let packed = Packed { field: &field, info: terms.value().clone() };
                if packed.postings() < LONG {
                    continue;
                }
                let ceiling = Ceiling::of(packed.unpack().iter(), lengths);
                bytes.extend(kind.to_le_bytes());
                bytes.extend(packed.start().to_le_bytes());
                bytes.extend(ceiling.numbers().iter().flat_map(|number| number.to_le_bytes()));
            }
        }
    }
    Ok(bytes)
}
