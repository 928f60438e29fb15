//! Mount options of the runtime spec, told apart into what the kernel takes separately.

use std::ffi::CString;
use std::fmt;

use crate::sys::mount::{attribute, propagation};
use crate::{Error, ErrorKind, Result};

/// The options of one mount.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MountOptions {
    /// `MOUNT_ATTR_*` to set.
    pub(crate) set: u64,
    /// `MOUNT_ATTR_*` to clear (`suid`, `dev`, ...): matters for binds, which inherit.
    pub(crate) clear: u64,
    /// It is a bind mount.
    pub(crate) bind: bool,
    /// A bind takes the mounts below its source along.
    pub(crate) recursive: bool,
    /// `MS_PRIVATE` and its like; private if nothing is said, as docker and runc have it.
    pub(crate) propagation: u64,
    /// What only the file system knows.
    pub(crate) data: Vec<FsOption>,
}

impl MountOptions {
    /// Parses the `options` of the mount on `destination`.
    ///
    /// # Errors
    /// `InvalidInput` for an option with a NUL byte, `Unsupported` for one that skep does not know
    /// how to honour: leaving it out would be less than was asked for.
    ///
    /// Source: <https://github.com/opencontainers/runtime-spec/blob/main/config.md#linux-mount-options>
    pub(crate) fn parse(destination: &str, options: &[String]) -> Result<MountOptions> {
        let mut parsed = MountOptions { propagation: propagation::PRIVATE, ..Default::default() };
        for option in options {
            if !parsed.common(option) {
                parsed.particular(destination, option)?;
            }
        }
        Ok(parsed)
    }

    /// Options that every mount knows. Says whether it was one.
    fn common(&mut self, option: &str) -> bool {
        use attribute as a;
        let (set, clear) = match option {
            "defaults" | "rw" | "async" | "nomand" | "loud" => {
                (0, a::RDONLY * u64::from(option == "rw"))
            }
            "ro" => (a::RDONLY, 0),
            "nosuid" => (a::NOSUID, 0),
            "suid" => (0, a::NOSUID),
            "nodev" => (a::NODEV, 0),
            "dev" => (0, a::NODEV),
            "noexec" => (a::NOEXEC, 0),
            "exec" => (0, a::NOEXEC),
            "noatime" => (a::NOATIME, a::ATIME),
            "relatime" | "atime" | "nostrictatime" => (0, a::ATIME),
            "strictatime" => (a::STRICTATIME, a::ATIME),
            "nodiratime" => (a::NODIRATIME, 0),
            "diratime" => (0, a::NODIRATIME),
            "nosymfollow" => (a::NOSYMFOLLOW, 0),
            "symfollow" => (0, a::NOSYMFOLLOW),
            _ => return false,
        };
        self.set = self.set & !clear | set;
        self.clear = self.clear & !set | clear;
        true
    }

    fn particular(&mut self, destination: &str, option: &str) -> Result<()> {
        let subject = || format!("{option} for {destination}");
        match option {
            "bind" => self.bind = true,
            "rbind" => (self.bind, self.recursive) = (true, true),
            "private" | "rprivate" => self.propagation = propagation::PRIVATE,
            "slave" | "rslave" => self.propagation = propagation::SLAVE,
            "shared" | "rshared" => self.propagation = propagation::SHARED,
            "unbindable" | "runbindable" => self.propagation = propagation::UNBINDABLE,
            "tmpcopyup" | "idmap" | "ridmap" | "mand" | "sync" | "dirsync" => {
                return Err(Error::new(ErrorKind::Unsupported, "use mount option", subject())
                    .cause("skep does not implement it yet")
                    .fix("leave it out"));
            }
            // Locks of permissions for mounts within, which the kernel has only for user namespaces.
            "rro" | "rnosuid" | "rnodev" | "rnoexec" => return self.recursive_attribute(option),
            _ => self.data.push(data_option(option).ok_or_else(|| {
                Error::new(ErrorKind::InvalidInput, "use mount option", subject())
                    .cause("it contains a NUL byte")
            })?),
        }
        Ok(())
    }

    /// `rro` and its like: as without the `r`, as attributes of binds are always set recursively.
    fn recursive_attribute(&mut self, option: &str) -> Result<()> {
        self.common(&option[1..]);
        Ok(())
    }
}

/// A mount option of a file system, a name with or without a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsOption {
    /// The option's name.
    pub key: CString,
    /// Its value; `None` for a flag.
    pub value: Option<CString>,
}

impl fmt::Display for FsOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.key.to_string_lossy())?;
        match &self.value {
            Some(value) => write!(f, "={}", value.to_string_lossy()),
            None => Ok(()),
        }
    }
}

/// `key=value`, or a flag.
fn data_option(option: &str) -> Option<FsOption> {
    let (key, value) = match option.split_once('=') {
        Some((key, value)) => (key, Some(CString::new(value).ok()?)),
        None => (option, None),
    };
    Some(FsOption { key: CString::new(key).ok()?, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[&str]) -> MountOptions {
        let options: Vec<String> = options.iter().map(|o| (*o).into()).collect();
        MountOptions::parse("/x", &options).unwrap()
    }

    #[test]
    fn tells_attributes_from_data() {
        let parsed = parse(&["nosuid", "noexec", "strictatime", "mode=755", "newinstance"]);
        assert_eq!(parsed.set, attribute::NOSUID | attribute::NOEXEC | attribute::STRICTATIME);
        let data: Vec<String> = parsed.data.iter().map(ToString::to_string).collect();
        assert_eq!(data, ["mode=755", "newinstance"]);
    }

    #[test]
    fn the_later_of_two_opposites_wins() {
        assert_eq!(parse(&["ro", "rw"]).set, 0);
        assert_eq!(parse(&["rw", "ro"]).set, attribute::RDONLY);
        assert_eq!(parse(&["dev", "nodev"]).clear, 0);
    }

    #[test]
    fn binds_are_private_unless_told_otherwise() {
        assert_eq!(parse(&["rbind"]).propagation, propagation::PRIVATE);
        assert!(parse(&["rbind"]).recursive);
        assert_eq!(parse(&["bind", "rslave"]).propagation, propagation::SLAVE);
    }

    #[test]
    fn an_option_that_cannot_be_honoured_is_refused() {
        let error = MountOptions::parse("/x", &["tmpcopyup".into()]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}
