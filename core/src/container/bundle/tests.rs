//! Without privilege: what a bundle's spec becomes.

use serde_json::{Value, json};

use super::*;
use crate::cgroup::{Bytes, Cpus, Limits, Memory, MemorySwap};
use crate::process::compile::compile;

fn spec(linux: Value) -> Spec {
    let mut linux = linux;
    linux["namespaces"] = json!([{"type": "mount"}, {"type": "pid"}]);
    let value = json!({
        "ociVersion": "1.0.2",
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["true"], "cwd": "/", "env": ["PATH=/bin:/sbin"]},
        "root": {"path": "rootfs"},
        "mounts": [
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts"},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro", "nosuid"]},
        ],
        "linux": linux,
    });
    serde_json::from_value(value).unwrap()
}

fn limits(resources: Value) -> Result<Limits> {
    resources::limits(&spec(json!({"resources": resources})))
}

fn lines(spec: &Spec, around: &Surroundings<'_>) -> Vec<String> {
    compile(spec, around).unwrap().to_string().lines().map(String::from).collect()
}

#[test]
fn resources_are_limits() {
    let given = limits(json!({
        "memory": {"limit": 67108864, "swap": 134217728},
        "cpu": {"quota": 25000, "period": 50000, "shares": 1024},
        "pids": {"limit": 2048},
    }));
    let memory = Memory::new(Bytes::mib(64), MemorySwap::Total(Bytes::mib(128))).unwrap();
    let expected = Limits {
        memory: Some(memory),
        cpus: Some(Cpus::new(0.5).unwrap()),
        pids: std::num::NonZeroU32::new(2048),
    };
    assert_eq!(given.unwrap(), expected);
}

#[test]
fn what_limits_nothing_is_no_limit() {
    for none in [
        json!({}),
        json!({"memory": {"limit": -1, "swap": -1}, "pids": {"limit": 0}, "cpu": {"quota": -1}}),
        json!({"memory": {}, "cpu": {"shares": 0, "cpus": ""}, "unified": {}, "blockIO": {}}),
    ] {
        assert_eq!(limits(none.clone()).unwrap(), Limits::default(), "{none}");
    }
}

#[test]
fn an_unknown_limit_is_refused_by_its_name() {
    for (resources, field) in [
        (json!({"cpu": {"shares": 512}}), "cpu.shares"),
        (json!({"cpu": {"cpus": "0"}}), "cpu.cpus"),
        (json!({"memory": {"swappiness": 0}}), "memory.swappiness"),
        (json!({"memory": {"swap": 4096}}), "memory.swap without memory.limit"),
        (json!({"unified": {"memory.high": "1"}}), "unified"),
        (json!({"blockIO": {"weight": 10}}), "blockIO"),
    ] {
        let error = limits(resources).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert_eq!(error.subject(), format!("linux.resources.{field} of the runtime spec"));
    }
}

#[test]
fn denied_devices_cannot_be_opened_through_any_mount() {
    let deny = json!({"resources": {"devices": [{"allow": false, "access": "rwm"}]}});
    let mut spec = spec(deny);
    assert!(devices::are_denied(&spec).unwrap());
    devices::lower(&mut spec, true).unwrap();
    let has = |index: usize| {
        let options = spec.mounts().as_ref().unwrap()[index].options().as_ref();
        options.is_some_and(|options| options.iter().any(|option| option == "nodev"))
    };
    assert_eq!([has(0), has(1), has(2)], [true, false, true]);
}

#[test]
fn allowed_devices_are_bound_and_default_ones_are_there_anyway() {
    let usual = json!({"path": "/dev/null", "type": "c", "major": 1, "minor": 3});
    let mut moved = spec(json!({
        "devices": [usual, {"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11}],
        "resources": {"devices": [
            {"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"},
        ]},
    }));
    devices::lower(&mut moved, true).unwrap();
    let mounts = moved.mounts().as_ref().unwrap();
    assert_eq!(mounts.len(), 4);
    assert_eq!(mounts[3].source().as_deref(), Some(Path::new("/dev/kmsg")));
    let options = ["bind", "rprivate", "nosuid", "noexec"].map(String::from);
    assert_eq!(mounts[3].options().as_deref(), Some(&options[..]));
    assert_eq!(moved.linux().as_ref().unwrap().devices(), &None);

    let absent = json!({"path": "/dev/skep-none", "type": "c", "major": 1, "minor": 3});
    let error = devices::lower(&mut spec(json!({"devices": [absent]})), true).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[test]
fn rules_that_deny_a_few_are_refused() {
    let few = json!([{"allow": true}, {"allow": false, "type": "b", "major": 8, "minor": 0}]);
    let error = devices::are_denied(&spec(json!({"resources": {"devices": few}}))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(!devices::are_denied(&spec(json!({}))).unwrap());
}

#[test]
fn the_command_is_looked_for_before_the_container_waits() {
    let around = Surroundings { wait_for_go: true, ..Surroundings::default() };
    let lines = lines(&spec(json!({})), &around);
    let last = &lines[lines.len() - 4..];
    assert_eq!(
        last,
        [
            "access([\"/bin/true\", \"/sbin/true\"], X_OK)",
            "send(<status>)",
            "await(<go>)",
            "execve([\"/bin/true\", \"/sbin/true\"], [\"true\"], 1 variables)",
        ]
    );
}

#[test]
fn without_no_new_privileges_the_filter_is_loaded_while_there_are_capabilities() {
    let filter = [0; 16];
    let around = Surroundings { seccomp: Some(&filter), seccomp_flags: 2, ..Default::default() };
    let mut spec = spec(json!({}));
    let place = |lines: &[String], start: &str| {
        lines.iter().position(|line| line.starts_with(start)).unwrap()
    };
    let before = lines(&spec, &around);
    let loads = before.iter().filter(|line| *line == "seccomp(2 instructions, flags=0x2)");
    assert_eq!(loads.count(), 1);
    assert!(place(&before, "seccomp(") < place(&before, "user("));

    let process = spec.process_mut().as_mut().unwrap();
    process.set_no_new_privileges(Some(true));
    let after = lines(&spec, &around);
    assert_eq!(place(&after, "seccomp("), after.len() - 2);
    assert_eq!(place(&after, "prctl(NO_NEW_PRIVS)"), after.len() - 3);
}

#[test]
fn cgroups_that_must_not_be_seen_are_an_empty_read_only_directory() {
    let cgroup_mounts = CgroupMounts::V1(Vec::new());
    let lines = lines(&spec(json!({})), &Surroundings { cgroup_mounts, ..Default::default() });
    let on: Vec<_> = lines.iter().filter(|line| line.contains("\"/sys/fs/cgroup\", ")).collect();
    assert_eq!(
        on,
        [
            "mkdir(\"/sys/fs/cgroup\", 0o755)",
            "mount(\"tmpfs\", \"/sys/fs/cgroup\", rdonly|nosuid, mode=755)"
        ]
    );
}

#[test]
fn the_root_propagates_as_asked() {
    let lines =
        |value: &str| lines(&spec(json!({"rootfsPropagation": value})), &Surroundings::default());
    assert!(lines("rshared").contains(&"mount(\"/\", 0x104000)".to_string()));
    assert!(!lines("rslave").iter().any(|line| line.starts_with("mount(\"/\"")));
    let wrong = spec(json!({"rootfsPropagation": "sideways"}));
    let error = compile(&wrong, &Surroundings::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}
