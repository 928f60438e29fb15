//! The threads on which is waited: for starts and removals of containers, and for images.
//!
//! They are for the whole process, all its engines and workers, and made when they are first wanted.
//! libuv's are left to those that they are for: files, DNS, compression.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// For what takes milliseconds: starts, removals, looks into the store. Starts spend their time in
/// the kernel, much of it behind locks: more at once gain nothing.
pub(crate) static SHORT: Pool = Pool::new("skep-pool", 4, Duration::MAX);

/// For what may take minutes: pulls, loads, commits. They wait for networks, pipes and disks, and
/// must hold up neither a start nor, as long as they are not that many, one another.
pub(crate) static LONG: Pool = Pool::new("skep-images", 64, Duration::from_secs(5));

/// For images that are unpacked in their first start, which must not wait for a pull either.
pub(crate) static UNPACK: Pool = Pool::new("skep-unpack", 4, Duration::from_secs(5));

pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// Threads that do jobs in the order of their submission.
pub(crate) struct Pool {
    name: &'static str,
    /// Threads at one time.
    most: usize,
    /// How long a thread stays that has nothing to do.
    patience: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

/// A job that no thread has yet, and what ends it.
struct Waiting {
    job: Job,
    cancel: Option<skep::Cancel>,
}

struct State {
    jobs: VecDeque<Waiting>,
    threads: usize,
    idle: usize,
}

impl Pool {
    const fn new(name: &'static str, most: usize, patience: Duration) -> Pool {
        let state = Mutex::new(State { jobs: VecDeque::new(), threads: 0, idle: 0 });
        Pool { name, most, patience, state, changed: Condvar::new() }
    }

    /// Has `job` done.
    ///
    /// # Errors
    /// If there is no thread, and none can be made; with the job.
    pub(crate) fn submit(
        &'static self,
        job: impl FnOnce() + Send + 'static,
    ) -> Result<(), (io::Error, Job)> {
        self.enqueue(Waiting { job: Box::new(job), cancel: None })
    }

    /// As [`submit`](Self::submit), for a job that ends at once when it begins cancelled: see
    /// [`hurry`](Self::hurry).
    pub(crate) fn submit_cancellable(
        &'static self,
        cancel: &skep::Cancel,
        job: impl FnOnce() + Send + 'static,
    ) -> Result<(), (io::Error, Job)> {
        self.enqueue(Waiting { job: Box::new(job), cancel: Some(cancel.clone()) })
    }

    /// Has [`SHORT`] do the jobs that were cancelled before a thread came to them: they are not to wait
    /// for others, which may take long.
    pub(crate) fn hurry(&self) {
        for Waiting { job, .. } in self.take_cancelled() {
            SHORT.submit(job).unwrap_or_else(|(_, job)| job());
        }
    }

    fn take_cancelled(&self) -> VecDeque<Waiting> {
        let mut state = self.lock();
        let jobs = std::mem::take(&mut state.jobs);
        let (cancelled, others): (VecDeque<_>, VecDeque<_>) =
            jobs.into_iter().partition(|waiting: &Waiting| {
                waiting.cancel.as_ref().is_some_and(skep::Cancel::is_cancelled)
            });
        state.jobs = others;
        cancelled
    }

    fn enqueue(&'static self, job: Waiting) -> Result<(), (io::Error, Job)> {
        let mut state = self.lock();
        if state.jobs.len() >= state.idle && state.threads < self.most {
            match thread::Builder::new().name(self.name.into()).spawn(move || self.work()) {
                Ok(_) => state.threads += 1,
                Err(error) if state.threads == 0 => return Err((error, job.job)),
                // The others will come to it.
                Err(_) => {}
            }
        }
        state.jobs.push_back(job);
        self.changed.notify_one();
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No job is done under the lock, so that nothing can panic half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some(job) = self.next() {
            // The promise that a panicking job drops is rejected by that.
            let _ = catch_unwind(AssertUnwindSafe(job));
        }
    }

    /// The next job; `None` if the thread is to end, and is counted no more.
    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        state.idle += 1;
        let waited =
            self.changed.wait_timeout_while(state, self.patience, |state| state.jobs.is_empty());
        (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.idle -= 1;
        let job = state.jobs.pop_front();
        if job.is_none() {
            state.threads -= 1;
        }
        job.map(|Waiting { job, .. }| job)
    }
}
