//! `skep-oci`: an OCI runtime command over skep, for podman, containerd and the like.
//!
//! It says what runc says where other programs read it: the arguments, the JSON of `state`, the
//! texts of a few errors. A container's first process becomes a child of the caller's child
//! subreaper; nothing of this command stays behind but a directory below `--root`.
//!
//! Source: <https://github.com/opencontainers/runtime-spec/blob/main/runtime.md>,
//! <https://github.com/opencontainers/runtime-tools/blob/master/docs/command-line-interface.md>
#![cfg(target_os = "linux")]

mod arguments;
mod commands;
mod foreground;
mod log;
mod process;
mod state;
mod time;

use std::process::ExitCode;

/// What went wrong, as a sentence.
type Error = Box<dyn std::error::Error>;
type Result<T, E = Error> = std::result::Result<T, E>;

fn main() -> ExitCode {
    let mut log = log::Log::default();
    let code = arguments::parse(std::env::args_os()).and_then(|arguments| {
        log = arguments.global.log.clone();
        commands::run(&arguments)
    });
    match code {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let message = log::message(error.as_ref());
            log.error(&message);
            eprintln!("skep-oci: {message}");
            ExitCode::FAILURE
        }
    }
}
