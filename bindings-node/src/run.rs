//! A run: a container whose output is collected.

use std::os::fd::{AsFd, BorrowedFd};

use napi::bindgen_prelude::Buffer;
use napi_derive::napi;
use skep::Collector;

use crate::error::Failure;
use crate::exit::ExitStatus;
use crate::promise::Promise;
use crate::reactor::Task;

/// [`skep::Output`] as an object.
#[napi(object, object_from_js = false)]
pub(crate) struct Output {
    pub status: ExitStatus,
    pub stdout: Buffer,
    pub stderr: Buffer,
}

impl From<skep::Output> for Output {
    fn from(output: skep::Output) -> Output {
        Output {
            status: output.status.into(),
            stdout: output.stdout.into(),
            stderr: output.stderr.into(),
        }
    }
}

/// A run under way.
pub(crate) struct Run {
    pub(crate) collector: Collector,
    pub(crate) promise: Promise<Output>,
    /// What it came to, if that was found out on the way.
    pub(crate) result: Option<skep::Result<skep::Output>>,
}

impl Task for Run {
    fn child(&self) -> &skep::Child {
        self.collector.child()
    }

    fn pipes(&self) -> Option<BorrowedFd<'_>> {
        Some(self.collector.as_fd())
    }

    fn advance(&mut self) -> bool {
        self.result = self.collector.advance().transpose();
        self.result.is_some()
    }

    fn finish(self: Box<Self>) {
        let Run { collector, promise, result } = *self;
        let result = result.unwrap_or_else(|| collector.wait());
        promise.settle(result.map(Output::from).map_err(Failure::from));
    }

    fn fail(self: Box<Self>, failure: Failure) {
        self.promise.settle(Err(failure));
    }
}
