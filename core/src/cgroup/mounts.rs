//! Where the cgroup hierarchies are mounted, from the text of `/proc/self/mountinfo`.
//!
//! Source: <https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html>

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self, Mode, OFlags};

use super::controllers::Controllers;
use super::file;
use super::settings::Version;

/// A mounted hierarchy, held by its top directory.
#[derive(Debug)]
pub(super) struct Hierarchy {
    pub(super) version: Version,
    /// What it can do; on v2, what its top group may switch on.
    pub(super) controllers: Controllers,
    /// The mount point.
    pub(super) path: PathBuf,
    /// The group that is visible there: `/` unless a container's runtime mounted only a part.
    pub(super) root: PathBuf,
    pub(super) directory: OwnedFd,
}

/// Opens every hierarchy of use in `mountinfo`, each once.
///
/// A mount that cannot be seen, because another one covers it, is left out.
pub(super) fn open_all(mountinfo: &[u8]) -> Vec<Hierarchy> {
    let mut mounts: Vec<Mount> =
        mountinfo.split(|byte| *byte == b'\n').filter_map(Mount::parse).collect();
    // A hierarchy may be mounted several times, in part (into containers) or as a whole.
    mounts.sort_by_key(|mount| mount.root != Path::new("/"));

    let mut seen = Vec::new();
    let mut hierarchies = Vec::new();
    for mount in mounts {
        if seen.contains(&mount.device) {
            continue;
        }
        let device = mount.device;
        if let Some(hierarchy) = mount.open() {
            seen.push(device);
            hierarchies.push(hierarchy);
        }
    }
    hierarchies
}

/// One line of mountinfo that is about cgroups.
#[derive(Debug, PartialEq)]
struct Mount {
    device: u64,
    root: PathBuf,
    point: PathBuf,
    version: Version,
    controllers: Controllers,
}

impl Mount {
    /// `36 35 98:0 /root /point rw,noatime master:1 - type source options`; `None` for a line that
    /// is not of a hierarchy we use, or not in this form.
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ').skip(2);
        let device = parse_device(fields.next()?)?;
        let root = unescape(fields.next()?);
        let point = unescape(fields.next()?);
        let mut tail = fields.skip_while(|field| field != b"-").skip(1);
        let (version, controllers) = match tail.next()? {
            b"cgroup2" => (Version::V2, Controllers::NONE),
            b"cgroup" => {
                let options = std::str::from_utf8(tail.nth(1)?).ok()?;
                (Version::V1, Controllers::parse(options))
            }
            _ => return None,
        };
        if version == Version::V1 && controllers.is_empty() {
            return None; // name=systemd, devices, freezer, ...
        }
        Some(Mount { device, root, point, version, controllers })
    }

    /// Opens the mount point, if what is there is still this mount.
    fn open(self) -> Option<Hierarchy> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = fs::open(&self.point, flags, Mode::empty()).ok()?;
        if fs::fstat(&directory).ok()?.st_dev != self.device {
            return None;
        }
        let controllers = match self.version {
            Version::V1 => self.controllers,
            Version::V2 => {
                let list = file::read(&directory, "cgroup.controllers").ok()??;
                Controllers::parse(&list)
            }
        };
        Some(Hierarchy {
            version: self.version,
            controllers,
            path: self.point,
            root: self.root,
            directory,
        })
    }
}

fn parse_device(field: &[u8]) -> Option<u64> {
    let (major, minor) = std::str::from_utf8(field).ok()?.split_once(':')?;
    Some(fs::makedev(major.parse().ok()?, minor.parse().ok()?))
}

/// Space, tab, newline and backslash are written as `\` and three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) => {
                bytes.push(((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'));
                rest = tail;
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Option<Mount> {
        Mount::parse(line.as_bytes())
    }

    #[test]
    fn a_line_of_each_kind() {
        let v1 = parse(
            "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct",
        );
        assert_eq!(
            v1,
            Some(Mount {
                device: fs::makedev(0, 30),
                root: "/".into(),
                point: "/sys/fs/cgroup/cpu,cpuacct".into(),
                version: Version::V1,
                controllers: Controllers::CPU | Controllers::CPUACCT,
            })
        );
        let v2 =
            parse("41 31 0:38 /docker/a /mnt/with\\040space\\134 ro - cgroup2 cgroup2 rw").unwrap();
        assert_eq!(v2.version, Version::V2);
        assert_eq!(v2.root, Path::new("/docker/a"));
        assert_eq!(v2.point, Path::new("/mnt/with space\\"));
    }

    #[test]
    fn other_lines_are_left_out() {
        for line in [
            "",
            "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755",
            "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd",
            "36 31 0:33 / /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices",
            "36 31 0:33 / /sys/fs/cgroup/memory rw cgroup cgroup rw,memory",
            "36 31 033 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory",
            "36 31 0:33 / /x rw - cgroup",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn a_covered_mount_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let point = directory.path().display();
        let device = fs::stat(directory.path()).unwrap().st_dev;
        let (major, minor) = (fs::major(device), fs::minor(device));
        let line =
            |major, minor| format!("1 1 {major}:{minor} / {point} rw - cgroup cgroup rw,memory");

        let visible = open_all(line(major, minor).as_bytes());
        assert_eq!(visible.len(), 1);
        assert_eq!(visible[0].controllers, Controllers::MEMORY);
        assert!(open_all(line(major, minor + 1).as_bytes()).is_empty());
    }
}
