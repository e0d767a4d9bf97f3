//! One file of named sections, each with its checksum: how what is sealed lies on disk.
//!
//! Layout: a header, a table of sections, then the sections, each at a multiple of [`ALIGNMENT`] so that a mapped
//! bundle is read where it lies. All numbers are little-endian. Bytes that are not exactly those of a finished
//! bundle are refused with [`ErrorKind::Corruption`](crate::ErrorKind).

use std::ops::Range;

pub use tantivy::directory::OwnedBytes;

use crate::error::{Error, Result};

/// Sections start at multiples of this many bytes.
pub const ALIGNMENT: usize = 64;

const MAGIC: [u8; 8] = *b"memcore\x01";

/// Magic, bytes of the table, checksum of the table.
const HEADER: usize = 16;

/// A bundle that is being put together.
#[derive(Default)]
pub struct Builder {
    sections: Vec<(String, Vec<u8>)>,
}

impl Builder {
    /// Adds a section; names are distinct and have at most 255 bytes.
    pub fn add(&mut self, name: impl Into<String>, bytes: Vec<u8>) {
        let name = name.into();
        assert!(name.len() <= 255, "a section's name has at most 255 bytes, not {}", name.len());
        assert!(self.sections.iter().all(|(other, _)| *other != name), "two sections are named {name:?}");
        self.sections.push((name, bytes));
    }

    /// The bytes of the file.
    pub fn finish(self) -> Vec<u8> {
        let table_length: usize = self.sections.iter().map(|(name, _)| 1 + name.len() + 20).sum();
        let mut starts = Vec::new();
        let mut end = HEADER + table_length;
        for (_, bytes) in &self.sections {
            starts.push(end.next_multiple_of(ALIGNMENT));
            end = end.next_multiple_of(ALIGNMENT) + bytes.len();
        }
        let mut table = Vec::with_capacity(table_length);
        for ((name, bytes), start) in self.sections.iter().zip(&starts) {
            table.push(name.len() as u8);
            table.extend(name.as_bytes());
            table.extend((*start as u64).to_le_bytes());
            table.extend((bytes.len() as u64).to_le_bytes());
            table.extend(crc32fast::hash(bytes).to_le_bytes());
        }
        let mut file = Vec::with_capacity(end);
        file.extend(MAGIC);
        file.extend((table.len() as u32).to_le_bytes());
        file.extend(crc32fast::hash(&table).to_le_bytes());
        file.extend(table);
        for ((_, bytes), start) in self.sections.into_iter().zip(starts) {
            file.resize(start, 0);
            file.extend(bytes);
        }
        file
    }
}

/// A finished bundle, every byte of it checked.
#[derive(Debug, Clone)]
pub struct Bundle {
    bytes: OwnedBytes,
    sections: Vec<(String, Range<usize>)>,
}

impl Bundle {
    /// Checks `bytes`, which may be a mapped file.
    pub fn open(bytes: OwnedBytes) -> Result<Self> {
        let sections = read_table(&bytes)?;
        Ok(Self { bytes, sections })
    }

    /// Names of the sections, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.sections.iter().map(|(name, _)| name.as_str())
    }

    /// The bytes of a section, shared with the bundle.
    pub fn section(&self, name: &str) -> Result<OwnedBytes> {
        let found = self.sections.iter().find(|(other, _)| other == name);
        let (_, range) = found.ok_or_else(|| damaged(&format!("no section {name:?}")))?;
        Ok(self.bytes.slice(range.clone()))
    }
}

fn read_table(bytes: &[u8]) -> Result<Vec<(String, Range<usize>)>> {
    let mut header = Reader(bytes);
    if header.take(MAGIC.len())? != MAGIC {
        return Err(damaged("not a bundle of this version"));
    }
    let (length, checksum) = (header.u32()? as usize, header.u32()?);
    let table = header.take(length)?;
    if crc32fast::hash(table) != checksum {
        return Err(damaged("the table of sections is not what was written"));
    }
    let mut table = Reader(table);
    let mut sections = Vec::new();
    let mut end = HEADER + length;
    while !table.0.is_empty() {
        let (name, range) = table.section(bytes)?;
        let padding = bytes.get(end..range.start).ok_or_else(|| damaged("sections overlap"))?;
        if range.start != end.next_multiple_of(ALIGNMENT) || padding.iter().any(|byte| *byte != 0) {
            return Err(damaged(&format!("section {name:?} is out of place")));
        }
        end = range.end;
        sections.push((name, range));
    }
    if end != bytes.len() {
        return Err(damaged("bytes after the last section"));
    }
    Ok(sections)
}

/// Takes numbers and strings off the front of bytes.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(|| damaged("cut short"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk().ok_or_else(|| damaged("cut short"))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn length(&mut self) -> Result<usize> {
        usize::try_from(u64::from_le_bytes(self.array()?)).map_err(|_| damaged("a length is too large"))
    }

    fn section(&mut self, bytes: &[u8]) -> Result<(String, Range<usize>)> {
        let [name_length] = self.array()?;
        let name = self.take(usize::from(name_length))?;
        let name = String::from_utf8(name.to_vec()).map_err(|_| damaged("a section's name is not text"))?;
        let (start, length, checksum) = (self.length()?, self.length()?, self.u32()?);
        let range = start..start.checked_add(length).ok_or_else(|| damaged("a length is too large"))?;
        let section = bytes.get(range.clone()).ok_or_else(|| damaged("cut short"))?;
        if crc32fast::hash(section) != checksum {
            return Err(damaged(&format!("section {name:?} is not what was written")));
        }
        Ok((name, range))
    }
}

pub(super) fn damaged(what: &str) -> Error {
    Error::corruption(format!("damaged search bundle: {what}"))
}
