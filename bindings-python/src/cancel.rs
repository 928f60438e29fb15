//! What takes long, and how it is ended before its time.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{Builder, JoinHandle};

use nix::sys::signal::{SigSet, SigmaskHow};
use pyo3::prelude::*;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use crate::error::{exhausted, forked, raise};
use crate::wait::poll;

/// Cancels the operation that it is given to, from any thread.
///
/// The operation raises CancelledError soon after `cancel()`, and leaves nothing half done. It is
/// cancelled for good: each operation has one of its own. What a signal's handler or a callback
/// raises in an operation cancels it, too.
#[pyclass(frozen, module = "skep")]
pub(crate) struct Cancel(skep::Cancel);

#[pymethods]
impl Cancel {
    #[new]
    fn new() -> Cancel {
        Cancel(skep::Cancel::new())
    }

    /// Ends the operations that have it, now or later. To cancel again does nothing.
    fn cancel(&self, py: Python<'_>) {
        py.detach(|| self.0.cancel());
    }

    /// Whether it is cancelled.
    #[getter]
    fn cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    fn __repr__(&self) -> String {
        let state = if self.cancelled() { "cancelled" } else { "not cancelled" };
        format!("<skep.Cancel {state}>")
    }
}

/// The argument `cancel`.
pub(crate) type Given<'a, 'py> = Option<&'a Bound<'py, Cancel>>;

/// Does `work`, which takes long, without the GIL.
///
/// Python runs the handlers of signals in the main thread. Called there, the work is done by a thread
/// that lives as long as this call, and this one waits for it and for signals. Called in another, it
/// is done by that.
///
/// If a handler raises an exception, the work is cancelled and has ended when that is raised.
pub(crate) fn interruptible<T: Send + 'static>(
    py: Python<'_>,
    cancel: Given<'_, '_>,
    work: impl FnOnce(&skep::Cancel) -> skep::Result<T> + Send + 'static,
) -> PyResult<T> {
    let cancel = core(cancel);
    if !is_main_thread(py)? {
        return py.detach(|| work(&cancel)).map_err(raise);
    }
    let work = |_: Reporter<()>, cancel: &skep::Cancel| work(cancel);
    Operation::start(py, cancel, work)?.complete(|()| Ok(()))
}

/// As [`interruptible`], for work that tells how far it is: `report` is called in this thread, and the
/// work waits for it.
pub(crate) fn reporting<T: Send + 'static, P: Send + 'static>(
    py: Python<'_>,
    cancel: Given<'_, '_>,
    report: impl Fn(P) -> PyResult<()>,
    work: impl FnOnce(Reporter<P>, &skep::Cancel) -> skep::Result<T> + Send + 'static,
) -> PyResult<T> {
    Operation::start(py, core(cancel), work)?.complete(report)
}

fn core(cancel: Given<'_, '_>) -> skep::Cancel {
    cancel.map_or_else(skep::Cancel::new, |cancel| cancel.get().0.clone())
}

fn is_main_thread(py: Python<'_>) -> PyResult<bool> {
    let threading = py.import("threading")?;
    let main = threading.call_method0("main_thread")?.getattr("ident")?;
    threading.call_method0("get_ident")?.eq(main)
}

const NAME: &str = "an operation on images";

fn unable(operation: &str, error: io::Error) -> PyErr {
    exhausted(operation, NAME, &error)
}

/// Work that a thread of its own does.
struct Operation<'py, T, P> {
    py: Python<'py>,
    cancel: skep::Cancel,
    events: Receiver<Event<T, P>>,
    /// Readable after an event.
    wake: Arc<OwnedFd>,
    thread: JoinHandle<()>,
    process: u32,
}

enum Event<T, P> {
    Progress(P),
    End(skep::Result<T>),
}

impl<'py, T: Send + 'static, P: Send + 'static> Operation<'py, T, P> {
    fn start(
        py: Python<'py>,
        cancel: skep::Cancel,
        work: impl FnOnce(Reporter<P>, &skep::Cancel) -> skep::Result<T> + Send + 'static,
    ) -> PyResult<Self> {
        // Of one: the work is never further ahead of what is told of it.
        let (sender, events) = sync_channel(1);
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let wake = Arc::new(eventfd(0, flags).map_err(|errno| unable("wait for", errno.into()))?);
        let line = Line { events: sender, wake: Arc::clone(&wake) };
        let (stop, process) = (cancel.clone(), std::process::id());
        let run = move || {
            let reporter = Reporter(Box::new({
                let line = line.clone();
                move |progress| line.send(Event::Progress(progress))
            }));
            line.send(Event::End(work(reporter, &stop)));
        };
        let thread = without_signals(|| Builder::new().name("skep-images".into()).spawn(run));
        let thread = thread.map_err(|error| unable("start", error))?;
        Ok(Operation { py, cancel, events, wake, thread, process })
    }

    /// Waits for the end, and calls `report` with what is told on the way. If that fails, or a
    /// signal's handler does, the work is cancelled and has ended when this returns.
    fn complete(self, report: impl Fn(P) -> PyResult<()>) -> PyResult<T> {
        let result = self.wait(report);
        if std::process::id() != self.process {
            // Forked in a handler or by `report`: the thread is in the original alone.
            std::mem::forget(self);
            return Err(result.err().unwrap_or_else(forked));
        }
        let Operation { py, cancel, events, thread, .. } = self;
        if result.is_err() {
            cancel.cancel();
        }
        let ended = py.detach(|| {
            // Whoever would still tell something must not wait for a listener.
            drop(events);
            thread.join()
        });
        match ended {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => result?.map_err(raise),
        }
    }

    fn wait(&self, report: impl Fn(P) -> PyResult<()>) -> PyResult<skep::Result<T>> {
        loop {
            self.py.check_signals()?;
            if std::process::id() != self.process {
                return Err(forked());
            }
            match self.events.try_recv() {
                Ok(Event::Progress(progress)) => report(progress)?,
                Ok(Event::End(result)) => return Ok(result),
                // It panicked, and `complete` goes on with that.
                Err(TryRecvError::Disconnected) => return Err(forked()),
                Err(TryRecvError::Empty) => self.sleep()?,
            }
        }
    }

    /// Waits for an event or a signal.
    fn sleep(&self) -> PyResult<()> {
        let wake = self.wake.as_fd();
        match self.py.detach(|| poll(wake, None)) {
            Ok(_) => {
                // Of all events so far at once; EAGAIN would be of none.
                let _ = rustix::io::read(&*self.wake, &mut [0; 8]);
                Ok(())
            }
            Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(io::Error::from(errno).into()),
        }
    }
}

/// The work's end of the line to the thread that waits for it.
struct Line<T, P> {
    events: SyncSender<Event<T, P>>,
    wake: Arc<OwnedFd>,
}

impl<T, P> Clone for Line<T, P> {
    fn clone(&self) -> Self {
        Line { events: self.events.clone(), wake: Arc::clone(&self.wake) }
    }
}

impl<T, P> Line<T, P> {
    fn send(&self, event: Event<T, P>) {
        // Behind the event, for who reads the number finds it. Nobody may listen any more.
        if self.events.send(event).is_ok() {
            let _ = rustix::io::write(&*self.wake, &1u64.to_ne_bytes());
        }
    }
}

/// Tells the thread that waits for some work how far that is.
pub(crate) struct Reporter<P>(Box<dyn Fn(P) + Send + Sync>);

impl<P> Reporter<P> {
    pub(crate) fn report(&self, progress: P) {
        self.0(progress);
    }
}

/// Starts a thread that has all signals blocked from its birth: the host's handlers run in the host's
/// own threads.
fn without_signals<T>(start: impl FnOnce() -> T) -> T {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
    let result = start();
    if let Ok(before) = before {
        // Fails only for a bad address or a bad way.
        let _ = before.thread_set_mask();
    }
    result
}
