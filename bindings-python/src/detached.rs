//! Handles whose last drop may take milliseconds.

use std::ops::Deref;
use std::sync::Arc;

use pyo3::prelude::*;

/// A shared handle that is dropped without the GIL: the last drop of a running container kills it
/// and waits for its end, and Python collects garbage wherever it likes.
pub(crate) struct Detached<T: Send + Sync>(Option<Arc<T>>);

impl<T: Send + Sync> Detached<T> {
    pub(crate) fn new(handle: Arc<T>) -> Detached<T> {
        Detached(Some(handle))
    }
}

impl<T: Send + Sync> Deref for Detached<T> {
    type Target = Arc<T>;

    fn deref(&self) -> &Arc<T> {
        // Taken out by `drop` alone.
        self.0.as_ref().expect("a handle is there until it is dropped")
    }
}

impl<T: Send + Sync> Drop for Detached<T> {
    fn drop(&mut self) {
        let handle = self.0.take();
        // An interpreter that is ending cannot be left and entered again: dropped as it is, then.
        Python::try_attach(|py| py.detach(|| drop(handle)));
    }
}
