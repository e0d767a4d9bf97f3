//! One process holds a data directory at a time. The lock file says who, so that a second opener knows where to go.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};

/// An flock on `DIR/LOCK`, released when dropped, or when the process and the children it forked end, however they
/// end.
pub(crate) struct DirectoryLock {
    file: File,
}

impl DirectoryLock {
    /// Takes the lock; Conflict `STORE_LOCKED` with the holder's pid and note if another process has it.
    pub fn take(directory: &Path, note: &str) -> Result<Self> {
        let path = directory.join("LOCK");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| super::database::directory_error(directory, &error))?;
        // SAFETY: the descriptor is open for as long as `file` lives, and flock touches nothing else.
        let taken = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0;
        if !taken {
            return Err(held(directory, &mut file));
        }
        let lock = Self { file };
        lock.set_note(note)?;
        Ok(lock)
    }

    /// Tells later openers what holds the directory, such as a service's address.
    pub fn set_note(&self, note: &str) -> Result<()> {
        let text = format!("pid {}\n{note}\n", std::process::id());
        let write = || -> std::io::Result<()> {
            let mut file = &self.file;
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(text.as_bytes())
        };
        write().map_err(|error| Error::internal(format!("cannot write the lock file: {error}")))
    }
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // Closing is not enough: a forked child shares the lock with its copy of the descriptor.
        // SAFETY: the descriptor is open for as long as `file` lives, and flock touches nothing else.
        unsafe { libc::flock(self.file.as_raw_fd(), libc::LOCK_UN) };
    }
}

fn held(directory: &Path, file: &mut File) -> Error {
    let mut text = String::new();
    // An unreadable note only makes the message shorter.
    let _ = file.take(4096).read_to_string(&mut text);
    let mut lines = text.lines();
    let holder = lines.next().unwrap_or("an unknown process");
    let note = lines.next().filter(|note| !note.is_empty());
    let at = note.map(|note| format!(", {note}")).unwrap_or_default();
    Error::new(
        ErrorKind::Conflict,
        "STORE_LOCKED",
        format!("{} is in use by {holder}{at}; connect to it or stop it first", directory.display()),
    )
    .with("directory", directory.display())
    .with("holder", holder)
    .with("note", note.unwrap_or_default())
}
