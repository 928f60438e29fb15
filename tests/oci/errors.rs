//! What fails says so, in the words that callers know, and leaves nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::bundle::Sandbox;

/// What `create` says, without the program's name before it.
fn refusal(sandbox: &Sandbox, args: &[&str], change: impl FnOnce(&mut Value)) -> String {
    let bundle = sandbox.bundle("c1", args, change);
    let said = sandbox.fails(&["create", "-b", &bundle.to_string_lossy(), "c1"]);
    assert!(!sandbox.path().join("state/c1").exists());
    assert_eq!(sandbox.groups(), Vec::<std::path::PathBuf>::new());
    said.strip_prefix("skep-oci: ").unwrap().to_owned()
}

#[test]
fn an_unknown_container_does_not_exist() {
    let sandbox = Sandbox::new();
    for command in ["start", "state", "kill", "delete"] {
        let said = sandbox.fails(&[command, "none"]);
        assert_eq!(said, "skep-oci: container does not exist: none", "{command}");
    }
    sandbox.ok(&["delete", "--force", "none"]);
    let said = sandbox.fails(&["state", "../none"]);
    assert_eq!(said, "skep-oci: invalid container ID format: \"../none\"");
}

#[test]
fn a_second_container_of_a_name_is_refused() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c1", &["sleep", "1000"], |_| ());
    sandbox.create("c1", Stdio::null(), Stdio::null());
    let said = sandbox.fails(&["create", "-b", &bundle.to_string_lossy(), "c1"]);
    assert_eq!(said, "skep-oci: container with given ID already exists: c1");
    sandbox.ok(&["start", "c1"]);
    let said = sandbox.fails(&["start", "c1"]);
    assert_eq!(said, "skep-oci: cannot start an already running container");
    let said = sandbox.fails(&["delete", "c1"]);
    assert_eq!(said, "skep-oci: cannot delete container c1 that is not stopped: running");
    assert_eq!(sandbox.fails(&["kill", "c1", "NONE"]), "skep-oci: unknown signal \"NONE\"");
    sandbox.ok(&["delete", "--force", "c1"]);
    assert!(!sandbox.path().join("state/c1").exists());
}

#[test]
fn a_missing_command_is_noticed_by_create() {
    let sandbox = Sandbox::new();
    let known = "exec: \"nosuch\": executable file not found in $PATH: cannot execute nosuch: ";
    let said = refusal(&sandbox, &["nosuch"], |_| ());
    assert!(said.starts_with(known), "{said}");
    let said = refusal(&sandbox, &["/bin/nosuch"], |_| ());
    assert!(said.starts_with("exec: \"/bin/nosuch\": executable file not found"), "{said}");
}

#[test]
fn a_file_that_may_not_be_executed_is_noticed_by_create() {
    let sandbox = Sandbox::new();
    let file = sandbox.rootfs().join("bin/plain");
    fs::write(&file, "text").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let said = refusal(&sandbox, &["plain"], |_| ());
    assert!(said.starts_with("exec: \"plain\": permission denied: cannot execute plain"), "{said}");
}

#[test]
fn a_bundle_that_is_none_is_refused() {
    let sandbox = Sandbox::new();
    let at = sandbox.path().join("none");
    let said = sandbox.fails(&["create", "-b", &at.to_string_lossy(), "c1"]);
    let path = at.join("config.json");
    let missing = format!("cannot read {}: No such file or directory (os error 2)", path.display());
    assert_eq!(said, format!("skep-oci: {missing}"));

    fs::create_dir(&at).unwrap();
    fs::write(&path, "{").unwrap();
    let said = sandbox.fails(&["create", "-b", &at.to_string_lossy(), "c1"]);
    assert!(said.starts_with(&format!("skep-oci: cannot parse {}: EOF", path.display())), "{said}");
    assert!(!sandbox.path().join("state").exists());
}

#[test]
fn what_cannot_be_honoured_is_refused_by_its_name() {
    let sandbox = Sandbox::new();
    let refused = |change: fn(&mut Value)| refusal(&sandbox, &["true"], change);
    let honour = |field: &str| {
        format!(
            "cannot honour {field} of the runtime spec: skep does not implement it yet; \
             leave it out"
        )
    };
    let said = refused(|config| config["process"]["terminal"] = json!(true));
    assert_eq!(said, honour("process.terminal"));
    let said = refused(|config| config["hooks"] = json!({"poststop": [{"path": "/bin/true"}]}));
    assert_eq!(said, honour("hooks"));
    let said = refused(|config| config["linux"]["resources"]["cpu"] = json!({"shares": 2}));
    assert_eq!(said, honour("linux.resources.cpu.shares"));
    let said = refused(|config| config["linux"]["cgroupsPath"] = json!("system.slice:skep:c1"));
    assert_eq!(
        said,
        "cannot use cgroup system.slice:skep:c1: it is a path for systemd, which skep does not \
         talk to yet; use the cgroupfs manager"
    );
}

#[test]
fn errors_are_logged_as_asked() {
    let sandbox = Sandbox::new();
    let log = sandbox.path().join("log");
    let log_option = log.to_string_lossy().into_owned();
    sandbox.fails(&["--log", &log_option, "--log-format", "json", "state", "none"]);
    let line: Value = serde_json::from_str(&fs::read_to_string(&log).unwrap()).unwrap();
    assert_eq!(line["level"], "error");
    assert_eq!(line["msg"], "container does not exist: none");
    fs::remove_file(&log).unwrap();
    sandbox.fails(&["--log", &log_option, "state", "none"]);
    let line = fs::read_to_string(&log).unwrap();
    assert!(line.ends_with(" level=error msg=\"container does not exist: none\"\n"), "{line}");
}
