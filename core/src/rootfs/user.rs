//! Users and groups by an image's own `/etc/passwd` and `/etc/group`, as docker resolves them.

use std::io::Read;
use std::os::fd::BorrowedFd;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::spec::config::User;
use crate::sys::path::open_in_root;
use crate::{Error, ErrorKind, Result};

/// More than any real file; beyond this an image is hostile.
const MAX_FILE: u64 = 16 << 20;

/// Resolves `user` (`name`, `uid`, `name:group`, `uid:gid`; empty is root) below `root`.
///
/// A number need not be in the files. Without a group, the primary one of the passwd entry is
/// taken, and the supplementary groups are those that list the user; with a group there are none.
///
/// # Errors
/// `NotFound` for a name that the files do not have, `InvalidData` for files beyond 16 MiB.
pub(crate) fn resolve(root: BorrowedFd<'_>, user: &str) -> Result<User> {
    let (name, group) = match user.split_once(':') {
        Some((name, group)) => (name, Some(group).filter(|group| !group.is_empty())),
        None => (user, None),
    };
    let name = if name.is_empty() { "0" } else { name };
    let passwd = read(root, "etc/passwd")?;
    let groups = read(root, "etc/group")?;
    from_files(name, group, &passwd, &groups)
}

fn from_files(name: &str, group: Option<&str>, passwd: &str, groups: &str) -> Result<User> {
    let entry = passwd.lines().filter_map(PasswdEntry::parse).find(|entry| {
        // A name of digits is a name first, as in docker.
        entry.name == name || name.parse() == Ok(entry.uid)
    });
    let uid = match (&entry, name.parse()) {
        (Some(entry), _) => entry.uid,
        (None, Ok(uid)) if uid <= i32::MAX as u32 => uid,
        _ => return Err(no_such("user", name, "passwd")),
    };
    let mut user = User { uid, gid: 0, groups: vec![], home: None };
    if let Some(entry) = &entry {
        user.gid = entry.gid;
        user.home = Some(entry.home.to_owned()).filter(|home| !home.is_empty());
    }
    match group {
        Some(group) => user.gid = group_id(group, groups)?,
        None => {
            if let Some(entry) = &entry {
                user.groups = supplementary(entry.name, groups);
            }
        }
    }
    Ok(user)
}

struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> PasswdEntry<'a> {
    /// `name:password:uid:gid:comment:home:shell`; lines that are none are passed over.
    fn parse(line: &'a str) -> Option<PasswdEntry<'a>> {
        let mut fields = line.trim().split(':');
        let name = fields.next()?;
        let mut fields = fields.skip(1);
        let uid = number(fields.next()?)?;
        let gid = number(fields.next()?)?;
        let home = fields.nth(1).unwrap_or("");
        Some(PasswdEntry { name, uid, gid, home })
    }
}

/// An id that can be had: to setresuid(2) the highest one is "as it is", which here is root.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|&id| id <= i32::MAX as u32)
}

/// `name:password:gid:members`: its name, number and members.
fn group_entry(line: &str) -> Option<(&str, u32, &str)> {
    let mut fields = line.trim().split(':');
    let name = fields.next()?;
    let gid = number(fields.nth(1)?)?;
    Some((name, gid, fields.next().unwrap_or("")))
}

fn group_id(group: &str, groups: &str) -> Result<u32> {
    let named = groups.lines().filter_map(group_entry).find(|(name, ..)| *name == group);
    match (named, group.parse()) {
        (Some((_, gid, _)), _) => Ok(gid),
        (None, Ok(gid)) if gid <= i32::MAX as u32 => Ok(gid),
        _ => Err(no_such("group", group, "group")),
    }
}

fn supplementary(name: &str, groups: &str) -> Vec<u32> {
    let member = |members: &str| members.split(',').any(|member| member.trim() == name);
    let mut list: Vec<u32> = groups
        .lines()
        .filter_map(group_entry)
        .filter(|(.., members)| member(members))
        .map(|(_, gid, _)| gid)
        .collect();
    list.sort_unstable();
    list.dedup();
    list
}

fn no_such(what: &str, name: &str, file: &str) -> Error {
    Error::new(ErrorKind::NotFound, "become", format!("{what} {name}"))
        .cause(format!("the container's /etc/{file} does not have it"))
        .fix("give a number, or add it to the image")
}

/// A text file of the image; empty if there is none. Whatever links the image has there, nothing
/// outside `root` is read.
fn read(root: BorrowedFd<'_>, path: &str) -> Result<String> {
    let failed =
        |error: std::io::Error| Error::os("read", format!("/{path} of the container"), error);
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match open_in_root(root, path, flags) {
        Ok(fd) => std::fs::File::from(fd),
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(String::new()),
        Err(errno) => return Err(failed(errno.into())),
    };
    if !file.metadata().map_err(failed)?.is_file() {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Error::new(
            ErrorKind::InvalidData,
            "read",
            format!("/{path} of the container"),
        )
        .cause("it is larger than 16 MiB"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
        bad line\n\
        app:x:1000:1001::/home/app:/bin/sh\n\
        4000:x:7:7::/seven:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nwheel:x:10:root,app\napp:x:1001:\nextra:x:20:app\n";

    fn user(name: &str, group: Option<&str>) -> User {
        from_files(name, group, PASSWD, GROUP).unwrap()
    }

    #[test]
    fn a_name_has_its_primary_and_supplementary_groups() {
        let app = user("app", None);
        assert_eq!((app.uid, app.gid), (1000, 1001));
        assert_eq!(app.groups, [10, 20]);
        assert_eq!(app.home.as_deref(), Some("/home/app"));
        assert_eq!(user("1000", None), app);
        assert_eq!(user("0", None).groups, [10]);
    }

    #[test]
    fn a_given_group_is_the_only_one() {
        assert_eq!(user("app", Some("extra")).gid, 20);
        assert!(user("app", Some("extra")).groups.is_empty());
        assert_eq!(user("1", Some("2")), User { uid: 1, gid: 2, groups: vec![], home: None });
    }

    #[test]
    fn a_name_of_digits_is_a_name_first() {
        assert_eq!(user("4000", None).uid, 7);
    }

    #[test]
    fn an_entry_with_the_id_that_changes_nothing_is_none() {
        let passwd = "app:x:4294967295:4294967295::/:/bin/sh\n";
        for (name, group) in [("app", None), ("4294967295", None), ("1", Some("app"))] {
            let error = from_files(name, group, passwd, "app:x:4294967295:\n").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{name} {group:?}");
        }
    }

    #[test]
    fn unknown_names_are_not_found() {
        for (name, group) in
            [("nobody", None), ("app", Some("nogroup")), ("-1", None), ("4294967295", None)]
        {
            let error = from_files(name, group, PASSWD, GROUP).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{name} {group:?}");
        }
    }
}
