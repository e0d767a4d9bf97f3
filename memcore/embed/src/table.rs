//! The file of token rows, read where it lies. Its layout is in `distill/distill.py`.
//!
//! Opening checks the checksum and every length, then makes an index of a few hundred kilobytes; tokens and rows stay
//! in the given bytes. After that no look-up can fail.

use std::borrow::Cow;
use std::ops::Range;

const MAGIC: &[u8] = b"memembed";
const FORMAT: u32 = 1;
const DIGEST: usize = 32;

/// Row numbers and an empty mark share 16 bits of a slot.
const MOST_ROWS: usize = u16::MAX as usize;
const MOST_DIMENSIONS: usize = 4096;

/// Bytes. Bounds the search at each place of a word.
const LONGEST_TOKEN: usize = 32;

/// So large that no table has it, so small that no sum of rows overflows.
const LARGEST_SCALE: f32 = 1e6;

/// Why bytes are not a table.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("embedding table refused: {0}")]
pub struct TableError(&'static str);

const WRONG_LENGTH: TableError = TableError("its length is not what its header says");

/// Tokens and their rows. Continuations carry their `##`.
pub(crate) struct Table {
    bytes: Cow<'static, [u8]>,
    dimensions: usize,
    name: String,
    digest: String,
    scales: usize,
    rows: usize,
    index: Index,
}

impl Table {
    pub(crate) fn open(bytes: Cow<'static, [u8]>) -> Result<Self, TableError> {
        let mut reader = Reader { bytes: &bytes, at: 0 };
        if reader.take(MAGIC.len())? != MAGIC {
            return Err(TableError("not an embedding table"));
        }
        if reader.number()? != FORMAT {
            return Err(TableError("unknown format version"));
        }
        check_sum(&bytes)?;
        let dimensions = bounded(reader.number()?, MOST_DIMENSIONS, "dimensions out of range")?;
        let rows = bounded(reader.number()?, MOST_ROWS, "number of rows out of range")?;
        let name = reader.text()?.to_owned();
        let (_teacher, _licence) = (reader.text()?, reader.text()?);
        let index = Index::read(&mut reader, rows)?;
        let scales = reader.range(4 * rows)?;
        check_scales(&bytes[scales.clone()])?;
        let components = reader.range(rows * dimensions)?;
        let digest = hex(&reader.take(DIGEST)?[..4]);
        if reader.at + 4 != bytes.len() {
            return Err(WRONG_LENGTH);
        }
        Ok(Self { dimensions, name, digest, scales: scales.start, rows: components.start, index, bytes })
    }

    /// Components of each row.
    pub(crate) fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// Of the distillation, not of the file.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// First eight hexadecimal digits of the content's SHA-256.
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }

    /// Of the longest token that starts `text`, its row and its length in bytes.
    pub(crate) fn longest(&self, text: &[u8], place: Place) -> Option<(u16, usize)> {
        self.index.longest(&self.bytes, text, place)
    }

    #[cfg(test)]
    pub(crate) fn token(&self, row: u16) -> String {
        let Token { start, length, place } = self.index.tokens[usize::from(row)];
        let bytes = &self.bytes[start as usize..][..usize::from(length)];
        let sign = if place == Place::Continuation { "##" } else { "" };
        sign.to_owned() + std::str::from_utf8(bytes).unwrap()
    }

    /// What one step of the row's components is worth.
    pub(crate) fn scale(&self, row: u16) -> f32 {
        let at = self.scales + 4 * usize::from(row);
        f32::from_le_bytes([self.bytes[at], self.bytes[at + 1], self.bytes[at + 2], self.bytes[at + 3]])
    }

    /// Components as `i8`.
    pub(crate) fn row(&self, row: u16) -> &[u8] {
        let at = self.rows + self.dimensions * usize::from(row);
        &self.bytes[at..at + self.dimensions]
    }
}

/// Where in a word a token stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Start,
    Continuation,
}

impl Place {
    /// FNV-1a's offset basis; another for continuations, which have a table of their own inside the one.
    fn seed(self) -> u64 {
        match self {
            Self::Start => 0xcbf2_9ce4_8422_2325,
            Self::Continuation => 0x9ae1_6a3b_2f90_404f,
        }
    }
}

/// An open-addressed hash table of row numbers. A slot is 16 bits of hash above the row plus one; zero is empty.
struct Index {
    slots: Vec<u32>,
    /// Of each row.
    tokens: Vec<Token>,
    /// Bytes of the longest token, which bounds the search.
    longest: usize,
}

/// Where a token's bytes lie, without the `##`.
#[derive(Clone, Copy)]
struct Token {
    start: u32,
    length: u8,
    place: Place,
}

impl Index {
    fn read(reader: &mut Reader, rows: usize) -> Result<Self, TableError> {
        let lengths = reader.take(rows)?;
        let mut index = Self {
            slots: vec![0; (2 * rows).next_power_of_two()],
            tokens: Vec::with_capacity(rows),
            longest: 0,
        };
        for &length in lengths {
            let range = reader.range(usize::from(length))?;
            index.add(reader.bytes, range)?;
        }
        Ok(index)
    }

    fn add(&mut self, bytes: &[u8], range: Range<usize>) -> Result<(), TableError> {
        let written = &bytes[range.clone()];
        let (token, place) = match written.strip_prefix(b"##") {
            Some(rest) if !rest.is_empty() => (rest, Place::Continuation),
            _ => (written, Place::Start),
        };
        if !(1..=LONGEST_TOKEN).contains(&token.len()) || std::str::from_utf8(token).is_err() {
            return Err(TableError("a token is empty, too long or not UTF-8"));
        }
        let hash = mix(token.iter().fold(place.seed(), step));
        let Err(free) = self.find(bytes, token, place, hash) else {
            return Err(TableError("a token is there twice"));
        };
        self.slots[free] = tag(hash) | (self.tokens.len() as u32 + 1);
        self.longest = self.longest.max(token.len());
        self.tokens.push(Token { start: (range.end - token.len()) as u32, length: token.len() as u8, place });
        Ok(())
    }

    /// The token's row, or the free slot where it would be.
    fn find(&self, bytes: &[u8], token: &[u8], place: Place, hash: u64) -> Result<u16, usize> {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return Err(at);
            }
            let row = (slot & 0xffff) - 1;
            if slot & 0xffff_0000 == tag(hash) && self.tokens[row as usize].is(bytes, token, place) {
                return Ok(row as u16);
            }
            at = (at + 1) & mask;
        }
    }

    fn longest(&self, bytes: &[u8], text: &[u8], place: Place) -> Option<(u16, usize)> {
        let text = &text[..text.len().min(self.longest)];
        let mut hash = place.seed();
        let mut hashes = [0; LONGEST_TOKEN];
        for (byte, kept) in text.iter().zip(&mut hashes) {
            hash = step(hash, byte);
            *kept = hash;
        }
        (1..=text.len())
            .rev()
            .find_map(|end| Some((self.find(bytes, &text[..end], place, mix(hashes[end - 1])).ok()?, end)))
    }
}

impl Token {
    fn is(&self, bytes: &[u8], token: &[u8], place: Place) -> bool {
        let start = self.start as usize;
        self.place == place && &bytes[start..start + usize::from(self.length)] == token
    }
}

/// One byte of FNV-1a.
fn step(hash: u64, byte: &u8) -> u64 {
    (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
}

/// FNV's upper bits mix poorly for short tokens; its slot and tag are taken from here.
fn mix(hash: u64) -> u64 {
    (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16
}

fn tag(hash: u64) -> u32 {
    (hash >> 16) as u32 & 0xffff_0000
}

/// Walks the bytes; past the end is an error, never a panic.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn range(&mut self, length: usize) -> Result<Range<usize>, TableError> {
        let range = self.at..self.at + length;
        if range.end > self.bytes.len() {
            return Err(WRONG_LENGTH);
        }
        self.at = range.end;
        Ok(range)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], TableError> {
        let range = self.range(length)?;
        Ok(&self.bytes[range])
    }

    fn number(&mut self) -> Result<u32, TableError> {
        let four = self.take(4)?;
        Ok(u32::from_le_bytes([four[0], four[1], four[2], four[3]]))
    }

    fn text(&mut self) -> Result<&'a str, TableError> {
        let length = usize::from(self.take(1)?[0]);
        std::str::from_utf8(self.take(length)?).map_err(|_| TableError("a text is not UTF-8"))
    }
}

/// The last four bytes are the CRC-32 of all others.
fn check_sum(bytes: &[u8]) -> Result<(), TableError> {
    let Some((content, sum)) = bytes.split_last_chunk::<4>() else {
        return Err(WRONG_LENGTH);
    };
    if crc32fast::hash(content) != u32::from_le_bytes(*sum) {
        return Err(TableError("checksum differs"));
    }
    Ok(())
}

fn check_scales(scales: &[u8]) -> Result<(), TableError> {
    let scales = scales.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]));
    for scale in scales {
        if !(0.0..=LARGEST_SCALE).contains(&scale) {
            return Err(TableError("a row's scale is out of range"));
        }
    }
    Ok(())
}

fn bounded(number: u32, most: usize, says: &'static str) -> Result<usize, TableError> {
    match number as usize {
        number if (1..=most).contains(&number) => Ok(number),
        _ => Err(TableError(says)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
