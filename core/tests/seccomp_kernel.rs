//! Docker's profile, compiled and loaded into this kernel, does what it says.
//!
//! A filter cannot be taken off again, so each test runs itself once more as a process of its own
//! and loads it there.
#![allow(unsafe_code)]

use std::env;
use std::fs;
use std::process::Command;
use std::thread;

use nix::errno::Errno;
use nix::libc::{self, c_long};
use oci_spec::runtime::Capabilities;
use skep::spec::seccomp::{Arch, Filter, compile, default_profile, number};

const CHILD: &str = "SKEP_TEST_SECCOMP_CHILD";

/// Runs `body` in a process of its own; to be called first and alone by the test `name`.
fn in_child(name: &str, body: fn()) {
    if env::var_os(CHILD).is_some() {
        return body();
    }
    let test = env::current_exe().unwrap();
    let output =
        Command::new(test).args(["--exact", name, "--nocapture"]).env(CHILD, "1").output().unwrap();
    assert!(
        output.status.success(),
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn docker() -> Filter {
    let native = Arch::native().expect("an architecture with tables");
    compile(&default_profile(&Capabilities::new(), native), native).unwrap()
}

/// Loads `filter` for this thread and what it makes.
fn load(filter: &Filter) {
    let program = libc::sock_fprog {
        len: filter.len().try_into().unwrap(),
        filter: filter.as_bytes().as_ptr().cast_mut().cast(),
    };
    // SAFETY: takes no pointers.
    let promised = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(promised, 0);
    let flags = filter.flags();
    // SAFETY: `program` and the filter it points to outlive the call, which only reads them; the
    // kernel copies the filter byte by byte, so that its alignment does not matter.
    let loaded = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
    };
    assert_eq!(loaded, 0, "{}", Errno::last());
}

/// Calls `name` with harmless numbers and null pointers for arguments.
fn call(name: &str, args: [c_long; 5]) -> Result<c_long, Errno> {
    let number = number(name, Arch::native().unwrap()).unwrap();
    call_number(number.into(), args)
}

fn call_number(number: c_long, [a, b, c, d, e]: [c_long; 5]) -> Result<c_long, Errno> {
    // SAFETY: every argument here is a number or a null pointer, which the kernel refuses.
    Errno::result(unsafe { libc::syscall(number, a, b, c, d, e) })
}

#[test]
fn dockers_profile_denies_and_allows() {
    in_child("dockers_profile_denies_and_allows", || {
        assert_eq!(call("keyctl", [9999, 0, 0, 0, 0]), Err(Errno::EOPNOTSUPP));
        assert_eq!(call("unshare", [0; 5]), Ok(0));
        assert_eq!(call("clone3", [0; 5]), Err(Errno::EINVAL));
        load(&docker());

        assert_eq!(call("keyctl", [9999, 0, 0, 0, 0]), Err(Errno::EPERM));
        assert_eq!(call("unshare", [0; 5]), Err(Errno::EPERM));
        assert_eq!(call("mount", [0; 5]), Err(Errno::EPERM));
        assert_eq!(call("clone3", [0; 5]), Err(Errno::ENOSYS));
        assert_eq!(call("clone", [libc::CLONE_NEWUSER.into(), 0, 0, 0, 0]), Err(Errno::EPERM));
        assert_eq!(call("file_setattr", [0; 5]), Err(Errno::ENOSYS), "newer than the profile");
        assert_eq!(call_number(5000, [0; 5]), Err(Errno::ENOSYS));
        assert_eq!(call("socket", [libc::AF_ALG.into(), 5, 0, 0, 0]), Err(Errno::EPERM));
        assert_eq!(call("socket", [libc::AF_VSOCK.into(), 1, 0, 0, 0]), Err(Errno::EPERM));
        assert_eq!(call("personality", [0x4_0000, 0, 0, 0, 0]), Err(Errno::EPERM));

        assert_eq!(call("getpid", [0; 5]), Ok(std::process::id().into()));
        assert!(call("personality", [0xffff_ffff, 0, 0, 0, 0]).is_ok());
        std::os::unix::net::UnixStream::pair().unwrap();
        std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(thread::spawn(|| 7).join().unwrap(), 7, "glibc falls back to clone");
        assert!(Command::new("true").status().unwrap().success());
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        assert!(status.contains("Seccomp:\t2\n"), "{status}");
    });
}

/// 64-bit code may enter the kernel as i386 code does.
#[cfg(target_arch = "x86_64")]
#[test]
fn i386_calls_are_filtered_by_their_own_numbers() {
    const GETPID: u64 = 20;
    const MOUNT: u64 = 21;

    fn int80(number: u64) -> i64 {
        let result: i64;
        // SAFETY: makes an i386 system call whose arguments are all null; it changes nothing but the
        // registers named. rbx is LLVM's own, hence saved.
        unsafe {
            std::arch::asm!(
                "push rbx", "xor ebx, ebx", "int 0x80", "pop rbx",
                inlateout("rax") number as i64 => result,
                in("rcx") 0, in("rdx") 0, in("rsi") 0, in("rdi") 0,
                lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _,
            );
        }
        i64::from(result as i32)
    }

    let emulated = fs::exists("/proc/sys/abi/vsyscall32");
    if !matches!(emulated, Ok(true)) {
        eprintln!("skipped: this kernel runs no i386 code (no /proc/sys/abi/vsyscall32)");
        return;
    }
    in_child("i386_calls_are_filtered_by_their_own_numbers", || {
        load(&docker());
        assert_eq!(int80(GETPID), i64::from(std::process::id()));
        assert_eq!(int80(MOUNT), -i64::from(libc::EPERM));
        assert_eq!(int80(5000), -i64::from(libc::ENOSYS));
    });
}
