//! Devices of a runtime spec as mounts; see the [module above](super) for what that comes to.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use oci_spec::runtime::{
    LinuxDevice, LinuxDeviceCgroup as Rule, LinuxDeviceType as Type, Mount, Spec,
};

use crate::{Error, ErrorKind, Result};

/// The devices that every container has, as (path, major, minor); all are of type `c`.
const DEFAULTS: [(&str, i64, i64); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// Whether the rules deny all devices but those they name.
///
/// # Errors
/// `Unsupported` for rules that deny some and allow the rest.
pub(super) fn are_denied(spec: &Spec) -> Result<bool> {
    let mut denied = false;
    let mut some = false;
    for rule in rules(spec) {
        if concerns_all(rule) {
            (denied, some) = (!rule.allow(), false);
        } else {
            some |= !rule.allow();
        }
    }
    if some && !denied {
        return Err(unsupported("linux.resources.devices that denies some and not all"));
    }
    Ok(denied)
}

/// Turns `linux.devices` into bind mounts. With `confined`, no device can be opened through any
/// other mount.
///
/// # Errors
/// `Unsupported` for a device that the host does not have under the same path.
pub(super) fn lower(spec: &mut Spec, confined: bool) -> Result<()> {
    let devices = spec.linux_mut().as_mut().and_then(|linux| linux.devices_mut().take());
    let rules: Vec<Rule> = rules(spec).to_vec();
    let mounts = spec.mounts_mut().get_or_insert_default();
    if confined {
        mounts.iter_mut().for_each(forbid_devices);
    }
    for device in devices.iter().flatten().filter(|device| !is_default(device)) {
        check_host(device)?;
        let mut mount = bind(device);
        if confined && !rules.iter().any(|rule| allows(rule, device)) {
            forbid_devices(&mut mount);
        }
        mounts.push(mount);
    }
    Ok(())
}

fn rules(spec: &Spec) -> &[Rule] {
    let resources = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
    resources.and_then(|resources| resources.devices().as_deref()).unwrap_or_default()
}

fn concerns_all(rule: &Rule) -> bool {
    let any = |number: Option<i64>| number.is_none_or(|number| number < 0);
    matches!(rule.typ(), None | Some(Type::A)) && any(rule.major()) && any(rule.minor())
}

fn allows(rule: &Rule, device: &LinuxDevice) -> bool {
    let same = |rule: Option<i64>, device| rule.is_none_or(|rule| rule < 0 || rule == device);
    let typ = rule.typ();
    rule.allow()
        && (matches!(typ, None | Some(Type::A)) || typ == Some(device.typ()))
        && same(rule.major(), device.major())
        && same(rule.minor(), device.minor())
}

/// The last word among a mount's options. A pseudo terminal is a device that the container makes
/// itself, and can make no others there.
fn forbid_devices(mount: &mut Mount) {
    if mount.typ().as_deref() != Some("devpts") {
        mount.options_mut().get_or_insert_default().push("nodev".into());
    }
}

fn is_default(device: &LinuxDevice) -> bool {
    let path = device.path().to_string_lossy();
    let numbers = (device.major(), device.minor());
    let known =
        DEFAULTS.iter().any(|(name, major, minor)| path == *name && numbers == (*major, *minor));
    known && matches!(device.typ(), Type::C | Type::U)
}

fn check_host(device: &LinuxDevice) -> Result<()> {
    let same = fs::symlink_metadata(device.path()).is_ok_and(|found| {
        let (kind, number) = (found.file_type(), found.rdev());
        let numbers = (i64::from(rustix::fs::major(number)), i64::from(rustix::fs::minor(number)));
        let typ = match device.typ() {
            Type::B => kind.is_block_device(),
            Type::C | Type::U => kind.is_char_device(),
            Type::P | Type::A => false,
        };
        typ && numbers == (device.major(), device.minor())
    });
    let path = device.path().display();
    if same { Ok(()) } else { Err(unsupported(&format!("linux.devices {path}, not on the host,"))) }
}

fn bind(device: &LinuxDevice) -> Mount {
    let mut mount = Mount::default();
    mount.set_destination(device.path().clone());
    mount.set_typ(Some("bind".into()));
    mount.set_source(Some(device.path().clone()));
    mount.set_options(Some(["bind", "rprivate", "nosuid", "noexec"].map(String::from).into()));
    mount
}

fn unsupported(what: &str) -> Error {
    Error::new(ErrorKind::Unsupported, "honour", format!("{what} of the runtime spec"))
        .cause("skep does not implement it yet")
        .fix("leave it out")
}
