//! Reports of pulls and pushes, on their way to JavaScript.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use napi::bindgen_prelude::Function;
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi::{Either, Result};
use napi_derive::napi;
use skep::image::registry::{Progress, PushProgress, Pushed};

/// [`Progress`] as an object.
#[napi(object, object_from_js = false)]
pub struct PullReport {
    pub layer: String,
    pub total: f64,
    pub fetched: f64,
    pub unpacked: bool,
}

/// [`PushProgress`] as an object.
#[napi(object, object_from_js = false, use_nullable = true)]
pub struct PushReport {
    pub blob: String,
    pub total: f64,
    pub sent: f64,
    pub done: Option<&'static str>,
}

pub(crate) type Report = Either<PullReport, PushReport>;

/// What JavaScript has not been told yet: of each blob the newest report. So neither does a busy
/// event loop hold up a pull, nor does a pull fill the memory meanwhile.
#[napi]
pub struct Reports(Arc<Mutex<Pending>>);

#[derive(Default)]
struct Pending {
    reports: Vec<Report>,
    /// Whether JavaScript was asked to [take](Reports::take) them.
    woken: bool,
}

#[napi]
impl Reports {
    #[napi(constructor)]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Reports {
        Reports(Arc::default())
    }

    /// Those that have come since the last time.
    #[napi]
    pub fn take(&self) -> Vec<Report> {
        let mut pending = lock(&self.0);
        pending.woken = false;
        std::mem::take(&mut pending.reports)
    }
}

impl Reports {
    /// What takes reports on any thread and has JavaScript's call `wake` for them. It does not keep
    /// the event loop alive.
    pub(crate) fn sender<P: Copy + 'static>(
        &self,
        wake: &Function<'_, (), ()>,
        object: fn(P) -> Report,
    ) -> Result<impl Fn(&P) + Send + Sync + 'static + use<P>> {
        let wake = wake.build_threadsafe_function().callee_handled::<false>().weak::<true>();
        let wake = wake.build()?;
        let pending = Arc::clone(&self.0);
        Ok(move |report: &P| {
            if lock(&pending).push(object(*report)) {
                // There is nobody to tell where an environment ends.
                let _ = wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
            }
        })
    }
}

fn lock(pending: &Mutex<Pending>) -> MutexGuard<'_, Pending> {
    // Nothing can panic half way through a change.
    pending.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pending {
    /// In the place of an older one of the same blob. Whether JavaScript is to be woken.
    fn push(&mut self, report: Report) -> bool {
        match self.reports.iter_mut().find(|older| blob(older) == blob(&report)) {
            Some(older) => *older = report,
            None => self.reports.push(report),
        }
        !std::mem::replace(&mut self.woken, true)
    }
}

fn blob(report: &Report) -> &str {
    match report {
        Either::A(pull) => &pull.layer,
        Either::B(push) => &push.blob,
    }
}

impl PullReport {
    pub(crate) fn new(progress: Progress) -> Report {
        Either::A(PullReport {
            layer: progress.layer.to_string(),
            total: progress.total as f64,
            fetched: progress.fetched as f64,
            unpacked: progress.unpacked,
        })
    }
}

impl PushReport {
    pub(crate) fn new(progress: PushProgress) -> Report {
        Either::B(PushReport {
            blob: progress.blob.to_string(),
            total: progress.total as f64,
            sent: progress.sent as f64,
            done: progress.done.map(|done| match done {
                Pushed::Existed => "existed",
                Pushed::Mounted => "mounted",
                // And what core may come to know.
                _ => "sent",
            }),
        })
    }
}
