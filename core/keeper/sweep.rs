//! Removes the control groups of a host that is gone.

use crate::sys;

/// Groups nest no deeper below an owner: the container, and what it makes inside.
const DEPTH: usize = 4;

/// Removes the directory `name` below `dir` and the empty directories below it, as far as the
/// kernel lets: what is left over, the next opening of the store sweeps.
pub fn remove(dir: i32, name: &[u8]) {
    remove_tree(dir, name, DEPTH);
}

fn remove_tree(dir: i32, name: &[u8], depth: usize) {
    if depth > 0 && sys::remove_dir(dir, name).is_err() {
        if let Ok(group) = sys::open_dir(dir, name) {
            remove_children(group, depth);
            sys::close(group);
            let _ = sys::remove_dir(dir, name);
        }
    }
}

fn remove_children(group: i32, depth: usize) {
    let mut buffer = [0u8; 2048];
    loop {
        let len = sys::read_dir(group, &mut buffer);
        if len == 0 {
            return;
        }
        let mut at = 0;
        // struct linux_dirent64: inode (8), offset (8), length (2), type (1), name.
        while at + 19 < len {
            let length = usize::from(u16::from_ne_bytes([buffer[at + 16], buffer[at + 17]]));
            let entry = buffer.get(at + 18..at + length).unwrap_or(&[0, 0]);
            const DT_DIR: u8 = 4;
            if entry[0] == DT_DIR && entry[1] != b'.' {
                remove_tree(group, &entry[1..], depth - 1);
            }
            at += if length == 0 { return } else { length };
        }
    }
}
