//! Writes a [`Plan`] down as the system calls that the keeper's interpreter carries out.
//!
//! The encoded plan is one piece of memory: [`Header`], slots, data, [`Call`]s. The new process maps
//! it at [`BASE`], so a pointer to data is `BASE` plus its offset. See `protocol.rs`.

mod operations;

use std::ffi::{CStr, CString};
use std::os::fd::AsRawFd;

use nix::libc;
use rustix::fs::CWD;

use super::plan::{FsOption, Operation, Plan, Slot};
use crate::sys::message::bytes_of;
use crate::sys::mount::attribute;
use crate::sys::protocol::{BASE, Call, Header, MAGIC, MAX_FDS, NR_FAIL, SLOTS_AT, VERSION};

/// One for each file descriptor that can be given, and some for what calls open on the way.
const SLOTS: usize = MAX_FDS + 1 + 3 + NODES.len() + 1;
const DATA_AT: usize = (SLOTS_AT + 4 * SLOTS).next_multiple_of(16);

/// Results of calls within one operation: a context or socket, a mount, a target.
const CONTEXT: Slot = Slot(MAX_FDS as u16 + 1);
const MOUNT: Slot = Slot(MAX_FDS as u16 + 2);
const TARGET: Slot = Slot(MAX_FDS as u16 + 3);

/// A few more than there are today, so that a newer kernel's are dropped too.
const MAX_CAPABILITY: u64 = 47;

const RESOLVE_NO_MAGICLINKS: u64 = 2;
const RESOLVE_NO_SYMLINKS: u64 = 4;
const OPEN_PATH: u64 = (libc::O_PATH | libc::O_CLOEXEC) as u64;
const EMPTY_BOTH: u64 = 0x4 | 0x40;
const EMPTY_FROM: u64 = 0x4;
const OPEN_TREE_CLONE: u64 = 1;
const AT_RECURSIVE: u64 = 0x8000;
const AT_EMPTY_PATH: u64 = libc::AT_EMPTY_PATH as u64;
const TREE_CLONE: u64 = OPEN_TREE_CLONE | libc::O_CLOEXEC as u64;

/// Encodes `plan`.
pub(crate) fn encode(plan: &Plan) -> Vec<u8> {
    let mut encoder = Encoder { data: vec![0; DATA_AT], calls: Vec::with_capacity(256), op: 0 };
    for (index, operation) in plan.operations.iter().enumerate() {
        encoder.op = index as u16;
        encoder.operation(operation);
    }
    encoder.finish()
}

/// An argument of a call.
#[derive(Clone, Copy)]
enum Arg {
    Value(u64),
    Slot(Slot),
}

use Arg::{Slot as S, Value as V};

struct Encoder {
    /// The whole plan so far, from its header on.
    data: Vec<u8>,
    calls: Vec<Call>,
    op: u16,
}

impl Encoder {
    fn finish(mut self) -> Vec<u8> {
        self.align(8);
        let header = Header {
            magic: MAGIC,
            version: VERSION,
            slots: SLOTS as u32,
            calls_at: self.data.len() as u32,
            calls: self.calls.len() as u32,
        };
        for call in &self.calls {
            self.data.extend_from_slice(bytes_of(call));
        }
        self.data[..size_of::<Header>()].copy_from_slice(bytes_of(&header));
        self.data
    }

    /// Adds a call; the caller sets what differs from the plain "any error ends the plan".
    fn call(&mut self, nr: libc::c_long, args: &[Arg]) -> &mut Call {
        let mut call = Call {
            nr: nr as u16,
            op: self.op,
            indirect: 0,
            skip: 0,
            tolerate: [0; 4],
            skip_after: 0,
            reserved: 0,
            store: 0,
            min: 0,
            padding: 0,
            args: [0; 6],
        };
        for (i, arg) in args.iter().enumerate() {
            call.args[i] = match arg {
                V(value) => *value,
                S(slot) => {
                    call.indirect |= 1 << i;
                    u64::from(place(*slot))
                }
            };
        }
        self.calls.push(call);
        // Just pushed.
        self.calls.last_mut().unwrap_or_else(|| unreachable!())
    }

    fn align(&mut self, to: usize) {
        self.data.resize(self.data.len().next_multiple_of(to), 0);
    }

    /// Copies `bytes` into the plan; their address there.
    fn bytes(&mut self, bytes: &[u8]) -> Arg {
        let at = self.data.len();
        self.data.extend_from_slice(bytes);
        V((BASE + at) as u64)
    }

    fn text(&mut self, text: &CStr) -> Arg {
        self.bytes(text.to_bytes_with_nul())
    }

    /// Copies 64-bit words, aligned.
    fn words(&mut self, words: &[u64]) -> Arg {
        self.align(8);
        let at = self.data.len();
        words.iter().for_each(|word| self.data.extend_from_slice(&word.to_ne_bytes()));
        V((BASE + at) as u64)
    }

    fn words32(&mut self, words: &[u32]) -> Arg {
        self.align(4);
        let at = self.data.len();
        words.iter().for_each(|word| self.data.extend_from_slice(&word.to_ne_bytes()));
        V((BASE + at) as u64)
    }

    /// A NULL-terminated array of strings, as execve(2) takes it.
    fn strings(&mut self, strings: &[CString]) -> Arg {
        let mut pointers: Vec<u64> = Vec::with_capacity(strings.len() + 1);
        for string in strings {
            let Arg::Value(address) = self.text(string) else { unreachable!() };
            pointers.push(address);
        }
        pointers.push(0);
        self.words(&pointers)
    }
}

/// Where a slot is in the plan.
fn place(slot: Slot) -> u32 {
    (SLOTS_AT + 4 * usize::from(slot.0)) as u32
}

fn cwd() -> Arg {
    V(CWD.as_raw_fd() as i64 as u64)
}

fn errnos(list: &[i32]) -> [u8; 4] {
    let mut tolerate = [0; 4];
    for (place, errno) in tolerate.iter_mut().zip(list) {
        *place = *errno as u8;
    }
    tolerate
}

/// The device nodes of the keeper's root: docker's. The first one also masks files.
pub(super) const NODES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

fn node(index: usize) -> Slot {
    Slot(TARGET.0 + 1 + index as u16)
}
