//! The threads on which starts, image loads and removals wait.
//!
//! A few for the whole process, all its engines and workers, made when they are first wanted and
//! then kept. libuv's are left to those that they are for: files, DNS, compression.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Starts spend their time in the kernel, much of it behind locks: more at once gain nothing.
const MOST: usize = 4;

type Job = Box<dyn FnOnce() + Send>;

static POOL: Pool = Pool {
    state: Mutex::new(State { jobs: VecDeque::new(), threads: 0, idle: 0 }),
    changed: Condvar::new(),
};

struct Pool {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

/// Has `job` done, in the order of submission.
///
/// # Errors
/// If there is no thread, and none can be made.
pub(crate) fn submit(job: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let mut state = POOL.lock();
    if state.jobs.len() >= state.idle && state.threads < MOST {
        match thread::Builder::new().name("skep-pool".into()).spawn(|| POOL.work()) {
            Ok(_) => state.threads += 1,
            Err(error) if state.threads == 0 => return Err(error),
            // The others will come to it.
            Err(_) => {}
        }
    }
    state.jobs.push_back(Box::new(job));
    POOL.changed.notify_one();
    Ok(())
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No job is done under the lock, so that nothing can panic half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        loop {
            let job = self.next();
            // The promise that a panicking job drops is rejected by that.
            let _ = catch_unwind(AssertUnwindSafe(job));
        }
    }

    fn next(&self) -> Job {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return job;
            }
            state.idle += 1;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }
}
