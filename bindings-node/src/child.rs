//! A running container.

use std::os::fd::{BorrowedFd, IntoRawFd, OwnedFd};
use std::sync::Arc;

use napi::bindgen_prelude::{Object, ToNapiValue};
use napi::{Env, Result};
use napi_derive::napi;
use skep::container::CancellableChild;

use crate::cancel::Cancel;
use crate::commit::Commit;
use crate::error::Failure;
use crate::exit::{ExitStatus, Usage};
use crate::image::{Image, changes};
use crate::leash::Leash;
use crate::pool;
use crate::promise::{Promise, offload, offload_long};
use crate::reactor::{self, Task};

/// [`skep::Child`], with its pipes until JavaScript takes them.
#[napi]
pub struct Child {
    child: Arc<skep::Child>,
    /// Whether files are kept for it.
    keeps: bool,
    pipes: [Option<OwnedFd>; 3],
}

#[napi]
impl Child {
    #[napi(getter)]
    pub fn id(&self) -> &str {
        self.child.id()
    }

    /// The number of the signal that asks it to stop.
    #[napi(getter)]
    pub fn stop_signal(&self) -> i32 {
        self.child.stop_signal()
    }

    /// The host's end of stream 0, 1 or 2, if it is a pipe that has not been taken: the caller's to
    /// close.
    #[napi]
    pub fn take_pipe(&mut self, stream: u32) -> Option<i32> {
        Some(self.pipes.get_mut(stream as usize)?.take()?.into_raw_fd())
    }

    /// A promise of its end. Until then the reactor holds it.
    #[napi]
    pub fn exit<'env>(&self, env: &'env Env, leash: &Leash) -> Result<Object<'env>> {
        let (promise, object) = Promise::new(env)?;
        let task = Box::new(Exit { child: Arc::clone(&self.child), promise });
        reactor::watch(leash.link(), task);
        Ok(object)
    }

    #[napi]
    pub fn signal(&self, env: &Env, number: i32) -> Result<()> {
        self.child.signal(number).map_err(|error| Failure::from(error).throw(env))
    }

    #[napi]
    pub fn usage<'env>(&self, env: &'env Env) -> Result<Object<'env>> {
        let child = Arc::clone(&self.child);
        offload(env, &pool::SHORT, move || Ok(Usage::from(child.usage()?)))
    }

    /// A promise of an image of its own and of what it has written.
    #[napi]
    pub fn commit<'env>(
        &self,
        env: &'env Env,
        cancel: &Cancel,
        commit: Commit,
    ) -> Result<Object<'env>> {
        self.long(env, cancel, move |child| child.commit(&commit.build()?).map(Image::from))
    }

    /// A promise of what it has changed of its root.
    #[napi]
    pub fn diff<'env>(&self, env: &'env Env, cancel: &Cancel) -> Result<Object<'env>> {
        self.long(env, cancel, |child| child.diff().map(changes))
    }

    /// A promise that its files are an archive.
    #[napi]
    pub fn export<'env>(
        &self,
        env: &'env Env,
        cancel: &Cancel,
        path: String,
    ) -> Result<Object<'env>> {
        self.long(env, cancel, move |child| child.export(path))
    }

    fn long<'env, T: ToNapiValue + Send + 'static>(
        &self,
        env: &'env Env,
        cancel: &Cancel,
        work: impl FnOnce(&CancellableChild<'_>) -> skep::Result<T> + Send + 'static,
    ) -> Result<Object<'env>> {
        let (child, cancel) = (Arc::clone(&self.child), cancel.0.clone());
        offload_long(env, &cancel.clone(), move || {
            work(&child.cancellable(&cancel)).map_err(Failure::from)
        })
    }

    /// A promise that files kept for it are removed. It has ended.
    #[napi]
    pub fn remove_files<'env>(&self, env: &'env Env) -> Result<Object<'env>> {
        let child = Arc::clone(&self.child);
        offload(env, &pool::SHORT, move || {
            child.remove_files();
            Ok(())
        })
    }

    pub(crate) fn new(mut child: skep::Child, keeps: bool) -> Child {
        let pipes = [
            child.stdin.take().map(OwnedFd::from),
            child.stdout.take().map(OwnedFd::from),
            child.stderr.take().map(OwnedFd::from),
        ];
        Child { child: Arc::new(child), keeps, pipes }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.keeps {
            let child = Arc::clone(&self.child);
            // The garbage collector is not to wait for it.
            let _ = pool::SHORT.submit(move || child.remove_files());
        }
    }
}

/// A child whose end is waited for.
struct Exit {
    child: Arc<skep::Child>,
    promise: Promise<ExitStatus>,
}

impl Task for Exit {
    fn child(&self) -> &skep::Child {
        &self.child
    }

    fn pipes(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn advance(&mut self) -> bool {
        false
    }

    fn finish(self: Box<Self>) {
        self.promise.settle(self.child.wait().map(ExitStatus::from).map_err(Failure::from));
    }

    fn fail(self: Box<Self>, failure: Failure) {
        self.promise.settle(Err(failure));
    }
}
