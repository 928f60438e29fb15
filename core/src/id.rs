//! Identifiers of containers and keepers.

/// A fresh identifier: 32 lower-case hexadecimal digits, 128 random bits.
///
/// Never a pid or a counter: several processes share a store and must not meet.
#[allow(dead_code)]
pub(crate) fn random() -> String {
    let mut bytes = [0u8; 16];
    let mut filled = 0;
    while filled < bytes.len() {
        // Without flags getrandom(2) fails only by a signal, or not at all once the kernel's pool
        // is ready; a short read is asked again.
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(n) => filled += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("getrandom(2) failed: {error}"),
        }
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
