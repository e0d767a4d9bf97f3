//! A file as its users see it, over the file as the disk holds it.
//!
//! Writes change the bytes in RAM only; `sync` carries them to the disk. A killed process therefore leaves exactly
//! what was synced, or with `leave` also some of the sectors that were on their way.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Result};
use std::os::unix::fs::FileExt;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

pub(super) struct Image {
    file: File,
    bytes: Vec<u8>,
    /// Sectors changed since the last sync.
    dirty: BTreeSet<usize>,
    /// The shortest the file has been since the last sync, if it was cut.
    cut: Option<u64>,
}

impl Image {
    /// The image of an open file.
    pub fn load(mut file: File) -> Result<Self> {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(Self { file, bytes, dirty: BTreeSet::new(), cut: None })
    }

    pub fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Fills `buffer` from `offset`, with zeros beyond the end; true if all of it was there.
    pub fn read(&self, offset: usize, buffer: &mut [u8]) -> bool {
        let there = self.bytes.get(offset..).unwrap_or_default();
        let count = there.len().min(buffer.len());
        buffer[..count].copy_from_slice(&there[..count]);
        buffer[count..].fill(0);
        count == buffer.len()
    }

    pub fn write(&mut self, offset: usize, data: &[u8]) {
        let end = offset + data.len();
        let first = offset.min(self.bytes.len());
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[offset..end].copy_from_slice(data);
        self.dirty.extend(first / SECTOR..end.div_ceil(SECTOR));
    }

    pub fn truncate(&mut self, len: u64) {
        if len >= self.len() {
            return self.write(len as usize, &[]);
        }
        self.bytes.truncate(len as usize);
        self.dirty.split_off(&(len as usize).div_ceil(SECTOR));
        self.cut = Some(self.cut.map_or(len, |cut| cut.min(len)));
    }

    /// Makes the disk hold what the users see.
    pub fn sync(&mut self) -> Result<()> {
        self.carry(true, |_| true)?;
        self.file.sync_data()?;
        self.dirty.clear();
        self.cut = None;
        Ok(())
    }

    /// Lets the dirty sectors for which `survives` is true reach the disk, and a cut of the file if it is true
    /// for sector `usize::MAX`: what a loss of power may leave behind.
    pub fn leave(&self, survives: impl Fn(usize) -> bool) -> Result<()> {
        self.carry(survives(usize::MAX), survives)
    }

    fn carry(&self, cut: bool, survives: impl Fn(usize) -> bool) -> Result<()> {
        if let (true, Some(len)) = (cut, self.cut) {
            self.file.set_len(len)?;
        }
        for sector in self.dirty.iter().copied().filter(|sector| survives(*sector)) {
            let start = sector * SECTOR;
            let end = self.bytes.len().min(start + SECTOR);
            self.file.write_all_at(&self.bytes[start..end], start as u64)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Seek;

    use super::*;

    fn on_disk(image: &Image) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut file = &image.file;
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn image_of(bytes: &[u8]) -> Image {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(bytes, 0).unwrap();
        Image::load(file).unwrap()
    }

    #[test]
    fn the_disk_holds_what_was_synced_and_nothing_else() {
        let mut image = image_of(b"old");
        image.write(1, b"ewer");
        assert_eq!((on_disk(&image), image.len()), (b"old".to_vec(), 5));
        image.sync().unwrap();
        assert_eq!(on_disk(&image), b"oewer");
        image.truncate(2);
        image.write(4, b"!");
        assert_eq!(on_disk(&image), b"oewer");
        image.sync().unwrap();
        assert_eq!(on_disk(&image), b"oe\0\0!");
    }

    #[test]
    fn reading_beyond_the_end_gives_zeros_and_says_so() {
        let image = image_of(b"abc");
        let mut buffer = [9; 3];
        assert!(!image.read(2, &mut buffer));
        assert_eq!(buffer, [b'c', 0, 0]);
        assert!(!image.read(7, &mut buffer));
        assert!(image.read(0, &mut buffer));
        assert_eq!(&buffer, b"abc");
    }

    #[test]
    fn sectors_survive_one_by_one() {
        let mut image = image_of(&[b'a'; 3 * SECTOR]);
        image.write(SECTOR - 1, &[b'b'; SECTOR + 2]);
        // Sectors 0, 1 and 2 are dirty; only 1 survives.
        image.leave(|sector| sector == 1).unwrap();
        let expected = [[b'a'; SECTOR], [b'b'; SECTOR], [b'a'; SECTOR]].concat();
        assert_eq!(on_disk(&image), expected);
    }

    #[test]
    fn a_cut_survives_or_not() {
        let mut image = image_of(b"abc");
        image.truncate(1);
        image.leave(|_| false).unwrap();
        assert_eq!(on_disk(&image), b"abc");
        image.leave(|_| true).unwrap();
        assert_eq!(on_disk(&image), b"a");
    }
}
