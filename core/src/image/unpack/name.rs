//! Names of an archive, made relative to the layer's root by their text alone.

use super::{Outcome, Reason};

/// Directories deeper than this are not made: nobody could open them by a path.
const MAX_DEPTH: usize = 256;

/// Drops empty components, `.` and leading slashes, and lets `..` take back the one before it, as
/// Go's path.Clean does and so docker. The root is the empty name.
pub(super) fn clean(name: &[u8]) -> Outcome<Vec<u8>> {
    if name.is_empty() || name.contains(&0) {
        return Err(Reason::Invalid("a name is empty or contains NUL"));
    }
    let mut components: Vec<&[u8]> = Vec::new();
    for component in name.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                components.pop().ok_or(Reason::Invalid("a name climbs out of the layer"))?;
            }
            component => components.push(component),
        }
    }
    check_depth(components.len())?;
    Ok(components.join(&b'/'))
}

/// Refuses what is more than [`MAX_DEPTH`] deep.
pub(super) fn check_depth(depth: usize) -> Outcome<()> {
    match depth <= MAX_DEPTH {
        true => Ok(()),
        false => Err(Reason::Invalid("a name is more than 256 directories deep")),
    }
}

/// The parent's path and the last component of a clean path; `None` for the root.
pub(super) fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => Some((&path[..slash], &path[slash + 1..])),
        None if path.is_empty() => None,
        None => Some((b"", path)),
    }
}

/// `name` in `parent`, both clean.
pub(super) fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_relative_to_the_root() {
        for (name, expected) in [
            ("a", Some("a")),
            ("./a/b/", Some("a/b")),
            ("/a//b", Some("a/b")),
            ("a/../b", Some("b")),
            ("a/b/../../c", Some("c")),
            (".", Some("")),
            ("/", Some("")),
            ("...", Some("...")),
            ("..", None),
            ("/../a", None),
            ("a/../../b", None),
            ("", None),
            ("a\0b", None),
        ] {
            let cleaned = clean(name.as_bytes()).ok();
            assert_eq!(cleaned, expected.map(|e| e.as_bytes().to_vec()), "{name:?}");
        }
        assert!(clean("a/".repeat(256).as_bytes()).is_ok());
        assert!(clean("a/".repeat(257).as_bytes()).is_err());
    }
}
