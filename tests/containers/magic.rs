//! What an image names through the links of /proc never leads out.

use skep_tests::TestEngine;

/// CVE-2024-21626: file descriptors of the host that the new process holds before its exec. The
/// directory of a version 2 control group was one.
#[test]
fn no_file_descriptor_of_the_start_is_a_way_out() {
    let test = TestEngine::new();
    let outside = tempfile::Builder::new().prefix("skep-outside-").tempdir_in("/tmp").unwrap();
    let made = outside.path().join("made");
    for number in 0..64 {
        let way = format!("/proc/self/fd/{number}/{}{}", "../".repeat(20), made.display());
        let error = test.command(["true"]).working_dir(way).status().unwrap_err();
        assert!(!made.exists(), "by file descriptor {number}: {error}");
    }
}
