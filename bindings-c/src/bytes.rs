//! Amounts of memory as people write them.

use std::ffi::c_int;
use std::mem::MaybeUninit;

use skep::Bytes;

use crate::argument::Text;
use crate::error::skep_error;
use crate::panic::call;

/// Reads an amount of memory in docker's notation: a decimal number and one of b, k, m, g, t, p, in
/// either case, with "b" or "ib" after it or not; always powers of 1024. "1.5g" is 1610612736.
///
/// Errors: SKEP_INVALID_INPUT for anything else, and for 2^63 bytes or more.
#[unsafe(no_mangle)]
pub extern "C" fn skep_bytes_parse(
    text: Text<'_>,
    bytes: Option<&mut MaybeUninit<u64>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_bytes_parse", error, |call| {
        let text = text.str(call, "text")?;
        call.given(bytes, "bytes")?.write(text.parse::<Bytes>()?.get());
        Ok(())
    })
}
