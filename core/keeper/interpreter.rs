//! Carries out a plan: one loop over [`Call`]s, in the new process, up to its exec.
//!
//! It has no policy and keeps no state but the plan's own memory. What can be wrong with the bytes
//! of a plan (they are the library's own) is answered by an error, never by a wild access here:
//! offsets are checked, and what is passed on to the kernel the kernel checks.

use super::protocol::{Call, Header, MAGIC, NR_FAIL, SLOTS_AT, VERSION};

const EACCES: i32 = 13;
const EINTR: i32 = 4;
const EINVAL: i32 = 22;
const EPIPE: i32 = 32;

/// Where calls go: the kernel in the keeper, a recorder in tests.
pub trait System {
    /// Carries out system call `nr`.
    fn call(&mut self, nr: usize, args: [usize; 6]) -> isize;
}

/// Why a plan ended before its exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The operation the failed call belongs to.
    pub op: u32,
    /// Its error.
    pub errno: i32,
}

/// The mapped plan.
pub struct Memory {
    start: *mut u8,
    len: usize,
}

impl Memory {
    /// # Safety
    /// `start` is valid for reads and writes of `len` bytes as long as this lives, is aligned to
    /// eight bytes, and nothing but the kernel changes them meanwhile.
    pub unsafe fn new(start: *mut u8, len: usize) -> Memory {
        Memory { start, len }
    }

    fn at<T>(&self, offset: usize) -> Option<*mut T> {
        let end = offset.checked_add(core::mem::size_of::<T>())?;
        if end > self.len || !offset.is_multiple_of(core::mem::align_of::<T>()) {
            return None;
        }
        // SAFETY: `offset` lies within the mapping, by the check above.
        Some(unsafe { self.start.add(offset) }.cast())
    }

    /// The value at `offset`, or nothing if that is not inside the plan.
    pub fn load<T: Copy>(&self, offset: usize) -> Option<T> {
        let place = self.at::<T>(offset)?;
        // SAFETY: in bounds and aligned, and the protocol's types are valid for every bit pattern.
        // Volatile, because the kernel writes here during calls.
        Some(unsafe { place.read_volatile() })
    }

    /// Sets the value at `offset`, or does nothing and says so if that is not inside the plan.
    pub fn store<T: Copy>(&mut self, offset: usize, value: T) -> Option<()> {
        let place = self.at::<T>(offset)?;
        // SAFETY: in bounds and aligned.
        unsafe { place.write_volatile(value) };
        Some(())
    }

    /// Sets slot `index`, which must be one that the header counts.
    pub fn set_slot(&mut self, index: usize, value: i32) -> Option<()> {
        let header: Header = self.load(0)?;
        if index >= header.slots as usize {
            return None;
        }
        self.store(SLOTS_AT + index * 4, value)
    }
}

/// Runs the plan in `memory`. Returns `Ok` where it ends without an exec, and never where it execs.
pub fn run(system: &mut dyn System, memory: &mut Memory) -> Result<(), Failure> {
    let invalid = Failure { op: super::protocol::OP_CLONE, errno: EINVAL };
    let header: Header = memory.load(0).ok_or(invalid)?;
    if header.magic != MAGIC || header.version != VERSION {
        return Err(invalid);
    }
    let mut denied = false;
    let mut index = 0;
    while index < header.calls as usize {
        let offset = (header.calls_at as usize)
            .checked_add(index * core::mem::size_of::<Call>())
            .ok_or(invalid)?;
        let call: Call = memory.load(offset).ok_or(invalid)?;
        index += 1;
        let failure = |errno| Failure { op: u32::from(call.op), errno };
        if call.nr == NR_FAIL {
            return Err(failure(if denied { EACCES } else { call.args[0] as i32 }));
        }
        let args = arguments(&call, memory).ok_or(failure(EINVAL))?;
        let result = until_uninterrupted(system, usize::from(call.nr), args);
        if result < 0 {
            let errno = -result as i32;
            if !call.tolerate.iter().any(|&t| t != 0 && i32::from(t) == errno) {
                return Err(failure(errno));
            }
            denied |= errno == EACCES;
            index += usize::from(call.skip);
        } else if (result as usize) < call.min as usize {
            return Err(failure(EPIPE));
        } else {
            if call.store != 0 {
                memory.store(call.store as usize, result as i32).ok_or(failure(EINVAL))?;
            }
            index += usize::from(call.skip_after);
        }
    }
    Ok(())
}

fn arguments(call: &Call, memory: &Memory) -> Option<[usize; 6]> {
    let mut args = [0; 6];
    for (i, arg) in args.iter_mut().enumerate() {
        *arg = call.args[i] as usize;
        if call.indirect & (1 << i) != 0 {
            *arg = memory.load::<i32>(*arg)? as isize as usize;
        }
    }
    Some(args)
}

fn until_uninterrupted(system: &mut dyn System, nr: usize, args: [usize; 6]) -> isize {
    loop {
        let result = system.call(nr, args);
        if result != -(EINTR as isize) {
            return result;
        }
    }
}
