//! A compiled filter, as bytes for the kernel and as text for people.

use std::fmt;

/// A classic BPF program for seccomp(2), and the flags to load it with.
///
/// Its `Display` is a disassembly, one instruction a line, with absolute jump targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Each a `struct sock_filter` as it lies in memory, so that the bytes need no conversion.
    instructions: Vec<[u8; 8]>,
    flags: u32,
}

/// One `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// What to do: a BPF class, size, mode or operation.
    pub code: u16,
    /// How many instructions to skip if a comparison holds.
    pub jt: u8,
    /// How many instructions to skip if it does not.
    pub jf: u8,
    /// The operand: an offset, a value to compare with, a distance, a verdict.
    pub k: u32,
}

/// SECCOMP_FILTER_FLAG_LOG.
pub(super) const FLAG_LOG: u32 = 1 << 1;
/// SECCOMP_FILTER_FLAG_SPEC_ALLOW.
pub(super) const FLAG_SPEC_ALLOW: u32 = 1 << 2;
/// SECCOMP_FILTER_FLAG_NEW_LISTENER.
pub(super) const FLAG_NEW_LISTENER: u32 = 1 << 3;
/// SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV.
pub(super) const FLAG_WAIT_KILLABLE_RECV: u32 = 1 << 5;

impl Filter {
    /// The most instructions the kernel takes (BPF_MAXINSNS).
    pub const MAX_LEN: usize = 4096;

    pub(super) fn new(instructions: impl Iterator<Item = Instruction>, flags: u32) -> Self {
        Filter { instructions: instructions.map(Instruction::to_bytes).collect(), flags }
    }

    /// The `filter` of a `struct sock_fprog`: 8 bytes an instruction, in this machine's byte order.
    pub fn as_bytes(&self) -> &[u8] {
        self.instructions.as_flattened()
    }

    /// The `len` of a `struct sock_fprog`; at least 1, at most [`Filter::MAX_LEN`].
    #[expect(clippy::len_without_is_empty, reason = "a filter is never empty")]
    pub fn len(&self) -> usize {
        self.instructions.len()
    }

    /// The instructions in order.
    pub fn instructions(&self) -> impl ExactSizeIterator<Item = Instruction> + '_ {
        self.instructions.iter().copied().map(Instruction::from_bytes)
    }

    /// The SECCOMP_FILTER_FLAG_* to load it with: the profile's, and NEW_LISTENER where it notifies.
    ///
    /// TSYNC is left out, as runc does: the filter is loaded by a process with one thread.
    pub fn flags(&self) -> u32 {
        self.flags
    }

    /// Whether loading it returns a notification fd, on which somebody has to answer.
    pub fn needs_listener(&self) -> bool {
        self.flags & FLAG_NEW_LISTENER != 0
    }
}

/// The operations that this compiler emits.
pub(super) mod op {
    /// `A = seccomp_data[k]`, 32 bits.
    pub(in super::super) const LOAD: u16 = 0x20;
    /// `A &= k`.
    pub(in super::super) const AND: u16 = 0x54;
    /// Skip `k`.
    pub(in super::super) const JUMP: u16 = 0x05;
    /// `A == k`?
    pub(in super::super) const JEQ: u16 = 0x15;
    /// `A >= k`?
    pub(in super::super) const JGE: u16 = 0x35;
    /// `A & k != 0`?
    pub(in super::super) const JSET: u16 = 0x45;
    /// The verdict is `k`.
    pub(in super::super) const RETURN: u16 = 0x06;
}

impl Instruction {
    fn to_bytes(self) -> [u8; 8] {
        let [c0, c1] = self.code.to_ne_bytes();
        let [k0, k1, k2, k3] = self.k.to_ne_bytes();
        [c0, c1, self.jt, self.jf, k0, k1, k2, k3]
    }

    fn from_bytes([c0, c1, jt, jf, k0, k1, k2, k3]: [u8; 8]) -> Self {
        let code = u16::from_ne_bytes([c0, c1]);
        Instruction { code, jt, jf, k: u32::from_ne_bytes([k0, k1, k2, k3]) }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Instruction { code, jt, jf, k }) in self.instructions().enumerate() {
            let branch = format_args!("{} : {}", at + 1 + jt as usize, at + 1 + jf as usize);
            match code {
                op::LOAD => writeln!(f, "{at:4}: load {}", field(k))?,
                op::AND => writeln!(f, "{at:4}: and {k:#x}")?,
                op::JUMP => writeln!(f, "{at:4}: goto {}", at + 1 + k as usize)?,
                op::JEQ => writeln!(f, "{at:4}: == {k:#x} ? {branch}")?,
                op::JGE => writeln!(f, "{at:4}: >= {k:#x} ? {branch}")?,
                op::JSET => writeln!(f, "{at:4}: & {k:#x} ? {branch}")?,
                op::RETURN => writeln!(f, "{at:4}: return {}", Verdict(k))?,
                _ => writeln!(f, "{at:4}: {code:#x} {jt} {jf} {k:#x}")?,
            }
        }
        Ok(())
    }
}

/// Names a field of `struct seccomp_data` by its offset.
fn field(offset: u32) -> String {
    match offset {
        0 => "nr".into(),
        4 => "arch".into(),
        16..64 if offset.is_multiple_of(8) => format!("args[{}].low", (offset - 16) / 8),
        20..64 if offset % 8 == 4 => format!("args[{}].high", (offset - 16) / 8),
        _ => format!("[{offset}]"),
    }
}

/// A SECCOMP_RET_* value.
struct Verdict(u32);

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data = self.0 & 0xffff;
        match self.0 & 0xffff_0000 {
            0x8000_0000 => f.write_str("KILL_PROCESS"),
            0x0000_0000 => f.write_str("KILL_THREAD"),
            0x0003_0000 => f.write_str("TRAP"),
            0x0005_0000 => write!(f, "ERRNO {data}"),
            0x7fc0_0000 => f.write_str("NOTIFY"),
            0x7ff0_0000 => write!(f, "TRACE {data}"),
            0x7ffc_0000 => f.write_str("LOG"),
            0x7fff_0000 => f.write_str("ALLOW"),
            other => write!(f, "{other:#x}"),
        }
    }
}
