//! Sealed parts on disk: one file each, written and synced before the catalogue names it, swept if it does not.
//!
//! All of them can be made anew from the records. One that cannot be read is left out, and its memories are indexed
//! again.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memcore_vector::SealedVectors;
use memmap2::Mmap;

use crate::bank::SealedPart;
use crate::error::Result;
use crate::index::Sealed;
use crate::index::bundle::{Builder, Bundle, OwnedBytes};
use crate::store::database::directory_error;

const VECTORS: &str = "vectors";
/// What tells them from vectors of other embedders.
const VECTORS_TAG: &str = "vectors/tag";

/// The folder of bundles in a data directory.
#[derive(Debug, Clone)]
pub(crate) struct Bundles {
    folder: PathBuf,
}

impl Bundles {
    pub fn open(directory: &Path) -> Result<Self> {
        let folder = directory.join("bundles");
        let made = fs::DirBuilder::new().mode(0o700).create(&folder);
        match made {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                Err(directory_error(&folder, &error))
            }
            _ => Ok(Self { folder }),
        }
    }

    /// Writes a new file and syncs it, and the folder that names it.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.folder.join(name);
        let write = || {
            let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(|error| {
            self.remove(name);
            directory_error(&self.folder, &error)
        })
    }

    /// The file's bytes, mapped.
    pub fn read(&self, name: &str) -> std::io::Result<OwnedBytes> {
        let file = File::open(self.folder.join(name))?;
        // SAFETY: bundles are written once and never changed; a removed one stays mapped.
        let map = unsafe { Mmap::map(&file)? };
        Ok(OwnedBytes::new(map))
    }

    /// Removes a file that nothing names any more; what cannot be removed now is swept at the next opening.
    pub fn remove(&self, name: &str) {
        let _ = fs::remove_file(self.folder.join(name));
    }

    /// Removes what the catalogue does not name.
    pub fn sweep(&self, named: impl Fn(&str) -> bool) -> Result<()> {
        let files = fs::read_dir(&self.folder).map_err(|error| directory_error(&self.folder, &error))?;
        for name in files.flatten().map(|file| file.file_name()) {
            match name.to_str() {
                Some(name) if !named(name) && name.ends_with(".bundle") => self.remove(name),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Adds a part's vectors to its bundle.
pub(crate) fn add_vectors(bundle: &mut Builder, tag: &str, vectors: Vec<u8>) {
    bundle.add(VECTORS_TAG, tag.as_bytes().to_vec());
    bundle.add(VECTORS, vectors);
}

/// Opens a bundle as a part; vectors of another embedder are left out.
pub(crate) fn open_part(number: u32, bytes: OwnedBytes, analyzer: &str, tag: &str) -> Result<SealedPart> {
    let bundle = Bundle::open(bytes)?;
    let words = Arc::new(Sealed::open(&bundle, analyzer)?);
    Ok(SealedPart { number, vectors: vectors(&bundle, &words, tag), words })
}

fn vectors(bundle: &Bundle, words: &Sealed, tag: &str) -> Option<Arc<SealedVectors>> {
    let found = bundle.section(VECTORS_TAG).ok()?;
    if found.as_slice() != tag.as_bytes() {
        return None;
    }
    let bytes = bundle.section(VECTORS).ok()?;
    let vectors = SealedVectors::open(Arc::new(bytes)).ok()?;
    (vectors.len() == words.documents().len()).then(|| Arc::new(vectors))
}
