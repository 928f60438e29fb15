//! The numbers of system calls by name, for each [`Arch`], as of Linux 6.17.
//!
//! Made from the UAPI headers in the form the crate linux-raw-sys 0.12.1 has them; to renew, print
//! each architecture's list and join the five by name (`__ARM_NR_*` are ARM's private calls):
//!
//! ```sh
//! sed -nE 's/^pub const __(ARM_)?NR_(\w+): u32 = ([0-9]+);/\2 \3/p' src/$ARCH/general.rs
//! ```

use super::Arch;

/// A system call's number in each [`Arch`], in its order; `__` where it has none.
pub(super) type Numbers = [i32; 5];

const __: i32 = -1;

/// Set in every x32 number.
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// From here on, and up to 547, are the x32 calls that x86_64 has under other numbers.
pub(super) const X32_OWN: u32 = 512;

/// ARM's private calls start here, far above its table.
pub(super) const ARM_PRIVATE: u32 = 0xf_0000;

/// The number of the system call `name` in `arch`, if it has one. That of x32 has bit 30 set.
pub fn number(name: &str, arch: Arch) -> Option<u32> {
    let number = in_arch(numbers(name)?, arch)?;
    Some(if arch == Arch::X32 { number | X32_BIT } else { number })
}

/// The numbers of the system call `name`, if any [`Arch`] has it.
pub(super) fn numbers(name: &str) -> Option<&'static Numbers> {
    let row = TABLE.binary_search_by(|(known, _)| (*known).cmp(name)).ok()?;
    Some(&TABLE[row].1)
}

/// Picks the number for `arch`, that of x32 without its bit.
pub(super) fn in_arch(numbers: &Numbers, arch: Arch) -> Option<u32> {
    u32::try_from(numbers[arch as usize]).ok()
}

const fn row(name: &'static str, numbers: Numbers) -> (&'static str, Numbers) {
    (name, numbers)
}

/// A call that has the same number everywhere, as all have since Linux 5.1.
const fn all(name: &'static str, number: i32) -> (&'static str, Numbers) {
    (name, [number; 5])
}

/// Sorted by name: x86_64, x32, x86, aarch64, arm.
#[rustfmt::skip]
static TABLE: &[(&str, Numbers)] = &[
    row("_llseek", [__, __, 140, __, 140]), row("_newselect", [__, __, 142, __, 142]),
    row("_sysctl", [156, __, 149, __, 149]), row("accept", [43, 43, __, 202, 285]),
    row("accept4", [288, 288, 364, 242, 366]), row("access", [21, 21, 33, __, 33]),
    row("acct", [163, 163, 51, 89, 51]), row("add_key", [248, 248, 286, 217, 309]),
    row("adjtimex", [159, 159, 124, 171, 124]), row("afs_syscall", [183, 183, 137, __, __]),
    row("alarm", [37, 37, 27, __, __]), row("arch_prctl", [158, 158, 384, __, __]),
    row("arm_fadvise64_64", [__, __, __, __, 270]),
    row("arm_sync_file_range", [__, __, __, __, 341]), row("bdflush", [__, __, 134, __, 134]),
    row("bind", [49, 49, 361, 200, 282]), row("bpf", [321, 321, 357, 280, 386]),
    row("break", [__, __, 17, __, __]), row("breakpoint", [__, __, __, __, 0xf0001]),
    row("brk", [12, 12, 45, 214, 45]), row("cacheflush", [__, __, __, __, 0xf0002]),
    all("cachestat", 451), row("capget", [125, 125, 184, 90, 184]),
    row("capset", [126, 126, 185, 91, 185]), row("chdir", [80, 80, 12, 49, 12]),
    row("chmod", [90, 90, 15, __, 15]), row("chown", [92, 92, 182, __, 182]),
    row("chown32", [__, __, 212, __, 212]), row("chroot", [161, 161, 61, 51, 61]),
    row("clock_adjtime", [305, 305, 343, 266, 372]), row("clock_adjtime64", [__, __, 405, __, 405]),
    row("clock_getres", [229, 229, 266, 114, 264]),
    row("clock_getres_time64", [__, __, 406, __, 406]),
    row("clock_gettime", [228, 228, 265, 113, 263]), row("clock_gettime64", [__, __, 403, __, 403]),
    row("clock_nanosleep", [230, 230, 267, 115, 265]),
    row("clock_nanosleep_time64", [__, __, 407, __, 407]),
    row("clock_settime", [227, 227, 264, 112, 262]), row("clock_settime64", [__, __, 404, __, 404]),
    row("clone", [56, 56, 120, 220, 120]), all("clone3", 435), row("close", [3, 3, 6, 57, 6]),
    all("close_range", 436), row("connect", [42, 42, 362, 203, 283]),
    row("copy_file_range", [326, 326, 377, 285, 391]), row("creat", [85, 85, 8, __, 8]),
    row("create_module", [174, __, 127, __, __]), row("delete_module", [176, 176, 129, 106, 129]),
    row("dup", [32, 32, 41, 23, 41]), row("dup2", [33, 33, 63, __, 63]),
    row("dup3", [292, 292, 330, 24, 358]), row("epoll_create", [213, 213, 254, __, 250]),
    row("epoll_create1", [291, 291, 329, 20, 357]), row("epoll_ctl", [233, 233, 255, 21, 251]),
    row("epoll_ctl_old", [214, __, __, __, __]), row("epoll_pwait", [281, 281, 319, 22, 346]),
    all("epoll_pwait2", 441), row("epoll_wait", [232, 232, 256, __, 252]),
    row("epoll_wait_old", [215, __, __, __, __]), row("eventfd", [284, 284, 323, __, 351]),
    row("eventfd2", [290, 290, 328, 19, 356]), row("execve", [59, 520, 11, 221, 11]),
    row("execveat", [322, 545, 358, 281, 387]), row("exit", [60, 60, 1, 93, 1]),
    row("exit_group", [231, 231, 252, 94, 248]), row("faccessat", [269, 269, 307, 48, 334]),
    all("faccessat2", 439), row("fadvise64", [221, 221, 250, 223, __]),
    row("fadvise64_64", [__, __, 272, __, __]), row("fallocate", [285, 285, 324, 47, 352]),
    row("fanotify_init", [300, 300, 338, 262, 367]),
    row("fanotify_mark", [301, 301, 339, 263, 368]), row("fchdir", [81, 81, 133, 50, 133]),
    row("fchmod", [91, 91, 94, 52, 94]), row("fchmodat", [268, 268, 306, 53, 333]),
    all("fchmodat2", 452), row("fchown", [93, 93, 95, 55, 95]),
    row("fchown32", [__, __, 207, __, 207]), row("fchownat", [260, 260, 298, 54, 325]),
    row("fcntl", [72, 72, 55, 25, 55]), row("fcntl64", [__, __, 221, __, 221]),
    row("fdatasync", [75, 75, 148, 83, 148]), row("fgetxattr", [193, 193, 231, 10, 231]),
    all("file_getattr", 468), all("file_setattr", 469),
    row("finit_module", [313, 313, 350, 273, 379]), row("flistxattr", [196, 196, 234, 13, 234]),
    row("flock", [73, 73, 143, 32, 143]), row("fork", [57, 57, 2, __, 2]),
    row("fremovexattr", [199, 199, 237, 16, 237]), all("fsconfig", 431),
    row("fsetxattr", [190, 190, 228, 7, 228]), all("fsmount", 432), all("fsopen", 430),
    all("fspick", 433), row("fstat", [5, 5, 108, 80, 108]), row("fstat64", [__, __, 197, __, 197]),
    row("fstatat64", [__, __, 300, __, 327]), row("fstatfs", [138, 138, 100, 44, 100]),
    row("fstatfs64", [__, __, 269, __, 267]), row("fsync", [74, 74, 118, 82, 118]),
    row("ftime", [__, __, 35, __, __]), row("ftruncate", [77, 77, 93, 46, 93]),
    row("ftruncate64", [__, __, 194, __, 194]), row("futex", [202, 202, 240, 98, 240]),
    all("futex_requeue", 456), row("futex_time64", [__, __, 422, __, 422]), all("futex_wait", 455),
    all("futex_waitv", 449), all("futex_wake", 454), row("futimesat", [261, 261, 299, __, 326]),
    row("get_kernel_syms", [177, __, 130, __, __]), row("get_mempolicy", [239, 239, 275, 236, 320]),
    row("get_robust_list", [274, 531, 312, 100, 339]),
    row("get_thread_area", [211, __, 244, __, __]), row("get_tls", [__, __, __, __, 0xf0006]),
    row("getcpu", [309, 309, 318, 168, 345]), row("getcwd", [79, 79, 183, 17, 183]),
    row("getdents", [78, 78, 141, __, 141]), row("getdents64", [217, 217, 220, 61, 217]),
    row("getegid", [108, 108, 50, 177, 50]), row("getegid32", [__, __, 202, __, 202]),
    row("geteuid", [107, 107, 49, 175, 49]), row("geteuid32", [__, __, 201, __, 201]),
    row("getgid", [104, 104, 47, 176, 47]), row("getgid32", [__, __, 200, __, 200]),
    row("getgroups", [115, 115, 80, 158, 80]), row("getgroups32", [__, __, 205, __, 205]),
    row("getitimer", [36, 36, 105, 102, 105]), row("getpeername", [52, 52, 368, 205, 287]),
    row("getpgid", [121, 121, 132, 155, 132]), row("getpgrp", [111, 111, 65, __, 65]),
    row("getpid", [39, 39, 20, 172, 20]), row("getpmsg", [181, 181, 188, __, __]),
    row("getppid", [110, 110, 64, 173, 64]), row("getpriority", [140, 140, 96, 141, 96]),
    row("getrandom", [318, 318, 355, 278, 384]), row("getresgid", [120, 120, 171, 150, 171]),
    row("getresgid32", [__, __, 211, __, 211]), row("getresuid", [118, 118, 165, 148, 165]),
    row("getresuid32", [__, __, 209, __, 209]), row("getrlimit", [97, 97, 76, 163, __]),
    row("getrusage", [98, 98, 77, 165, 77]), row("getsid", [124, 124, 147, 156, 147]),
    row("getsockname", [51, 51, 367, 204, 286]), row("getsockopt", [55, 542, 365, 209, 295]),
    row("gettid", [186, 186, 224, 178, 224]), row("gettimeofday", [96, 96, 78, 169, 78]),
    row("getuid", [102, 102, 24, 174, 24]), row("getuid32", [__, __, 199, __, 199]),
    row("getxattr", [191, 191, 229, 8, 229]), all("getxattrat", 464),
    row("gtty", [__, __, 32, __, __]), row("idle", [__, __, 112, __, __]),
    row("init_module", [175, 175, 128, 105, 128]),
    row("inotify_add_watch", [254, 254, 292, 27, 317]),
    row("inotify_init", [253, 253, 291, __, 316]), row("inotify_init1", [294, 294, 332, 26, 360]),
    row("inotify_rm_watch", [255, 255, 293, 28, 318]), row("io_cancel", [210, 210, 249, 3, 247]),
    row("io_destroy", [207, 207, 246, 1, 244]), row("io_getevents", [208, 208, 247, 4, 245]),
    row("io_pgetevents", [333, 333, 385, 292, 399]),
    row("io_pgetevents_time64", [__, __, 416, __, 416]), row("io_setup", [206, 543, 245, 0, 243]),
    row("io_submit", [209, 544, 248, 2, 246]), all("io_uring_enter", 426),
    all("io_uring_register", 427), all("io_uring_setup", 425), row("ioctl", [16, 514, 54, 29, 54]),
    row("ioperm", [173, 173, 101, __, __]), row("iopl", [172, 172, 110, __, __]),
    row("ioprio_get", [252, 252, 290, 31, 315]), row("ioprio_set", [251, 251, 289, 30, 314]),
    row("ipc", [__, __, 117, __, __]), row("kcmp", [312, 312, 349, 272, 378]),
    row("kexec_file_load", [320, 320, __, 294, 401]), row("kexec_load", [246, 528, 283, 104, 347]),
    row("keyctl", [250, 250, 288, 219, 311]), row("kill", [62, 62, 37, 129, 37]),
    all("landlock_add_rule", 445), all("landlock_create_ruleset", 444),
    all("landlock_restrict_self", 446), row("lchown", [94, 94, 16, __, 16]),
    row("lchown32", [__, __, 198, __, 198]), row("lgetxattr", [192, 192, 230, 9, 230]),
    row("link", [86, 86, 9, __, 9]), row("linkat", [265, 265, 303, 37, 330]),
    row("listen", [50, 50, 363, 201, 284]), all("listmount", 458),
    row("listxattr", [194, 194, 232, 11, 232]), all("listxattrat", 465),
    row("llistxattr", [195, 195, 233, 12, 233]), row("lock", [__, __, 53, __, __]),
    row("lookup_dcookie", [212, 212, 253, 18, 249]), row("lremovexattr", [198, 198, 236, 15, 236]),
    row("lseek", [8, 8, 19, 62, 19]), row("lsetxattr", [189, 189, 227, 6, 227]),
    all("lsm_get_self_attr", 459), all("lsm_list_modules", 461), all("lsm_set_self_attr", 460),
    row("lstat", [6, 6, 107, __, 107]), row("lstat64", [__, __, 196, __, 196]),
    row("madvise", [28, 28, 219, 233, 220]), all("map_shadow_stack", 453),
    row("mbind", [237, 237, 274, 235, 319]), row("membarrier", [324, 324, 375, 283, 389]),
    row("memfd_create", [319, 319, 356, 279, 385]), row("memfd_secret", [447, 447, 447, 447, __]),
    row("migrate_pages", [256, 256, 294, 238, 400]), row("mincore", [27, 27, 218, 232, 219]),
    row("mkdir", [83, 83, 39, __, 39]), row("mkdirat", [258, 258, 296, 34, 323]),
    row("mknod", [133, 133, 14, __, 14]), row("mknodat", [259, 259, 297, 33, 324]),
    row("mlock", [149, 149, 150, 228, 150]), row("mlock2", [325, 325, 376, 284, 390]),
    row("mlockall", [151, 151, 152, 230, 152]), row("mmap", [9, 9, 90, 222, __]),
    row("mmap2", [__, __, 192, __, 192]), row("modify_ldt", [154, 154, 123, __, __]),
    row("mount", [165, 165, 21, 40, 21]), all("mount_setattr", 442), all("move_mount", 429),
    row("move_pages", [279, 533, 317, 239, 344]), row("mprotect", [10, 10, 125, 226, 125]),
    row("mpx", [__, __, 56, __, __]), row("mq_getsetattr", [245, 245, 282, 185, 279]),
    row("mq_notify", [244, 527, 281, 184, 278]), row("mq_open", [240, 240, 277, 180, 274]),
    row("mq_timedreceive", [243, 243, 280, 183, 277]),
    row("mq_timedreceive_time64", [__, __, 419, __, 419]),
    row("mq_timedsend", [242, 242, 279, 182, 276]),
    row("mq_timedsend_time64", [__, __, 418, __, 418]), row("mq_unlink", [241, 241, 278, 181, 275]),
    row("mremap", [25, 25, 163, 216, 163]), all("mseal", 462),
    row("msgctl", [71, 71, 402, 187, 304]), row("msgget", [68, 68, 399, 186, 303]),
    row("msgrcv", [70, 70, 401, 188, 302]), row("msgsnd", [69, 69, 400, 189, 301]),
    row("msync", [26, 26, 144, 227, 144]), row("munlock", [150, 150, 151, 229, 151]),
    row("munlockall", [152, 152, 153, 231, 153]), row("munmap", [11, 11, 91, 215, 91]),
    row("name_to_handle_at", [303, 303, 341, 264, 370]), row("nanosleep", [35, 35, 162, 101, 162]),
    row("newfstatat", [262, 262, __, 79, __]), row("nfsservctl", [180, __, 169, 42, 169]),
    row("nice", [__, __, 34, __, 34]), row("oldfstat", [__, __, 28, __, __]),
    row("oldlstat", [__, __, 84, __, __]), row("oldolduname", [__, __, 59, __, __]),
    row("oldstat", [__, __, 18, __, __]), row("olduname", [__, __, 109, __, __]),
    row("open", [2, 2, 5, __, 5]), row("open_by_handle_at", [304, 304, 342, 265, 371]),
    all("open_tree", 428), all("open_tree_attr", 467), row("openat", [257, 257, 295, 56, 322]),
    all("openat2", 437), row("pause", [34, 34, 29, __, 29]),
    row("pciconfig_iobase", [__, __, __, __, 271]), row("pciconfig_read", [__, __, __, __, 272]),
    row("pciconfig_write", [__, __, __, __, 273]),
    row("perf_event_open", [298, 298, 336, 241, 364]), row("personality", [135, 135, 136, 92, 136]),
    all("pidfd_getfd", 438), all("pidfd_open", 434), all("pidfd_send_signal", 424),
    row("pipe", [22, 22, 42, __, 42]), row("pipe2", [293, 293, 331, 59, 359]),
    row("pivot_root", [155, 155, 217, 41, 218]), row("pkey_alloc", [330, 330, 381, 289, 395]),
    row("pkey_free", [331, 331, 382, 290, 396]), row("pkey_mprotect", [329, 329, 380, 288, 394]),
    row("poll", [7, 7, 168, __, 168]), row("ppoll", [271, 271, 309, 73, 336]),
    row("ppoll_time64", [__, __, 414, __, 414]), row("prctl", [157, 157, 172, 167, 172]),
    row("pread64", [17, 17, 180, 67, 180]), row("preadv", [295, 534, 333, 69, 361]),
    row("preadv2", [327, 546, 378, 286, 392]), row("prlimit64", [302, 302, 340, 261, 369]),
    all("process_madvise", 440), all("process_mrelease", 448),
    row("process_vm_readv", [310, 539, 347, 270, 376]),
    row("process_vm_writev", [311, 540, 348, 271, 377]), row("prof", [__, __, 44, __, __]),
    row("profil", [__, __, 98, __, __]), row("pselect6", [270, 270, 308, 72, 335]),
    row("pselect6_time64", [__, __, 413, __, 413]), row("ptrace", [101, 521, 26, 117, 26]),
    row("putpmsg", [182, 182, 189, __, __]), row("pwrite64", [18, 18, 181, 68, 181]),
    row("pwritev", [296, 535, 334, 70, 362]), row("pwritev2", [328, 547, 379, 287, 393]),
    row("query_module", [178, __, 167, __, __]), row("quotactl", [179, 179, 131, 60, 131]),
    all("quotactl_fd", 443), row("read", [0, 0, 3, 63, 3]),
    row("readahead", [187, 187, 225, 213, 225]), row("readdir", [__, __, 89, __, __]),
    row("readlink", [89, 89, 85, __, 85]), row("readlinkat", [267, 267, 305, 78, 332]),
    row("readv", [19, 515, 145, 65, 145]), row("reboot", [169, 169, 88, 142, 88]),
    row("recv", [__, __, __, __, 291]), row("recvfrom", [45, 517, 371, 207, 292]),
    row("recvmmsg", [299, 537, 337, 243, 365]), row("recvmmsg_time64", [__, __, 417, __, 417]),
    row("recvmsg", [47, 519, 372, 212, 297]), row("remap_file_pages", [216, 216, 257, 234, 253]),
    row("removexattr", [197, 197, 235, 14, 235]), all("removexattrat", 466),
    row("rename", [82, 82, 38, __, 38]), row("renameat", [264, 264, 302, 38, 329]),
    row("renameat2", [316, 316, 353, 276, 382]), row("request_key", [249, 249, 287, 218, 310]),
    row("restart_syscall", [219, 219, 0, 128, 0]), row("rmdir", [84, 84, 40, __, 40]),
    row("rseq", [334, 334, 386, 293, 398]), row("rt_sigaction", [13, 512, 174, 134, 174]),
    row("rt_sigpending", [127, 522, 176, 136, 176]), row("rt_sigprocmask", [14, 14, 175, 135, 175]),
    row("rt_sigqueueinfo", [129, 524, 178, 138, 178]),
    row("rt_sigreturn", [15, 513, 173, 139, 173]), row("rt_sigsuspend", [130, 130, 179, 133, 179]),
    row("rt_sigtimedwait", [128, 523, 177, 137, 177]),
    row("rt_sigtimedwait_time64", [__, __, 421, __, 421]),
    row("rt_tgsigqueueinfo", [297, 536, 335, 240, 363]),
    row("sched_get_priority_max", [146, 146, 159, 125, 159]),
    row("sched_get_priority_min", [147, 147, 160, 126, 160]),
    row("sched_getaffinity", [204, 204, 242, 123, 242]),
    row("sched_getattr", [315, 315, 352, 275, 381]),
    row("sched_getparam", [143, 143, 155, 121, 155]),
    row("sched_getscheduler", [145, 145, 157, 120, 157]),
    row("sched_rr_get_interval", [148, 148, 161, 127, 161]),
    row("sched_rr_get_interval_time64", [__, __, 423, __, 423]),
    row("sched_setaffinity", [203, 203, 241, 122, 241]),
    row("sched_setattr", [314, 314, 351, 274, 380]),
    row("sched_setparam", [142, 142, 154, 118, 154]),
    row("sched_setscheduler", [144, 144, 156, 119, 156]),
    row("sched_yield", [24, 24, 158, 124, 158]), row("seccomp", [317, 317, 354, 277, 383]),
    row("security", [185, 185, __, __, __]), row("select", [23, 23, 82, __, __]),
    row("semctl", [66, 66, 394, 191, 300]), row("semget", [64, 64, 393, 190, 299]),
    row("semop", [65, 65, __, 193, 298]), row("semtimedop", [220, 220, __, 192, 312]),
    row("semtimedop_time64", [__, __, 420, __, 420]), row("send", [__, __, __, __, 289]),
    row("sendfile", [40, 40, 187, 71, 187]), row("sendfile64", [__, __, 239, __, 239]),
    row("sendmmsg", [307, 538, 345, 269, 374]), row("sendmsg", [46, 518, 370, 211, 296]),
    row("sendto", [44, 44, 369, 206, 290]), row("set_mempolicy", [238, 238, 276, 237, 321]),
    all("set_mempolicy_home_node", 450), row("set_robust_list", [273, 530, 311, 99, 338]),
    row("set_thread_area", [205, __, 243, __, __]),
    row("set_tid_address", [218, 218, 258, 96, 256]), row("set_tls", [__, __, __, __, 0xf0005]),
    row("setdomainname", [171, 171, 121, 162, 121]), row("setfsgid", [123, 123, 139, 152, 139]),
    row("setfsgid32", [__, __, 216, __, 216]), row("setfsuid", [122, 122, 138, 151, 138]),
    row("setfsuid32", [__, __, 215, __, 215]), row("setgid", [106, 106, 46, 144, 46]),
    row("setgid32", [__, __, 214, __, 214]), row("setgroups", [116, 116, 81, 159, 81]),
    row("setgroups32", [__, __, 206, __, 206]), row("sethostname", [170, 170, 74, 161, 74]),
    row("setitimer", [38, 38, 104, 103, 104]), row("setns", [308, 308, 346, 268, 375]),
    row("setpgid", [109, 109, 57, 154, 57]), row("setpriority", [141, 141, 97, 140, 97]),
    row("setregid", [114, 114, 71, 143, 71]), row("setregid32", [__, __, 204, __, 204]),
    row("setresgid", [119, 119, 170, 149, 170]), row("setresgid32", [__, __, 210, __, 210]),
    row("setresuid", [117, 117, 164, 147, 164]), row("setresuid32", [__, __, 208, __, 208]),
    row("setreuid", [113, 113, 70, 145, 70]), row("setreuid32", [__, __, 203, __, 203]),
    row("setrlimit", [160, 160, 75, 164, 75]), row("setsid", [112, 112, 66, 157, 66]),
    row("setsockopt", [54, 541, 366, 208, 294]), row("settimeofday", [164, 164, 79, 170, 79]),
    row("setuid", [105, 105, 23, 146, 23]), row("setuid32", [__, __, 213, __, 213]),
    row("setxattr", [188, 188, 226, 5, 226]), all("setxattrat", 463),
    row("sgetmask", [__, __, 68, __, __]), row("shmat", [30, 30, 397, 196, 305]),
    row("shmctl", [31, 31, 396, 195, 308]), row("shmdt", [67, 67, 398, 197, 306]),
    row("shmget", [29, 29, 395, 194, 307]), row("shutdown", [48, 48, 373, 210, 293]),
    row("sigaction", [__, __, 67, __, 67]), row("sigaltstack", [131, 525, 186, 132, 186]),
    row("signal", [__, __, 48, __, __]), row("signalfd", [282, 282, 321, __, 349]),
    row("signalfd4", [289, 289, 327, 74, 355]), row("sigpending", [__, __, 73, __, 73]),
    row("sigprocmask", [__, __, 126, __, 126]), row("sigreturn", [__, __, 119, __, 119]),
    row("sigsuspend", [__, __, 72, __, 72]), row("socket", [41, 41, 359, 198, 281]),
    row("socketcall", [__, __, 102, __, __]), row("socketpair", [53, 53, 360, 199, 288]),
    row("splice", [275, 275, 313, 76, 340]), row("ssetmask", [__, __, 69, __, __]),
    row("stat", [4, 4, 106, __, 106]), row("stat64", [__, __, 195, __, 195]),
    row("statfs", [137, 137, 99, 43, 99]), row("statfs64", [__, __, 268, __, 266]),
    all("statmount", 457), row("statx", [332, 332, 383, 291, 397]),
    row("stime", [__, __, 25, __, __]), row("stty", [__, __, 31, __, __]),
    row("swapoff", [168, 168, 115, 225, 115]), row("swapon", [167, 167, 87, 224, 87]),
    row("symlink", [88, 88, 83, __, 83]), row("symlinkat", [266, 266, 304, 36, 331]),
    row("sync", [162, 162, 36, 81, 36]), row("sync_file_range", [277, 277, 314, 84, __]),
    row("sync_file_range2", [__, __, __, __, 341]), row("syncfs", [306, 306, 344, 267, 373]),
    row("sysfs", [139, 139, 135, __, 135]), row("sysinfo", [99, 99, 116, 179, 116]),
    row("syslog", [103, 103, 103, 116, 103]), row("tee", [276, 276, 315, 77, 342]),
    row("tgkill", [234, 234, 270, 131, 268]), row("time", [201, 201, 13, __, __]),
    row("timer_create", [222, 526, 259, 107, 257]), row("timer_delete", [226, 226, 263, 111, 261]),
    row("timer_getoverrun", [225, 225, 262, 109, 260]),
    row("timer_gettime", [224, 224, 261, 108, 259]), row("timer_gettime64", [__, __, 408, __, 408]),
    row("timer_settime", [223, 223, 260, 110, 258]), row("timer_settime64", [__, __, 409, __, 409]),
    row("timerfd_create", [283, 283, 322, 85, 350]),
    row("timerfd_gettime", [287, 287, 326, 87, 354]),
    row("timerfd_gettime64", [__, __, 410, __, 410]),
    row("timerfd_settime", [286, 286, 325, 86, 353]),
    row("timerfd_settime64", [__, __, 411, __, 411]), row("times", [100, 100, 43, 153, 43]),
    row("tkill", [200, 200, 238, 130, 238]), row("truncate", [76, 76, 92, 45, 92]),
    row("truncate64", [__, __, 193, __, 193]), row("tuxcall", [184, 184, __, __, __]),
    row("ugetrlimit", [__, __, 191, __, 191]), row("ulimit", [__, __, 58, __, __]),
    row("umask", [95, 95, 60, 166, 60]), row("umount", [__, __, 22, __, __]),
    row("umount2", [166, 166, 52, 39, 52]), row("uname", [63, 63, 122, 160, 122]),
    row("unlink", [87, 87, 10, __, 10]), row("unlinkat", [263, 263, 301, 35, 328]),
    row("unshare", [272, 272, 310, 97, 337]), row("uretprobe", [335, 335, __, __, __]),
    row("uselib", [134, __, 86, __, 86]), row("userfaultfd", [323, 323, 374, 282, 388]),
    row("usr26", [__, __, __, __, 0xf0003]), row("usr32", [__, __, __, __, 0xf0004]),
    row("ustat", [136, 136, 62, __, 62]), row("utime", [132, 132, 30, __, __]),
    row("utimensat", [280, 280, 320, 88, 348]), row("utimensat_time64", [__, __, 412, __, 412]),
    row("utimes", [235, 235, 271, __, 269]), row("vfork", [58, 58, 190, __, 190]),
    row("vhangup", [153, 153, 111, 58, 111]), row("vm86", [__, __, 166, __, __]),
    row("vm86old", [__, __, 113, __, __]), row("vmsplice", [278, 532, 316, 75, 343]),
    row("vserver", [236, __, 273, __, 313]), row("wait4", [61, 61, 114, 260, 114]),
    row("waitid", [247, 529, 284, 95, 280]), row("waitpid", [__, __, 7, __, __]),
    row("write", [1, 1, 4, 64, 4]), row("writev", [20, 516, 146, 66, 146]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn is_sorted_so_that_every_name_is_found() {
        assert!(TABLE.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(TABLE.len(), 483);
        for (name, known) in TABLE {
            assert_eq!(numbers(name), Some(known));
        }
        assert_eq!(numbers("no_such_call"), None);
        assert_eq!(numbers(""), None);
    }

    #[test]
    fn has_one_name_a_number() {
        for arch in [Arch::X86_64, Arch::X32, Arch::X86, Arch::Aarch64, Arch::Arm] {
            let mut seen = HashMap::new();
            for (name, row) in TABLE {
                let Some(number) = in_arch(row, arch) else {
                    continue;
                };
                if let Some(other) = seen.insert(number, *name) {
                    assert_eq!((other, *name), ("arm_sync_file_range", "sync_file_range2"));
                }
            }
        }
    }

    #[test]
    fn knows_the_odd_ones() {
        assert_eq!(number("read", Arch::X86_64), Some(0));
        assert_eq!(number("read", Arch::Aarch64), Some(63));
        assert_eq!(number("ioctl", Arch::X32), Some(X32_BIT | 514));
        assert_eq!(number("openat", Arch::X32), Some(X32_BIT | 257));
        assert_eq!(number("umount", Arch::X86), Some(22));
        assert_eq!(number("umount", Arch::X86_64), None);
        assert_eq!(number("set_tls", Arch::Arm), Some(ARM_PRIVATE + 5));
        assert_eq!(number("clone3", Arch::Arm), Some(435));
        assert_eq!(number("file_setattr", Arch::X86), Some(469));
    }
}
