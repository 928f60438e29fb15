//! What ends a long operation.

use napi_derive::napi;

use crate::pool;

/// [`skep::Cancel`] of one operation. As a [`Leash`](crate::leash::Leash), it ends what it holds when it
/// is let go of: a terminated worker leaves no pull behind.
#[napi]
pub struct Cancel(pub(crate) skep::Cancel);

#[napi]
impl Cancel {
    #[napi(constructor)]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Cancel {
        Cancel(skep::Cancel::new())
    }

    /// Cancels the operation.
    #[napi]
    pub fn kill(&self) {
        self.0.cancel();
        pool::LONG.hurry();
    }
}

impl Drop for Cancel {
    fn drop(&mut self) {
        self.kill();
    }
}
