//! How many bytes an operation may make of an image's: what a decompression bomb runs into.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Error, ErrorKind, Result};

/// As many bytes may come of the smallest image, if nobody says how many.
const FLOOR: u64 = 16 << 30;

/// As many bytes may come of each byte of an image, if nobody says how many. Real images have 2 to
/// 10; gzip has 1,032 at most, zstd and sparse files any number.
const RATIO: u64 = 50;

/// Bytes that may still come. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    most: u64,
    left: Arc<AtomicU64>,
}

impl Default for Budget {
    /// Any number.
    fn default() -> Self {
        Budget::of(u64::MAX)
    }
}

impl Budget {
    /// `most`, or if nobody says how many, what the `compressed` bytes of an image may become.
    pub(crate) fn new(most: Option<u64>, compressed: u64) -> Self {
        Budget::of(most.unwrap_or_else(|| compressed.saturating_mul(RATIO).max(FLOOR)))
    }

    fn of(most: u64) -> Self {
        Budget { most, left: Arc::new(AtomicU64::new(most)) }
    }

    /// Takes `bytes`.
    ///
    /// # Errors
    /// `ResourceExhausted` if so many are not left; `subject` is what they come of.
    pub(crate) fn take(&self, bytes: u64, subject: &str) -> Result<()> {
        let enough = |left: u64| left.checked_sub(bytes);
        match self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, enough) {
            Ok(_) => Ok(()),
            Err(_) => Err(self.exceeded(subject)),
        }
    }

    /// Takes `bytes` no more: what came of them was thrown away.
    pub(crate) fn give_back(&self, bytes: u64) {
        let less = |left: u64| Some(left.saturating_add(bytes).min(self.most));
        // It cannot fail: there is always a number.
        let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// As [`take`](Self::take), within a reader.
    pub(crate) fn read(&self, bytes: usize) -> io::Result<usize> {
        self.take(bytes as u64, "image").map_err(io::Error::other)?;
        Ok(bytes)
    }

    fn exceeded(&self, subject: &str) -> Error {
        Error::new(ErrorKind::ResourceExhausted, "unpack", subject)
            .cause(format!("it becomes more than {} bytes", self.most))
            .fix("if it is not a bomb, allow a larger max_size")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_bounds_is_bounded_by_what_it_comes_of() {
        for (most, compressed, bound) in [
            (None, 0, FLOOR),
            (None, FLOOR, FLOOR * RATIO),
            (None, u64::MAX, u64::MAX),
            (Some(7), FLOOR, 7),
        ] {
            let budget = Budget::new(most, compressed);
            let clone = budget.clone();
            budget.take(bound, "it").unwrap();
            clone.take(0, "it").unwrap();
            let error = clone.take(1, "it").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
            let expected = format!(
                "cannot unpack it: it becomes more than {bound} bytes; if it is not a bomb, allow a \
                 larger max_size"
            );
            assert_eq!(error.to_string(), expected);
        }
    }
}
