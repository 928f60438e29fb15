//! skep's keeper: the one process that starts containers and holds their lives.
//!
//! A static program without std, allocator or dependencies, embedded in the library and started
//! at an engine's first container. It knows no paths, no JSON and no policy: it receives plans,
//! lists of system calls, and carries each out in a new process. See `protocol.rs` for what is
//! said, `interpreter.rs` for how a plan runs, `server.rs` for the loop.
//!
//! Built by core's build.rs with `rustc` directly; it is no crate of the workspace.
#![no_std]
#![no_main]

#[cfg(target_arch = "aarch64")]
#[path = "arch/aarch64.rs"]
mod arch;
#[cfg(target_arch = "x86_64")]
#[path = "arch/x86_64.rs"]
mod arch;

#[cfg(target_arch = "aarch64")]
#[path = "arch/aarch64_start.rs"]
mod start;
#[cfg(target_arch = "x86_64")]
#[path = "arch/x86_64_start.rs"]
mod start;

mod child;
mod interpreter;
mod protocol;
mod server;
mod sweep;
mod sys;

/// Where `_start` leads.
pub(crate) extern "C" fn main() -> ! {
    sys::reset_signals();
    sys::setsid();
    sys::umask(0);
    sys::set_name(b"skep-keeper\0");
    sys::set_not_dumpable();
    sys::raise_nofile();
    let unfit = sys::leave_mounts().err().unwrap_or(0);
    server::serve(unfit)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    sys::exit(101)
}

/// core is compiled for unwinding and names this; nothing here unwinds.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {
    sys::exit(101)
}
