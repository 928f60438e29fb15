//! Capability sets of the runtime spec as the kernel's bit sets.

use std::collections::HashMap;
use std::sync::OnceLock;

use oci_spec::runtime::{Capability, LinuxCapabilities};

use super::flags::CAPABILITIES;

/// The five sets, bit n for capability n.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sets {
    pub(crate) bounding: u64,
    pub(crate) effective: u64,
    pub(crate) permitted: u64,
    pub(crate) inheritable: u64,
    pub(crate) ambient: u64,
}

/// Docker's default capabilities.
///
/// Source: <https://docs.docker.com/engine/containers/run/#runtime-privilege-and-linux-capabilities>
pub(crate) const DEFAULT: [Capability; 14] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fsetid,
    Capability::Fowner,
    Capability::Mknod,
    Capability::NetRaw,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setfcap,
    Capability::Setpcap,
    Capability::NetBindService,
    Capability::SysChroot,
    Capability::Kill,
    Capability::AuditWrite,
];

impl Sets {
    /// The sets of a spec; without any, a process has no capabilities at all.
    pub(crate) fn of(capabilities: Option<&LinuxCapabilities>) -> Sets {
        let Some(sets) = capabilities else { return Sets::default() };
        let bits = |set: &Option<std::collections::HashSet<Capability>>| {
            set.iter().flatten().fold(0, |bits, capability| bits | bit(*capability))
        };
        Sets {
            bounding: bits(sets.bounding()),
            effective: bits(sets.effective()),
            permitted: bits(sets.permitted()),
            inheritable: bits(sets.inheritable()),
            ambient: bits(sets.ambient()),
        }
    }
}

fn bit(capability: Capability) -> u64 {
    // By name, and that once: a start asks for fifty of them.
    static BITS: OnceLock<HashMap<Capability, u64>> = OnceLock::new();
    let bits = BITS.get_or_init(|| {
        let named = CAPABILITIES.iter().enumerate();
        named.filter_map(|(number, name)| Some((name.parse().ok()?, 1 << number))).collect()
    });
    // Both lists are the kernel's; a test goes through all of them.
    bits.get(&capability).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capability_has_its_bit() {
        for (number, name) in CAPABILITIES.iter().enumerate() {
            let capability: Capability = name.parse().unwrap();
            assert_eq!(bit(capability), 1 << number, "{name}");
        }
        assert_eq!(bit(Capability::Chown), 1);
        assert_eq!(bit(Capability::SysAdmin), 1 << 21);
        assert_eq!(bit(Capability::CheckpointRestore), 1 << 40);
        let default = DEFAULT.iter().fold(0, |bits, capability| bits | bit(*capability));
        // What /proc/self/status shows as CapBnd in a docker container.
        assert_eq!(default, 0xa804_25fb);
    }
}
