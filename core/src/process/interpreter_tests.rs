//! The interpreter against plans of the encoder, and against bytes that nobody has encoded.
#![allow(unsafe_code)]

use std::collections::HashMap;

use nix::libc;
use proptest::prelude::*;

use super::encode::encode;
use super::interpreter::{Failure, Memory, System, run};
use super::plan::{Operation, Plan};
use super::protocol::{Call, Header, MAGIC, NR_FAIL, OP_CLONE, SLOTS_AT, VERSION};
use crate::sys::message::bytes_of;

/// Answers calls from a table of results by number, 0 otherwise, and keeps a record.
#[derive(Default)]
struct Recorder {
    results: HashMap<libc::c_long, Vec<isize>>,
    calls: Vec<(usize, [usize; 6])>,
}

impl System for Recorder {
    fn call(&mut self, nr: usize, args: [usize; 6]) -> isize {
        self.calls.push((nr, args));
        match self.results.get_mut(&(nr as libc::c_long)) {
            Some(list) if !list.is_empty() => list.remove(0),
            _ => 0,
        }
    }
}

/// Runs `bytes` as a plan, in memory that is aligned as a mapping is.
fn interpret(bytes: &[u8], recorder: &mut Recorder) -> Result<(), Failure> {
    let mut words = vec![0u64; bytes.len().div_ceil(8)];
    // SAFETY: u64s are valid bytes, and the vector has at least as many.
    let memory =
        unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast::<u8>(), words.len() * 8) };
    memory[..bytes.len()].copy_from_slice(bytes);
    // SAFETY: aligned, of this length, and used by nothing else while `memory` is.
    let mut memory = unsafe { Memory::new(memory.as_mut_ptr(), bytes.len()) };
    run(recorder, &mut memory)
}

fn plan(operations: impl IntoIterator<Item = Operation>) -> Vec<u8> {
    let mut plan = Plan::default();
    operations.into_iter().for_each(|operation| plan.push(operation));
    encode(&plan)
}

fn exec(paths: &[&std::ffi::CStr]) -> Operation {
    let paths = paths.iter().map(|&path| path.into()).collect();
    Operation::Exec { paths, argv: vec![c"x".into()], envp: vec![] }
}

#[test]
fn calls_come_in_order_and_the_first_error_ends_the_plan() {
    let bytes = plan([Operation::Session, Operation::Umask { mask: 0o22 }, Operation::Session]);
    let mut recorder = Recorder::default();
    recorder.results.insert(libc::SYS_umask, vec![-(libc::EPERM as isize)]);
    let failure = interpret(&bytes, &mut recorder).unwrap_err();
    assert_eq!(failure, Failure { op: 1, errno: libc::EPERM });
    let numbers: Vec<_> = recorder.calls.iter().map(|(nr, _)| *nr as libc::c_long).collect();
    assert_eq!(numbers, [libc::SYS_setsid, libc::SYS_umask]);
    assert_eq!(recorder.calls[1].1[0], 0o22);
}

#[test]
fn an_interrupted_call_is_made_again() {
    let mut recorder = Recorder::default();
    recorder.results.insert(libc::SYS_setsid, vec![-(libc::EINTR as isize), 7]);
    interpret(&plan([Operation::Session]), &mut recorder).unwrap();
    assert_eq!(recorder.calls.len(), 2);
}

#[test]
fn a_command_is_searched_for_as_execvp_does() {
    let missing = -(libc::ENOENT as isize);
    let denied = -(libc::EACCES as isize);
    for (results, errno) in
        [(vec![missing, missing], libc::ENOENT), (vec![denied, missing], libc::EACCES)]
    {
        let mut recorder = Recorder::default();
        recorder.results.insert(libc::SYS_execve, results);
        let failure = interpret(&plan([exec(&[c"/a/x", c"/b/x"])]), &mut recorder).unwrap_err();
        assert_eq!(failure, Failure { op: 0, errno });
    }
    let mut recorder = Recorder::default();
    recorder.results.insert(libc::SYS_execve, vec![-(libc::ENOEXEC as isize)]);
    let failure = interpret(&plan([exec(&[c"/a/x", c"/b/x"])]), &mut recorder).unwrap_err();
    assert_eq!((failure.errno, recorder.calls.len()), (libc::ENOEXEC, 1));
}

#[test]
fn a_mask_of_nothing_asks_for_nothing() {
    let mut recorder = Recorder::default();
    let missing = -(libc::ENOENT as isize);
    recorder.results.insert(libc::SYS_openat2, vec![missing, missing]);
    interpret(&plan([Operation::Mask { path: c"/proc/x".into() }]), &mut recorder).unwrap();
    assert_eq!(recorder.calls.len(), 2);
}

#[test]
fn a_mask_of_a_directory_mounts_one_of_a_file_the_null_device() {
    let count = |results: Vec<isize>| {
        let mut recorder = Recorder::default();
        recorder.results.insert(libc::SYS_openat2, results);
        interpret(&plan([Operation::Mask { path: c"/proc/x".into() }]), &mut recorder).unwrap();
        let number =
            |nr: libc::c_long| recorder.calls.iter().filter(|c| c.0 == nr as usize).count();
        (number(libc::SYS_mount), number(libc::SYS_move_mount))
    };
    assert_eq!(count(vec![5]), (1, 0));
    assert_eq!(count(vec![-(libc::ENOTDIR as isize), 5]), (0, 1));
}

#[test]
fn the_end_of_what_is_awaited_is_an_error() {
    let bytes = plan([Operation::Await { go: super::plan::Slot(1) }]);
    let failure = interpret(&bytes, &mut Recorder::default()).unwrap_err();
    assert_eq!(failure.errno, libc::EPIPE);
}

#[test]
fn offsets_outside_of_the_plan_are_refused() {
    let call = |change: fn(&mut Call)| {
        let mut call = Call {
            nr: 1,
            op: 3,
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
        change(&mut call);
        let header = Header { magic: MAGIC, version: VERSION, slots: 1, calls_at: 80, calls: 1 };
        let mut bytes = bytes_of(&header).to_vec();
        bytes.resize(80, 0);
        bytes.extend_from_slice(bytes_of(&call));
        interpret(&bytes, &mut Recorder::default()).map_err(|failure| failure.errno)
    };
    assert_eq!(call(|_| {}), Ok(()));
    assert_eq!(call(|c| c.store = 1 << 20), Err(libc::EINVAL));
    assert_eq!(call(|c| c.store = SLOTS_AT as u32 + 1), Err(libc::EINVAL));
    assert_eq!(call(|c| (c.indirect, c.args[0]) = (1, u64::MAX)), Err(libc::EINVAL));
    assert_eq!(call(|c| (c.nr, c.args[0]) = (NR_FAIL, 2)), Err(libc::ENOENT));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever the bytes are, the interpreter ends, and touches nothing outside of them (what miri
    /// and the address sanitizer would see).
    #[test]
    fn any_bytes_are_survived(mut bytes in proptest::collection::vec(any::<u8>(), 0..1024), known: bool) {
        if known && bytes.len() >= 20 {
            let header = Header { magic: MAGIC, version: VERSION, slots: 4, calls_at: 64, calls: 12 };
            bytes[..20].copy_from_slice(bytes_of(&header));
        }
        let _ = interpret(&bytes, &mut Recorder::default());
    }

    /// A damaged plan of the encoder, likewise.
    #[test]
    fn any_damage_is_survived(at in 0usize..4096, byte: u8) {
        let mut bytes = plan([Operation::Session, exec(&[c"/a/x"]), Operation::Umask { mask: 0 }]);
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = interpret(&bytes, &mut Recorder::default());
    }
}

#[test]
fn a_plan_of_another_version_is_refused() {
    let mut bytes = plan([Operation::Session]);
    bytes[4] ^= 1;
    let failure = interpret(&bytes, &mut Recorder::default()).unwrap_err();
    assert_eq!(failure, Failure { op: OP_CLONE, errno: libc::EINVAL });
}
