//! Containers on the real kernel, with the host's own root.

mod images;

use skep_tests::TestEngine;

#[test]
fn output_is_collected_and_streams_are_kept_apart() {
    let test = TestEngine::new();
    let out = test.shell("echo out; echo err >&2; exit 3").output().unwrap();
    assert_eq!(out.status.code(), Some(3));
    assert_eq!((out.stdout.as_slice(), out.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
}
