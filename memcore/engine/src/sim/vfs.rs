//! The SQLite VFS `memcore-unsynced`: a disk that forgets every byte that was not synced.
//!
//! Databases, logs and journals live in [`Image`]s, one per path, shared by all connections of the process as a
//! page cache would be. Everything else (locks, the shared-memory index, directories, temporary files) is the
//! default VFS's business. An image lives as long as its process, so a kill at any moment leaves what was synced;
//! a process that kills itself can also [`tear`] what was not.
//!
//! This is the only file with `unsafe`. What all of it rests on: SQLite hands each method a file that `open` made
//! and `close` has not taken back, of `szOsFile` zeroed bytes, aligned to 8; pointers to results and buffers are
//! valid for the length that goes with them; and the default VFS is registered for good.

#![allow(non_snake_case)]

use std::collections::HashMap;
use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, OnceLock};

use parking_lot::{Mutex, MutexGuard};
use rusqlite::ffi;

use super::image::Image;
use super::points::reach;
use crate::error::{Error, Result};

/// The VFS's name.
pub const UNSYNCED: &str = "memcore-unsynced";

const NAME: &CStr = c"memcore-unsynced";
const IN_IMAGES: c_int = ffi::SQLITE_OPEN_MAIN_DB | ffi::SQLITE_OPEN_WAL | ffi::SQLITE_OPEN_MAIN_JOURNAL;

static IMAGES: LazyLock<Mutex<HashMap<PathBuf, Arc<Mutex<Image>>>>> = LazyLock::new(Mutex::default);
static TEAR_SEED: OnceLock<u64> = OnceLock::new();

/// Version 2 of the methods has no memory-mapped reading.
static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(xLock),
    xUnlock: Some(xUnlock),
    xCheckReservedLock: Some(xCheckReservedLock),
    xFileControl: Some(file_control),
    xSectorSize: Some(xSectorSize),
    xDeviceCharacteristics: Some(xDeviceCharacteristics),
    xShmMap: Some(xShmMap),
    xShmLock: Some(xShmLock),
    xShmBarrier: Some(xShmBarrier),
    xShmUnmap: Some(xShmUnmap),
    xFetch: None,
    xUnfetch: None,
};

/// An open file; the default VFS's own follows it in memory.
#[repr(C)]
struct Opened {
    base: ffi::sqlite3_file,
    /// From `Arc::into_raw`; given back by `close`.
    image: *const Mutex<Image>,
}

/// Makes the VFS known to SQLite, once.
pub fn register() -> Result<()> {
    static CODE: OnceLock<c_int> = OnceLock::new();
    match *CODE.get_or_init(register_once) {
        ffi::SQLITE_OK => Ok(()),
        code => Err(Error::internal(format!("SQLite refuses the VFS {UNSYNCED} with code {code}"))),
    }
}

fn register_once() -> c_int {
    // SAFETY: the default VFS is a valid, plain struct. Of its methods that the copy keeps, none uses more of the
    // VFS it is called on than `mxPathname`. The copy is never freed.
    unsafe {
        let real = ffi::sqlite3_vfs_find(std::ptr::null());
        if real.is_null() {
            return ffi::SQLITE_NOTFOUND;
        }
        let copy = Box::leak(Box::new(*real));
        copy.zName = NAME.as_ptr();
        copy.pNext = std::ptr::null_mut();
        copy.pAppData = real.cast();
        copy.szOsFile += size_of::<Opened>() as c_int;
        copy.xOpen = Some(open);
        copy.xDelete = Some(delete);
        copy.xAccess = Some(access);
        ffi::sqlite3_vfs_register(copy, 0)
    }
}

/// From now on, a process that kills itself lets about half of the unsynced sectors reach the disk; which ones
/// follows from `seed`. Only the first call counts.
pub fn tear(seed: u64) {
    TEAR_SEED.get_or_init(|| seed);
}

/// SIGKILL to this process. Nothing reaches the disk once this has begun, except what is torn.
pub(super) fn die() -> ! {
    let images = IMAGES.lock();
    let held: Vec<(&PathBuf, MutexGuard<'_, Image>)> =
        images.iter().map(|(path, image)| (path, image.lock())).collect();
    if let Some(seed) = TEAR_SEED.get() {
        for (path, image) in &held {
            // A disk that fails while it dies leaves less, which is as good.
            let _ = image.leave(|sector| survives(*seed, path, sector));
        }
    }
    loop {
        // SAFETY: two calls that touch no memory of ours.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }
}

fn survives(seed: u64, path: &PathBuf, sector: usize) -> bool {
    let mut hasher = DefaultHasher::new();
    (seed, path, sector).hash(&mut hasher);
    hasher.finish() & 1 == 0
}

/// # Safety
/// `vfs` is the one that `register_once` made.
unsafe fn real_vfs(vfs: *mut ffi::sqlite3_vfs) -> *mut ffi::sqlite3_vfs {
    // SAFETY: by the caller's promise.
    unsafe { (*vfs).pAppData.cast() }
}

/// # Safety
/// `file` was opened by `open` into an image.
unsafe fn real_file(file: *mut ffi::sqlite3_file) -> *mut ffi::sqlite3_file {
    // SAFETY: `szOsFile` leaves room for both, and the size of `Opened` is a multiple of 8.
    unsafe { file.cast::<Opened>().add(1).cast() }
}

/// # Safety
/// `file` was opened by `open` into an image and outlives the guard.
unsafe fn image<'a>(file: *mut ffi::sqlite3_file) -> MutexGuard<'a, Image> {
    // SAFETY: the reference that `open` put there lives until `close`.
    unsafe { (*(*file.cast::<Opened>()).image).lock() }
}

/// # Safety
/// `name` is null or ends with a NUL.
unsafe fn path(name: *const c_char) -> PathBuf {
    if name.is_null() {
        return PathBuf::new();
    }
    // SAFETY: by the caller's promise.
    let name = unsafe { CStr::from_ptr(name) };
    PathBuf::from(OsStr::from_bytes(name.to_bytes()))
}

/// The image of a file that exists, shared by all who open it.
fn shared_image(path: PathBuf) -> std::io::Result<Arc<Mutex<Image>>> {
    let mut images = IMAGES.lock();
    if let Some(image) = images.get(&path) {
        return Ok(Arc::clone(image));
    }
    // Kept open as long as the image: closing a descriptor would drop the locks that SQLite holds on the file.
    let file = fs::OpenOptions::new().read(true).write(true).open(&path)?;
    let image = Arc::new(Mutex::new(Image::load(file)?));
    images.insert(path, Arc::clone(&image));
    Ok(image)
}

unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: see the module. A file that gets no image is wholly the default VFS's, which finds room enough.
    unsafe {
        let real = real_vfs(vfs);
        let Some(real_open) = (*real).xOpen else { return ffi::SQLITE_CANTOPEN };
        if name.is_null() || flags & IN_IMAGES == 0 {
            return real_open(real, name, file, flags, out_flags);
        }
        (*file).pMethods = std::ptr::null();
        let code = real_open(real, name, real_file(file), flags, out_flags);
        if code != ffi::SQLITE_OK {
            return code;
        }
        match shared_image(path(name)) {
            Ok(image) => (*file.cast::<Opened>()).image = Arc::into_raw(image),
            Err(_) => {
                close_real(file);
                return ffi::SQLITE_CANTOPEN;
            }
        }
        (*file).pMethods = &METHODS;
        ffi::SQLITE_OK
    }
}

/// # Safety
/// `file` was opened by `open`, at least by the default VFS.
unsafe fn close_real(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: by the caller's promise.
    unsafe {
        let real = real_file(file);
        (*(*real).pMethods).xClose.map_or(ffi::SQLITE_IOERR, |close| close(real))
    }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: see the module; the image's reference is given back once, and no method follows.
    unsafe {
        drop(Arc::from_raw((*file.cast::<Opened>()).image));
        close_real(file)
    }
}

unsafe extern "C" fn delete(vfs: *mut ffi::sqlite3_vfs, name: *const c_char, sync_directory: c_int) -> c_int {
    // SAFETY: see the module.
    unsafe {
        IMAGES.lock().remove(&path(name));
        let real = real_vfs(vfs);
        (*real).xDelete.map_or(ffi::SQLITE_IOERR, |delete| delete(real, name, sync_directory))
    }
}

/// SQLite takes an empty file for a missing one, so an image answers for its own length.
unsafe extern "C" fn access(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    flags: c_int,
    result: *mut c_int,
) -> c_int {
    // SAFETY: see the module.
    unsafe {
        let image = IMAGES.lock().get(&path(name)).cloned();
        if let (Some(image), ffi::SQLITE_ACCESS_EXISTS) = (image, flags) {
            *result = c_int::from(image.lock().len() > 0);
            return ffi::SQLITE_OK;
        }
        let real = real_vfs(vfs);
        (*real).xAccess.map_or(ffi::SQLITE_IOERR, |access| access(real, name, flags, result))
    }
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    buffer: *mut c_void,
    count: c_int,
    offset: i64,
) -> c_int {
    // SAFETY: see the module.
    let (image, buffer) =
        unsafe { (image(file), std::slice::from_raw_parts_mut(buffer.cast::<u8>(), count as usize)) };
    if image.read(offset as usize, buffer) { ffi::SQLITE_OK } else { ffi::SQLITE_IOERR_SHORT_READ }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    data: *const c_void,
    count: c_int,
    offset: i64,
) -> c_int {
    // SAFETY: see the module.
    let (mut image, data) =
        unsafe { (image(file), std::slice::from_raw_parts(data.cast::<u8>(), count as usize)) };
    image.write(offset as usize, data);
    ffi::SQLITE_OK
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    // SAFETY: see the module.
    unsafe { image(file) }.truncate(size as u64);
    ffi::SQLITE_OK
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    reach("before_sync");
    // SAFETY: see the module.
    let synced = unsafe { image(file) }.sync();
    reach("after_sync");
    if synced.is_ok() { ffi::SQLITE_OK } else { ffi::SQLITE_IOERR_FSYNC }
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, size: *mut i64) -> c_int {
    // SAFETY: see the module.
    unsafe { *size = image(file).len() as i64 };
    ffi::SQLITE_OK
}

/// All controls are hints or requests for what images do not have.
unsafe extern "C" fn file_control(_file: *mut ffi::sqlite3_file, _op: c_int, _arg: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

macro_rules! delegate {
    ($($name:ident($($argument:ident: $type:ty),*);)*) => {$(
        unsafe extern "C" fn $name(file: *mut ffi::sqlite3_file, $($argument: $type),*) -> c_int {
            // SAFETY: see the module; the arguments go to the default VFS as they came.
            unsafe {
                let real = real_file(file);
                (*(*real).pMethods).$name.map_or(ffi::SQLITE_IOERR, |method| method(real, $($argument),*))
            }
        }
    )*};
}

delegate! {
    xLock(level: c_int);
    xUnlock(level: c_int);
    xCheckReservedLock(result: *mut c_int);
    xSectorSize();
    xDeviceCharacteristics();
    xShmMap(page: c_int, size: c_int, extend: c_int, result: *mut *mut c_void);
    xShmLock(offset: c_int, count: c_int, flags: c_int);
    xShmUnmap(delete: c_int);
}

unsafe extern "C" fn xShmBarrier(file: *mut ffi::sqlite3_file) {
    // SAFETY: see the module.
    unsafe {
        let real = real_file(file);
        if let Some(barrier) = (*(*real).pMethods).xShmBarrier {
            barrier(real);
        }
    }
}
