//! What a finished container has said.

use std::ffi::c_char;
use std::ptr;

use crate::exit::skep_exit_status;
use crate::panic;

/// Bytes that an object keeps, valid as long as that.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct skep_slice {
    /// The first of them. A NUL byte that is not counted stands behind the last, so that text can be
    /// printed as a string; never NULL.
    pub data: *const c_char,
    /// How many there are.
    pub length: usize,
}

/// How a container ended and all it has said. It never changes: any thread may read it.
#[derive(Debug)]
pub struct skep_output {
    status: skep_exit_status,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl From<skep::Output> for skep_output {
    fn from(output: skep::Output) -> skep_output {
        let skep::Output { status, mut stdout, mut stderr } = output;
        stdout.push(0);
        stderr.push(0);
        skep_output { status: status.into(), stdout, stderr }
    }
}

/// Without the NUL byte at its end.
fn slice(bytes: Option<&Vec<u8>>) -> skep_slice {
    let bytes = bytes.map_or(&b"\0"[..], Vec::as_slice);
    skep_slice { data: bytes.as_ptr().cast(), length: bytes.len() - 1 }
}

/// How it ended. Valid as long as the output; NULL for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn skep_output_status(output: Option<&skep_output>) -> *const skep_exit_status {
    output.map_or(ptr::null(), |output| &output.status)
}

/// All of its standard output, if that was a pipe, as it is by default. Empty for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn skep_output_stdout(output: Option<&skep_output>) -> skep_slice {
    slice(output.map(|output| &output.stdout))
}

/// All of its standard error, if that was a pipe, as it is by default. Empty for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn skep_output_stderr(output: Option<&skep_output>) -> skep_slice {
    slice(output.map(|output| &output.stderr))
}

/// Frees an output. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn skep_output_free(output: Option<Box<skep_output>>) {
    panic::free(output);
}
