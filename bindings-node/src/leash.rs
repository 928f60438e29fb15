//! What holds a container from before its start to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use napi_derive::napi;

use crate::reactor;

/// A container's leash, made before its start. To let go of it, as garbage or with the environment
/// that it belongs to, kills the container: that is how a terminated worker leaves none behind.
#[napi]
pub struct Leash(Arc<Link>);

/// The container's end of a leash.
pub(crate) struct Link {
    /// The container's name in the reactor.
    pub(crate) token: u64,
    killed: AtomicBool,
    /// Ends what comes before the start.
    pub(crate) cancel: skep::Cancel,
}

#[napi]
impl Leash {
    #[napi(constructor)]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Leash {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let token = NEXT.fetch_add(1, Ordering::Relaxed);
        Leash(Arc::new(Link { token, killed: AtomicBool::new(false), cancel: skep::Cancel::new() }))
    }

    /// Kills the container, now or as soon as there is one. One that has ended is left alone.
    #[napi]
    pub fn kill(&self) {
        // In this order: the reactor looks at the flag when it puts a container into its map.
        self.0.killed.store(true, Ordering::SeqCst);
        self.0.cancel.cancel();
        reactor::kill(self.0.token);
    }

    pub(crate) fn link(&self) -> Arc<Link> {
        Arc::clone(&self.0)
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Link {
    pub(crate) fn killed(&self) -> bool {
        self.killed.load(Ordering::SeqCst)
    }
}
