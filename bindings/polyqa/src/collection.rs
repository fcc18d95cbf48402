//! The class `Collection`.
use std::path::{Path, PathBuf};

use collection::Writer;
use pyo3::prelude::*;

use crate::arguments::{self, py_error, value_error};
use crate::signals::{SignalChecker, StopError};

/// A collection: documents in a folder that are indexed once and searched many times, as by
/// `polyqa index`.
///
/// `folder` is an existing collection. With `create=True`, a missing collection is created. Other
/// processes can read and change the collection at the same time; a reader searches its latest
/// state.
#[pyclass(module = "polyqa", frozen)]
pub struct Collection {
    pub inner: collection::Collection,
}

#[pymethods]
impl Collection {
    #[new]
    #[pyo3(signature = (folder, *, create=false))]
    fn new(py: Python<'_>, folder: PathBuf, create: bool) -> PyResult<Self> {
        let open = || open(&folder, create);
        Ok(Self { inner: py.detach(open).map_err(|error| py_error(&error))? })
    }

    /// Adds documents, or replaces those with the same ids, as one change: if it fails, the
    /// collection remains as it was before.
    ///
    /// `documents` is a list of `{"id": …, "text": …}`. The ids must be unique.
    fn update(&self, py: Python<'_>, documents: &Bound<'_, PyAny>) -> PyResult<()> {
        let documents = arguments::to_documents_with_ids(documents)?;
        self.change(py, |writer, signals| {
            if writer.snapshot().encoder().is_some() {
                return Err(StopError(value_error(&format!(
                    "{}: the collection has embeddings; add documents with `polyqa index --add \
                     --retriever MODEL`, so that they are embedded",
                    self.inner.folder().display()
                ))));
            }
            for polyqa::Document { id, text } in documents {
                let passages = polyqa::passage_ranges(&text);
                writer.update(&collection::Document { id, text, passages })?;
                signals.check()?;
            }
            Ok(())
        })
    }

    /// Removes the documents with these ids, as one change. `ids` is an id or a list of ids.
    fn remove(&self, py: Python<'_>, ids: &Bound<'_, PyAny>) -> PyResult<()> {
        let ids = arguments::to_ids(ids)?;
        self.change(py, |writer, signals| {
            for id in ids {
                writer.remove(&id)?;
                signals.check()?;
            }
            Ok(())
        })
    }

    /// Returns the number of documents.
    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        let count = py.detach(|| self.inner.snapshot().map(|snapshot| snapshot.document_count()));
        Ok(usize::try_from(count.map_err(|error| py_error(&error))?)?)
    }

    /// Returns whether there is a document with this id.
    fn __contains__(&self, py: Python<'_>, id: &str) -> PyResult<bool> {
        let contains = py.detach(|| self.inner.snapshot()?.contains(id));
        contains.map_err(|error| py_error(&error))
    }

    /// The folder.
    #[getter]
    fn folder(&self) -> &Path {
        self.inner.folder()
    }

    /// Returns the constructor arguments for pickle.
    fn __getnewargs__(&self) -> (&Path,) {
        (self.inner.folder(),)
    }

    fn __repr__(&self) -> String {
        format!("<Collection: {}>", self.inner.folder().display())
    }
}

impl Collection {
    /// Commits the changes of `operation`, or discards them if it fails.
    fn change(
        &self,
        py: Python<'_>,
        operation: impl FnOnce(&mut Writer, &mut SignalChecker) -> Result<(), StopError> + Send,
    ) -> PyResult<()> {
        let change = || -> Result<(), StopError> {
            let mut writer = Writer::open(self.inner.folder())?;
            operation(&mut writer, &mut SignalChecker::new())?;
            Ok(writer.finish()?)
        };
        py.detach(change).map_err(|StopError(error)| error)
    }
}

fn open(folder: &Path, create: bool) -> collection::Result<collection::Collection> {
    if create && !folder.join("collection.json").exists() {
        Writer::create(folder)?.finish()?;
    }
    collection::Collection::open(folder)
}
