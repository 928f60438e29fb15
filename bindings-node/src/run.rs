//! A run: a container whose output is collected.

use std::os::fd::{AsFd, BorrowedFd};

use napi::Either;
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
    pub stdout: Said,
    pub stderr: Said,
}

/// Text, or bytes: two Buffers would cost as much as everything else of a result.
type Said = Either<String, Buffer>;

impl Output {
    fn new(output: skep::Output, text: bool) -> Output {
        let said = |bytes| if text { Either::A(decoded(bytes)) } else { Either::B(bytes.into()) };
        Output {
            status: output.status.into(),
            stdout: said(output.stdout),
            stderr: said(output.stderr),
        }
    }
}

/// As `Buffer.toString` has it: what is no UTF-8 becomes U+FFFD.
fn decoded(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// A run under way.
pub(crate) struct Run {
    pub(crate) collector: Collector,
    pub(crate) promise: Promise<Output>,
    /// Whether what it says is text.
    pub(crate) text: bool,
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
        let Run { collector, promise, text, result } = *self;
        let result = result.unwrap_or_else(|| collector.wait());
        let output = result.map(|output| Output::new(output, text));
        promise.settle(output.map_err(Failure::from));
    }

    fn fail(self: Box<Self>, failure: Failure) {
        self.promise.settle(Err(failure));
    }
}
