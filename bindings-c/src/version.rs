//! Which library a program is running with.

use std::ffi::c_char;

/// The version of the interface that this header describes, the number in `libskep.so.0`. It
/// changes when a program that was compiled before would not work any more: functions, numbers and
/// fields are added without that, and never taken away or given another meaning.
pub const SKEP_ABI_VERSION: u32 = 0;

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");

/// The version of the interface that the library has; compare it with SKEP_ABI_VERSION where the
/// library is loaded with dlopen(3).
#[unsafe(no_mangle)]
pub extern "C" fn skep_abi_version() -> u32 {
    SKEP_ABI_VERSION
}

/// The library's version, such as "0.1.0". Static.
#[unsafe(no_mangle)]
pub extern "C" fn skep_version() -> *const c_char {
    VERSION.as_ptr().cast()
}
