//! One error type for the whole engine. Kinds are few ("would the caller act differently?"), reasons are
//! stable identifiers, and the message names the parameter, the rule and the value.

use std::fmt;

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The named bank does not exist.
    NotFound,
    /// A bank of that id exists.
    AlreadyExists,
    /// The request breaks a rule; it will never succeed as it is.
    InvalidInput,
    /// The bank is not in the state the caller read; read again.
    Conflict,
    /// A page token or position is outside what the bank holds.
    OutOfRange,
    /// The request is well formed but this store cannot serve it in its present state.
    Unsupported,
    /// Try again later: the disk is full, or the store is closing.
    Busy,
    /// Stored bytes are not what was written.
    Corruption,
    /// A bug, or a failing disk.
    Internal,
}

/// An error with a stable reason, a message for people, and the variables of that message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub kind: ErrorKind,
    /// UPPER_SNAKE, such as `BANK_NOT_FOUND`; clients switch on it.
    pub reason: &'static str,
    pub message: String,
    /// Every variable that the message mentions.
    pub metadata: Vec<(&'static str, String)>,
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn new(kind: ErrorKind, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, reason, message: message.into(), metadata: Vec::new() }
    }

    pub fn invalid(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, reason, message)
    }

    pub fn conflict(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, reason, message)
    }

    pub fn corruption(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corruption, "STORE_CORRUPTED", message)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, "INTERNAL", message)
    }

    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.metadata.push((key, value.to_string()));
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
