//! The store's class.

use std::path::{Path, PathBuf};

use memcore_engine::model::{BankSettings, Durability, Embedder, Metadata};
use memcore_engine::{OpenOptions, Store as Engine, limits};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::bank::{Bank, pages};
use crate::error::{count, raise, refuse};
use crate::operation::memory_types;

const PAGE: usize = 1000;

/// Banks in one directory, or in RAM only. Closing it ends every handle on it.
#[pyclass(frozen, module = "memcore")]
pub struct Store(pub Engine);

#[pymethods]
impl Store {
    /// Opens a directory, which is created if there is none; one process at a time. `note` is shown to a
    /// second opener.
    #[staticmethod]
    #[pyo3(signature = (path, *, note=""))]
    fn open(py: Python<'_>, path: PathBuf, note: &str) -> PyResult<Self> {
        let options = OpenOptions { note: note.to_owned(), ..OpenOptions::default() };
        py.detach(|| Engine::open(&path, options)).map(Self).map_err(raise)
    }

    /// A store without a directory: every bank lives in RAM until it is closed.
    #[staticmethod]
    fn in_memory(py: Python<'_>) -> Self {
        Self(py.detach(Engine::in_memory))
    }

    /// The directory; None for a store in RAM.
    #[getter]
    fn path(&self) -> Option<&Path> {
        self.0.dir()
    }

    /// Finishes the writes that wait and lets go of the directory. Later writes fail with BusyError.
    fn close(&self, py: Python<'_>) {
        py.detach(|| self.0.close());
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyAny>) {
        self.close(py);
    }

    /// Calls one RPC of MemoryService in this process: its name, its encoded request; its encoded reply.
    fn call<'py>(&self, py: Python<'py>, method: &str, request: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let reply = py.detach(|| memcore_server::call(&self.0, method, request));
        Ok(PyBytes::new(py, &reply.map_err(raise)?))
    }

    /// Waits until indexes are in shape: tails sealed, parts merged, built-in vectors made. Nobody has to wait for
    /// it; searches are right without.
    fn wait_for_upkeep(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.0.wait_for_upkeep()).map_err(raise)
    }

    /// Creates an empty bank. `embedder` is `builtin`, `none`, or `external` with a model's id and dimensions.
    #[pyo3(signature = (
        bank_id, *, durability="synced", core_token_limit=512, language="en", disabled_types=None,
        max_chunk_failures=3, labels=None, request_id="", embedder="builtin", embedder_id="", dimensions=0,
    ))]
    #[expect(clippy::too_many_arguments, reason = "keywords in Python")]
    fn create_bank(
        &self,
        py: Python<'_>,
        bank_id: &str,
        durability: &str,
        core_token_limit: i64,
        language: &str,
        disabled_types: Option<Vec<String>>,
        max_chunk_failures: i64,
        labels: Option<Metadata>,
        request_id: &str,
        embedder: &str,
        embedder_id: &str,
        dimensions: i64,
    ) -> PyResult<Bank> {
        let settings = BankSettings {
            durability: parse_durability(durability)?,
            core_token_limit: count("core_token_limit", core_token_limit, 1..=limits::CORE_TOKENS as usize)?,
            language: language.to_owned(),
            disabled_types: memory_types(&disabled_types.unwrap_or_default())?,
            max_chunk_failures: count(
                "max_chunk_failures",
                max_chunk_failures,
                1..=limits::CHUNK_FAILURES as usize,
            )?,
            labels: labels.unwrap_or_default(),
            embedder: parse_embedder(embedder, embedder_id, dimensions)?,
        };
        let bank = py.detach(|| self.0.create_bank(bank_id, settings, request_id));
        Ok(Bank::new(self.0.clone(), bank.map_err(raise)?))
    }

    /// The bank of that id.
    fn bank(&self, py: Python<'_>, bank_id: &str) -> PyResult<Bank> {
        let bank = py.detach(|| self.0.bank(bank_id, None)).map_err(raise)?;
        Ok(Bank::new(self.0.clone(), bank))
    }

    /// Ids of all banks, in order.
    fn bank_ids(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let banks = py
            .detach(|| pages(|after: Option<String>| self.0.banks(after.as_deref(), false, PAGE)))
            .map_err(raise)?;
        Ok(banks.into_iter().map(|bank| bank.bank_id).collect())
    }

    /// Deletes a bank and all that is in it.
    fn delete_bank(&self, py: Python<'_>, bank_id: &str) -> PyResult<()> {
        py.detach(|| self.0.delete_bank(bank_id, None)).map_err(raise)
    }

    fn __repr__(&self) -> String {
        match self.0.dir() {
            Some(dir) => format!("Store(path={:?})", dir.display().to_string()),
            None => "Store.in_memory()".into(),
        }
    }
}

pub fn parse_embedder(kind: &str, id: &str, dimensions: i64) -> PyResult<Embedder> {
    if kind != "external" && !(id.is_empty() && dimensions == 0) {
        let message = format!(
            "embedder_id and dimensions must be left out unless embedder is external, got {id:?} and {dimensions}"
        );
        return Err(refuse("INVALID_EMBEDDER", message));
    }
    match kind {
        "builtin" => Ok(Embedder::Builtin),
        "none" => Ok(Embedder::None),
        "external" => {
            let dimensions = count("dimensions", dimensions, 1..=limits::DIMENSIONS as usize)?;
            Ok(Embedder::External { id: id.to_owned(), dimensions })
        }
        _ => {
            let message = format!("embedder must be builtin, none or external, got {kind:?}");
            Err(refuse("INVALID_EMBEDDER", message))
        }
    }
}

pub fn embedder_name(embedder: &Embedder) -> &'static str {
    match embedder {
        Embedder::Builtin => "builtin",
        Embedder::None => "none",
        Embedder::External { .. } => "external",
    }
}

fn parse_durability(name: &str) -> PyResult<Durability> {
    match name {
        "synced" => Ok(Durability::Synced),
        "volatile" => Ok(Durability::Volatile),
        _ => {
            let message = format!("durability must be synced or volatile, got {name:?}");
            Err(refuse("INVALID_DURABILITY", message))
        }
    }
}
