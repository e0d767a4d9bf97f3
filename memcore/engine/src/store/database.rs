//! SQLite as the keeper of records. One connection writes; others read and checkpoint.
//!
//! `journal_mode=WAL` with `synchronous=FULL` makes a committed transaction survive loss of power; the write-ahead
//! log is checkpointed by a connection of its own, never in a commit's way.

use std::collections::HashSet;
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, OpenFlags, params};

use super::OpenOptions;
use super::bundles::{Bundles, open_part};
use crate::bank::{Cell, Head, Records, SealedPart, StoredVector, Vector};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{BankSettings, Revision};
use crate::record::{Record, Stamped};
use crate::text::analyzer_id;

/// `mema`: tells a memalpha store from any other database.
const APPLICATION_ID: i64 = 0x6d65_6d61;

/// Forward migrations; the schema's version is their number.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE banks(
      bank_key INTEGER PRIMARY KEY AUTOINCREMENT,
      bank_id TEXT NOT NULL UNIQUE,
      bank_uid TEXT NOT NULL UNIQUE,
      settings TEXT NOT NULL,
      head TEXT NOT NULL
    ) STRICT;
    CREATE TABLE records(
      lsn INTEGER PRIMARY KEY,
      bank_key INTEGER NOT NULL,
      revision INTEGER NOT NULL,
      time INTEGER NOT NULL,
      kind TEXT NOT NULL,
      payload TEXT NOT NULL,
      crc INTEGER NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX records_of_bank ON records(bank_key, revision);
",
    "
    CREATE TABLE vectors(
      bank_key INTEGER NOT NULL,
      memory_id INTEGER NOT NULL,
      revision INTEGER NOT NULL,
      vector BLOB NOT NULL,
      PRIMARY KEY (bank_key, memory_id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE bundles(
      bank_key INTEGER NOT NULL,
      part INTEGER NOT NULL,
      file TEXT NOT NULL UNIQUE,
      bytes INTEGER NOT NULL,
      PRIMARY KEY (bank_key, part)
    ) STRICT, WITHOUT ROWID;
",
];

/// The store's database file and its idle reading connections.
pub(crate) struct Database {
    path: PathBuf,
    options: OpenOptions,
    readers: Mutex<Vec<Connection>>,
    bundles: Bundles,
}

impl Database {
    /// Creates or migrates the database in `directory`, which exists.
    pub fn open(directory: &Path, options: &OpenOptions) -> Result<Self> {
        let database = Self {
            path: directory.join("memory.db"),
            options: options.clone(),
            readers: Mutex::new(Vec::new()),
            bundles: Bundles::open(directory)?,
        };
        let connection = database.attach()?;
        let version = database.inspect(&connection)?;
        if version == 0 {
            let pragma = "PRAGMA auto_vacuum=INCREMENTAL";
            connection.execute_batch(pragma).map_err(|e| database.error(&e))?;
        }
        database.migrate(database.prepare(connection)?, version)?;
        let private = fs::Permissions::from_mode(0o600);
        fs::set_permissions(&database.path, private)
            .and_then(|()| fs::File::open(directory)?.sync_all())
            .map_err(|error| directory_error(directory, &error))?;
        Ok(database)
    }

    pub fn bundles(&self) -> &Bundles {
        &self.bundles
    }

    /// Removes bundles that nothing names: a write that was cut short, or a removal.
    pub fn sweep(&self) -> Result<()> {
        let named: HashSet<String> = self.read(|connection| {
            let mut statement = connection.prepare("SELECT file FROM bundles")?;
            statement.query_map([], |row| row.get(0))?.collect()
        })?;
        self.bundles.sweep(|file| named.contains(file))
    }

    /// A connection with the store's settings.
    pub fn connect(&self) -> Result<Connection> {
        self.prepare(self.attach()?)
    }

    /// A connection that has changed nothing yet.
    fn attach(&self) -> Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = match self.options.vfs() {
            None => Connection::open_with_flags(&self.path, flags),
            Some(vfs) => Connection::open_with_flags_and_vfs(&self.path, flags, vfs),
        };
        let connection = connection.map_err(|e| self.error(&e))?;
        connection.execute_batch("PRAGMA busy_timeout=10000").map_err(|e| self.error(&e))?;
        Ok(connection)
    }

    fn prepare(&self, connection: Connection) -> Result<Connection> {
        let pragmas = format!(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous={}; PRAGMA secure_delete=ON;
             PRAGMA wal_autocheckpoint=0; PRAGMA journal_size_limit=67108864;
             PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON;",
            self.options.synchronous()
        );
        connection.execute_batch(&pragmas).map_err(|e| self.error(&e))?;
        Ok(connection)
    }

    /// The schema's version, 0 for a new file. Only reads, so that a file that is refused stays as it is.
    fn inspect(&self, connection: &Connection) -> Result<usize> {
        let number = |sql: &str| -> Result<i64> {
            connection.query_row(sql, [], |row| row.get(0)).map_err(|e| self.error(&e))
        };
        let version = number("PRAGMA user_version")?;
        let application = number("PRAGMA application_id")?;
        let tables = number("SELECT count(*) FROM sqlite_schema")?;
        if tables > 0 && application != APPLICATION_ID {
            return Err(self.unsupported("NOT_A_STORE", "is not a memalpha store"));
        }
        let known = MIGRATIONS.len();
        usize::try_from(version).ok().filter(|version| *version <= known).ok_or_else(|| {
            let what = format!(
                "has schema version {version}, newer than the {known} this program knows; upgrade the program"
            );
            self.unsupported("SCHEMA_TOO_NEW", &what)
        })
    }

    fn migrate(&self, mut connection: Connection, version: usize) -> Result<()> {
        if version == MIGRATIONS.len() {
            return Ok(());
        }
        let transaction = connection.transaction().map_err(|e| self.error(&e))?;
        for migration in &MIGRATIONS[version..] {
            transaction.execute_batch(migration).map_err(|e| self.error(&e))?;
        }
        let stamp =
            format!("PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={};", MIGRATIONS.len());
        transaction.execute_batch(&stamp).map_err(|e| self.error(&e))?;
        transaction.commit().map_err(|e| self.error(&e))
    }

    fn unsupported(&self, reason: &'static str, what: &str) -> Error {
        Error::new(ErrorKind::Unsupported, reason, format!("{} {what}", self.path.display()))
    }

    fn damaged(&self, how: &str) -> Error {
        let path = self.path.display();
        let way_out = "stop the service, keep the file, and restore a backup";
        Error::corruption(format!("{path} is damaged ({how}); {way_out}"))
    }

    /// Runs `read` on an idle reading connection, or a new one.
    pub fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        let idle = self.readers.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.connect()?,
        };
        let result = read(&connection).map_err(|e| self.error(&e));
        self.readers.lock().push(connection);
        result
    }

    /// Closes the idle connections; the last one to go folds the log into the database.
    pub fn release(&self) {
        self.readers.lock().clear();
    }

    /// All banks, closed.
    pub fn cells(&self) -> Result<Vec<Cell>> {
        let rows = self.read(|connection| {
            let mut statement =
                connection.prepare("SELECT bank_key, bank_id, bank_uid, settings, head FROM banks")?;
            let rows = statement.query_map([], |row| {
                Ok((
                    row.get(0)?,
                    row.get(1)?,
                    row.get(2)?,
                    row.get::<_, String>(3)?,
                    row.get::<_, String>(4)?,
                ))
            })?;
            rows.collect::<rusqlite::Result<Vec<(i64, String, String, String, String)>>>()
        })?;
        rows.into_iter()
            .map(|(key, bank_id, bank_uid, settings, head)| {
                let settings: BankSettings = from_json(&settings)?;
                let head: Head = from_json(&head)?;
                Cell::new(key, bank_id, bank_uid, settings, head, None)
            })
            .collect()
    }

    /// Hands a bank's records after one revision and up to another to `each`, in order, until it breaks. One is
    /// in memory at a time, however many and large they are.
    pub fn records(
        &self,
        key: i64,
        after: Revision,
        last: Revision,
        each: &mut dyn FnMut(Stamped) -> ControlFlow<()>,
    ) -> Result<()> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT revision, time, payload, crc FROM records
                 WHERE bank_key = ?1 AND revision > ?2 AND revision <= ?3 ORDER BY revision",
            )?;
            let mut rows = statement.query(params![key, as_row(after), as_row(last)])?;
            while let Some(row) = rows.next()? {
                let revision = row.get::<_, i64>(0)? as u64;
                let record = match Record::decode(row.get_ref(2)?.as_str()?, row.get(3)?) {
                    Ok(record) => record,
                    Err(damaged) => return Ok(Err(self.damaged(&format!("record {revision}: {damaged}")))),
                };
                let stamped = Stamped { revision, time: row.get(1)?, record };
                if each(stamped).is_break() {
                    break;
                }
            }
            Ok(Ok(()))
        })?
    }

    /// What went wrong, for people, with the way out.
    pub fn error(&self, error: &rusqlite::Error) -> Error {
        let path = self.path.display();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Error::new(
                ErrorKind::Busy,
                "DISK_FULL",
                format!("no space left for {path}; nothing was changed, free some space and try again"),
            ),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::new(
                ErrorKind::Busy,
                "STORE_BUSY",
                format!("another program holds {path} locked; nothing was changed, end it and try again"),
            ),
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
                self.unsupported("NOT_WRITABLE", &format!("cannot be opened for writing: {error}"))
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => self.damaged(&error.to_string()),
            _ => Error::new(ErrorKind::Internal, "STORE_IO", format!("{path}: {error}")),
        }
    }
}

impl Records for Database {
    fn replay(&self, key: i64, last: Revision, each: &mut dyn FnMut(Stamped)) -> Result<()> {
        self.records(key, 0, last, &mut |stamped| {
            each(stamped);
            ControlFlow::Continue(())
        })
    }

    fn sealed_parts(&self, key: i64, language: &str, vectors_tag: &str) -> Result<Vec<SealedPart>> {
        let analyzer = analyzer_id(language);
        let open = |(number, file): (u32, String)| {
            let bytes = self.bundles.read(&file).ok()?;
            open_part(number, bytes, &analyzer, vectors_tag).ok()
        };
        let files = self.read(|connection| bundle_files(connection, key))?;
        let parts: Option<Vec<SealedPart>> = files.into_iter().map(open).collect();
        let mut parts = parts.unwrap_or_default();
        parts.sort_by_key(|part| part.words.documents().next().map(|first| first.birth));
        Ok(parts)
    }

    fn vectors(&self, key: i64, each: &mut dyn FnMut(StoredVector)) -> Result<()> {
        let sql = "SELECT memory_id, revision, vector FROM vectors WHERE bank_key = ?1";
        self.read(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map([key], |row| {
                Ok(StoredVector {
                    memory_id: row.get::<_, i64>(0)? as u64,
                    update_revision: row.get::<_, i64>(1)? as u64,
                    vector: unpacked(row.get_ref(2)?.as_blob()?),
                })
            })?;
            rows.into_iter().try_for_each(|stored| {
                each(stored?);
                Ok(())
            })
        })
    }
}

/// A bank's bundles, as (part, file).
pub(crate) fn bundle_files(connection: &Connection, key: i64) -> rusqlite::Result<Vec<(u32, String)>> {
    let mut statement = connection.prepare_cached("SELECT part, file FROM bundles WHERE bank_key = ?1")?;
    statement.query_map([key], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// A vector as a row keeps it.
pub(crate) fn packed(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn unpacked(bytes: &[u8]) -> Vector {
    bytes.as_chunks().0.iter().copied().map(f32::from_le_bytes).collect()
}

/// SQLite's integers are signed, and no bank has that many records.
fn as_row(revision: Revision) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

pub(crate) fn to_json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::internal(format!("cannot encode: {error}")))
}

fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text)
        .map_err(|error| Error::corruption(format!("a bank's row cannot be decoded: {error}")))
}

/// Makes the data directory, readable by its owner alone, and synced with every new folder above it.
pub(crate) fn make_directory(directory: &Path) -> Result<()> {
    let missing: Vec<&Path> = directory.ancestors().take_while(|folder| !folder.exists()).collect();
    let parents = missing.iter().rev().filter_map(|folder| folder.parent());
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .and_then(|()| parents.map(named).try_for_each(|parent| fs::File::open(parent)?.sync_all()))
        .map_err(|error| directory_error(directory, &error))
}

/// The parent of a bare name is the empty path, which stands for the current folder.
fn named(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
}

pub(crate) fn directory_error(directory: &Path, error: &std::io::Error) -> Error {
    let full = error.kind() == std::io::ErrorKind::StorageFull;
    let (kind, reason) =
        if full { (ErrorKind::Busy, "DISK_FULL") } else { (ErrorKind::Unsupported, "NOT_WRITABLE") };
    Error::new(kind, reason, format!("cannot use {} as data directory: {error}", directory.display()))
        .with("directory", directory.display())
}
