//! A real image: Debian with Python, as skopeo and umoci write it (`tests/images/make.sh`).

use std::path::PathBuf;
use std::time::Duration;

use skep::cgroup::Bytes;
use skep::image::Image;
use skep::{ErrorKind, ExitReason};
use skep_tests::{TestEngine, skipped};

fn python(test: &TestEngine, image: &Image, program: &str) -> String {
    let mut command = test.engine.command(image);
    command
        .args(["python3", "-c", program])
        .user("root")
        .memory(Bytes::mib(256))
        .cpus(1.0)
        .pids(64)
        .timeout(Duration::from_secs(60));
    let out = command.output().unwrap();
    assert!(out.status.success(), "{}: {}", out.status, String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// One test, because unpacking is most of it.
#[test]
fn a_real_image_runs_python() {
    let Some(images) = std::env::var_os("SKEP_TEST_IMAGES").map(PathBuf::from) else {
        return skipped("SKEP_TEST_IMAGES does not name what tests/images/make.sh filled");
    };
    let test = TestEngine::new();
    let archive = test.engine.images().load(images.join("app.tar")).unwrap();
    let oci_archive = test.engine.images().load(images.join("app-oci.tar")).unwrap();
    let layout = test.engine.images().load(images.join("app-oci")).unwrap();
    for image in [&archive, &oci_archive, &layout] {
        assert_eq!(python(&test, image, "print(6*7)"), "42\n");
    }
    // The same layers, whatever they came in: they are unpacked once.
    assert_eq!(archive.config().rootfs.diff_ids, layout.config().rootfs.diff_ids);
    assert_eq!(archive.layers().unwrap(), layout.layers().unwrap());

    containers_do_not_see_each_others_writes(&test, &archive);
    what_is_in_use_is_not_removed(&test, &archive);
}

fn containers_do_not_see_each_others_writes(test: &TestEngine, image: &Image) {
    let look = "import os; print(os.path.exists('/etc/mine'), len(os.listdir('/')))";
    let before = python(test, image, look);
    assert!(before.starts_with("False "), "{before}");
    // A root that nobody has written to is used again, one that somebody has is not.
    for write in ["open('/etc/mine', 'w')", "import os; os.mkdir('/x'); os.rmdir('/x')", "pass"] {
        python(test, image, write);
        assert_eq!(python(test, image, look), before, "after {write}");
    }
    for change in ["import os; os.chmod('/', 0o711)", "import os; os.chmod('/', 0o755)"] {
        python(test, image, change);
        let mode = python(test, image, "import os; print(oct(os.stat('/').st_mode & 0o7777))");
        assert_eq!(mode, "0o755\n", "after {change}");
    }
    // Deleted in one, there in the next.
    python(test, image, "import os; os.remove('/etc/passwd')");
    assert_eq!(python(test, image, "print(open('/etc/passwd').read()[:4])"), "root\n");
}

fn what_is_in_use_is_not_removed(test: &TestEngine, image: &Image) {
    // By its id: all of its names, and not one of several.
    let name = image.id().to_string();
    let mut command = test.engine.command(image);
    let child = command.args(["sleep", "600"]).spawn().unwrap();
    let error = test.engine.images().remove(&name).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().reason(), ExitReason::Signaled(9));
    test.engine.images().remove(&name).unwrap();
    let error = command.spawn().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}
