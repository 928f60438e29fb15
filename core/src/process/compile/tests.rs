//! Plans of whole containers, printed: what the kernel is going to be asked, line by line.

use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType, Spec};

use super::{CgroupMounts, Surroundings, compile};
use crate::ErrorKind;
use crate::spec::config::{ContainerConfig, ImageDefaults, Mount, Rlimit, User};
use crate::spec::lower::lower;

const FILTER: [u8; 16] = [0; 16];

fn around() -> Surroundings<'static> {
    Surroundings { cgroup_files: 2, seccomp: Some(&FILTER), ..Surroundings::default() }
}

fn config(args: &[&str]) -> ContainerConfig {
    ContainerConfig { args: args.iter().map(|arg| (*arg).into()).collect(), ..Default::default() }
}

fn spec(config: &ContainerConfig) -> Spec {
    lower("0123456789abcdef", config, &ImageDefaults::default(), &User::default()).unwrap()
}

fn linux(change: impl FnOnce(&mut oci_spec::runtime::Linux)) -> Spec {
    let mut spec = spec(&config(&["true"]));
    let mut linux = spec.linux().clone().unwrap();
    change(&mut linux);
    spec.set_linux(Some(linux));
    spec
}

fn print(spec: &Spec, around: &Surroundings<'_>) -> String {
    compile(spec, around).unwrap().to_string()
}

#[test]
fn default_container() {
    insta::assert_snapshot!(print(&spec(&config(&["echo", "hi"])), &around()));
}

#[test]
fn on_cgroup_v2_the_clone_joins() {
    let around = Surroundings { cgroup_files: 0, ..around() };
    insta::assert_snapshot!(print(&spec(&config(&["true"])), &around));
}

#[test]
fn another_user() {
    let user = User { uid: 1000, gid: 1000, groups: vec![10, 20], home: Some("/home/app".into()) };
    let spec = lower("id", &config(&["id"]), &ImageDefaults::default(), &user).unwrap();
    insta::assert_snapshot!(print(&spec, &around()));
}

#[test]
fn read_only_root_with_tmpfs() {
    let mut config = config(&["true"]);
    config.read_only = true;
    config.mounts = vec![Mount::tmpfs("/tmp").size(1 << 20)];
    insta::assert_snapshot!(print(&spec(&config), &around()));
}

#[test]
fn binds_of_a_file_and_a_directory() {
    let mut config = config(&["true"]);
    config.mounts =
        vec![Mount::bind("/etc/hosts", "/etc/hosts").read_only(), Mount::bind("/srv", "/data/in")];
    let binds = [false, false, false, false, false, false, false, true];
    let around = Surroundings { bind_is_directory: &binds, ..around() };
    insta::assert_snapshot!(print(&spec(&config), &around));
}

#[test]
fn own_shm_in_place_of_the_default() {
    let mut config = config(&["true"]);
    config.mounts = vec![Mount::tmpfs("/dev/shm").size(1 << 30)];
    insta::assert_snapshot!(print(&spec(&config), &around()));
}

#[test]
fn new_privileges_allowed_and_a_working_directory() {
    let mut config = config(&["true"]);
    config.allow_new_privileges = true;
    config.working_directory = Some("/srv/app".into());
    insta::assert_snapshot!(print(&spec(&config), &around()));
}

#[test]
fn limits_of_the_process() {
    let mut config = config(&["true"]);
    let resource = oci_spec::runtime::PosixRlimitType::RlimitNofile;
    config.rlimits = vec![Rlimit { resource, soft: 256, hard: 512 }];
    insta::assert_snapshot!(print(&spec(&config), &around()));
}

#[test]
fn created_now_and_started_later() {
    let around = Surroundings { wait_for_go: true, ..around() };
    insta::assert_snapshot!(print(&spec(&config(&["true"])), &around));
}

#[test]
fn a_network_namespace_that_exists() {
    let spec = linux(|linux| {
        let mut list = linux.namespaces().clone().unwrap();
        list.retain(|namespace| namespace.typ() != LinuxNamespaceType::Network);
        let mut joined = LinuxNamespace::default();
        joined.set_typ(LinuxNamespaceType::Network);
        joined.set_path(Some("/run/netns/blue".into()));
        list.push(joined);
        linux.set_namespaces(Some(list));
    });
    insta::assert_snapshot!(print(&spec, &around()));
}

#[test]
fn sysctls_and_no_masks() {
    let spec = linux(|linux| {
        let one = ("net.ipv4.ip_forward".to_owned(), "1".to_owned());
        linux.set_sysctl(Some([one].into()));
        linux.set_masked_paths(None);
        linux.set_readonly_paths(None);
    });
    insta::assert_snapshot!(print(&spec, &around()));
}

#[test]
fn control_groups_shown_inside() {
    let mut spec = spec(&config(&["true"]));
    let mut mount = oci_spec::runtime::Mount::default();
    mount.set_destination("/sys/fs/cgroup".into());
    mount.set_typ(Some("cgroup".into()));
    mount.set_options(Some(vec!["ro".into(), "nosuid".into()]));
    let mut mounts = spec.mounts().clone().unwrap();
    mounts.push(mount);
    spec.set_mounts(Some(mounts));
    let v1 = CgroupMounts::V1(vec!["memory".into(), "cpu,cpuacct".into()]);
    let on_v1 = Surroundings { cgroup_mounts: v1, ..around() };
    insta::assert_snapshot!("control_groups_shown_inside_v1", print(&spec, &on_v1));
    insta::assert_snapshot!("control_groups_shown_inside_v2", print(&spec, &around()));
}

#[test]
fn a_command_with_a_slash_is_not_searched_for() {
    let plan = compile(&spec(&config(&["./run", "x"])), &around()).unwrap();
    let last = plan.to_string().lines().last().unwrap().to_owned();
    assert_eq!(last, r#"execve(["./run"], ["./run", "x"], 3 variables)"#);
}

#[test]
fn what_cannot_be_honoured_is_refused_by_name() {
    let terminal = {
        let mut spec = spec(&config(&["true"]));
        let mut process = spec.process().clone().unwrap();
        process.set_terminal(Some(true));
        spec.set_process(Some(process));
        spec
    };
    let no_mount_namespace = linux(|linux| {
        linux.set_namespaces(None);
    });
    let personality = linux(|linux| {
        linux.set_personality(Some(Default::default()));
    });
    for (spec, field) in [
        (terminal, "process.terminal"),
        (no_mount_namespace, "mount namespace"),
        (personality, "linux.personality"),
    ] {
        let error = compile(&spec, &around()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(field), "{error}");
    }
}

#[test]
fn wrong_values_are_refused_by_name() {
    let long = ContainerConfig { hostname: Some("x".repeat(65)), ..config(&["true"]) };
    let empty = config(&[""]);
    let limit = ContainerConfig {
        rlimits: vec![Rlimit {
            resource: oci_spec::runtime::PosixRlimitType::RlimitCore,
            soft: 2,
            hard: 1,
        }],
        ..config(&["true"])
    };
    for (config, named) in [(long, "xxxx"), (empty, "empty command"), (limit, "CORE")] {
        let error = compile(&spec(&config), &around()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(named), "{error}");
    }
}

#[test]
fn rlimits_have_the_kernels_numbers() {
    use oci_spec::runtime::PosixRlimitType as R;
    let pairs = [
        (R::RlimitCpu, 0),
        (R::RlimitFsize, 1),
        (R::RlimitData, 2),
        (R::RlimitStack, 3),
        (R::RlimitCore, 4),
        (R::RlimitRss, 5),
        (R::RlimitNproc, 6),
        (R::RlimitNofile, 7),
        (R::RlimitMemlock, 8),
        (R::RlimitAs, 9),
        (R::RlimitLocks, 10),
        (R::RlimitSigpending, 11),
        (R::RlimitMsgqueue, 12),
        (R::RlimitNice, 13),
        (R::RlimitRtprio, 14),
        (R::RlimitRttime, 15),
    ];
    for (name, number) in pairs {
        assert_eq!(super::resource_number(name), number, "{name:?}");
    }
}
