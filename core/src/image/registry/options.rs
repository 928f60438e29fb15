//! What a caller may say about a pull, and what it is told.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::settings::Registries;
use crate::image::manifest::Descriptor;
use crate::image::signature::Policy;
use crate::image::{Digest, Platform};

/// How far one layer of a pull is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The digest of the layer's blob.
    pub layer: Digest,
    /// The blob's bytes.
    pub total: u64,
    /// Those of them that are here.
    pub fetched: u64,
    /// Whether the layer is unpacked.
    pub unpacked: bool,
}

type Callback = Arc<dyn Fn(&Progress) + Send + Sync>;

/// How [`Images::pull`](crate::Images::pull) pulls.
///
/// ```
/// use skep::image::registry::PullOptions;
///
/// let options = PullOptions::new()
///     .platform("linux/arm64".parse()?)
///     .progress(|progress| eprintln!("{} {}", progress.layer, progress.fetched));
/// # let _ = options;
/// # Ok::<(), skep::Error>(())
/// ```
#[derive(Clone)]
pub struct PullOptions {
    pub(super) registries: Registries,
    pub(super) platform: Option<Platform>,
    pub(super) parallel: usize,
    pub(super) unpack: bool,
    pub(super) policy: Policy,
    progress: Option<Callback>,
}

impl Default for PullOptions {
    fn default() -> Self {
        PullOptions {
            registries: Registries::new(),
            platform: None,
            parallel: 4,
            unpack: true,
            policy: Policy::default(),
            progress: None,
        }
    }
}

impl fmt::Debug for PullOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PullOptions { registries, platform, parallel, unpack, policy, progress } = self;
        f.debug_struct("PullOptions")
            .field("registries", registries)
            .field("platform", platform)
            .field("parallel", parallel)
            .field("unpack", unpack)
            .field("policy", policy)
            .field("progress", &progress.is_some())
            .finish()
    }
}

impl PullOptions {
    /// For this machine's platform, four blobs at once, then unpacked.
    pub fn new() -> Self {
        PullOptions::default()
    }

    /// Reaches registries in this way.
    pub fn registries(mut self, registries: &Registries) -> Self {
        self.registries = registries.clone();
        self
    }

    /// Pulls the image for `platform`, be it this machine's or not.
    pub fn platform(mut self, platform: Platform) -> Self {
        self.platform = Some(platform);
        self
    }

    /// Fetches this many blobs at once, at least one; 4 unless told otherwise.
    pub fn parallel(mut self, blobs: usize) -> Self {
        self.parallel = blobs;
        self
    }

    /// Whether layers are unpacked at once, which they are unless told otherwise, or when they are
    /// first used.
    pub fn unpack(mut self, unpack: bool) -> Self {
        self.unpack = unpack;
        self
    }

    /// Takes only what `policy` accepts, which is anything unless told otherwise.
    pub fn policy(mut self, policy: &Policy) -> Self {
        self.policy = policy.clone();
        self
    }

    /// Calls `report` at each step of each layer: when it begins, every 256 KiB, when it is here,
    /// and when it is unpacked. Several threads call it, one at a time, and wait until it returns: it
    /// must not itself pull, or ask for an image's [layers](crate::image::Image::layers), for that
    /// may wait for this pull.
    pub fn progress(mut self, report: impl Fn(&Progress) + Send + Sync + 'static) -> Self {
        self.progress = Some(one_at_a_time(report));
        self
    }

    pub(super) fn report(&self, layer: &Descriptor, fetched: u64, unpacked: bool) {
        if let Some(report) = &self.progress {
            report(&Progress { layer: layer.digest, total: layer.size, fetched, unpacked });
        }
    }
}

/// `report`, which no two threads call at once.
pub(super) fn one_at_a_time<P>(
    report: impl Fn(&P) + Send + Sync + 'static,
) -> Arc<dyn Fn(&P) + Send + Sync> {
    let one = Mutex::new(());
    Arc::new(move |progress| {
        let _held = one.lock().unwrap_or_else(PoisonError::into_inner);
        report(progress);
    })
}
