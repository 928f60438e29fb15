// The child: from clone to exec.
#pragma once
#include "prepare.h"

static void join_groups(void) {
    for (int i = 0; i < 3; i++) {
        write_file(parent_fd[i], on(PROCS) ? "c/cgroup.procs" : "c/tasks", "0");
        step(i == 0 ? "join memory" : i == 1 ? "join cpu" : "join pids");
    }
}

static void loopback_up(void) {
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0) die("lo");
    close(fd);
}

static void mount_at(const char *type, const char *target, unsigned long flags, const char *data) {
    if (!on(FSAPI)) {
        if (mount(type, target, type, flags, data) < 0) die(target);
        return;
    }
    unsigned attributes = (flags & MS_RDONLY ? MOUNT_ATTR_RDONLY : 0) | MOUNT_ATTR_NOSUID;
    int fd = detached(type, attributes);
    TRY(syscall(SYS_move_mount, fd, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH));
    close(fd);
}

static void enter_root(void) {
    if (!on(SLIM)) TRY(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
    step("make / private");
    if (on(NOOVL)) TRY(mount(lower, "merged", NULL, MS_BIND, NULL));
    else if (on(OVLMOUNT)) {
        char data[600];
        snprintf(data, sizeof data, "lowerdir=%s,upperdir=upper,workdir=work,volatile", lower);
        TRY(mount("overlay", "merged", "overlay", 0, data));
    } else if (on(NOPIVOT))
        TRY(syscall(SYS_move_mount, overlay_fd, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH));
    else TRY(syscall(SYS_move_mount, overlay_fd, "", AT_FDCWD, "merged", MOVE_MOUNT_F_EMPTY_PATH));
    step("attach overlay");
    if (on(NOPIVOT)) {
        TRY(fchdir(overlay_fd));
        TRY(chroot("."));
        step("chroot");
        return;
    }
    TRY(chdir("merged"));
    TRY(syscall(SYS_pivot_root, ".", "."));
    step("pivot_root");
    TRY(umount2(".", MNT_DETACH));
    TRY(chdir("/"));
    step("umount old root");
}

static void make_dev(void) {
    static const struct { const char *path; int major, minor; } nodes[] = {
        {"/dev/null", 1, 3}, {"/dev/zero", 1, 5}, {"/dev/full", 1, 7},
        {"/dev/random", 1, 8}, {"/dev/urandom", 1, 9}, {"/dev/tty", 5, 0},
    };
    static const char *const links[][2] = {
        {"/proc/self/fd", "/dev/fd"}, {"/proc/self/fd/0", "/dev/stdin"},
        {"/proc/self/fd/1", "/dev/stdout"}, {"/proc/self/fd/2", "/dev/stderr"},
        {"pts/ptmx", "/dev/ptmx"}, {"/proc/kcore", "/dev/core"},
    };
    mount_at("tmpfs", "/dev", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k");
    step("mount /dev");
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++)
        TRY(mknod(nodes[i].path, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)));
    for (size_t i = 0; i < sizeof links / sizeof *links; i++)
        TRY(symlink(links[i][0], links[i][1]));
    TRY(mkdir("/dev/pts", 0755));
    TRY(mkdir("/dev/mqueue", 0755));
    TRY(mkdir("/dev/shm", 01777));
    step("nodes and links");
    mount_at("devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC,
             "newinstance,ptmxmode=0666,mode=0620,gid=5");
    step("mount devpts");
    mount_at("mqueue", "/dev/mqueue", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL);
    step("mount mqueue");
    if (!on(SAMETMPFS))
        mount_at("tmpfs", "/dev/shm", MS_NOSUID | MS_NOEXEC | MS_NODEV, "mode=1777,size=65536k");
    step("mount shm");
}

static void mask(const char *path) {
    struct stat meta;
    if (stat(path, &meta) < 0) return;
    if (!S_ISDIR(meta.st_mode)) {
        if (mount("/dev/null", path, NULL, MS_BIND, NULL) < 0) die(path);
    } else if (on(MASKTMPFS)) {
        if (mount("tmpfs", path, "tmpfs", MS_RDONLY, "size=0k") < 0) die(path);
    } else {
        int fd = syscall(SYS_open_tree, empty_fd, "",
                         OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
        if (fd < 0) die(path);
        TRY(syscall(SYS_move_mount, fd, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH));
        close(fd);
    }
}

static void make_read_only(const char *path) {
    struct mount_attr attributes = {.attr_set = MOUNT_ATTR_RDONLY};
    unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
    if (on(ROBIND)) {
        if (mount(path, path, NULL, MS_BIND | MS_REC, NULL) < 0) {
            if (errno == ENOENT) return;
            die(path);
        }
        unsigned long remount = MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
        if (mount(NULL, path, NULL, remount, NULL) < 0) die(path);
        return;
    }
    int fd = -1;
    if (!on(ROSETATTR))
        fd = syscall(SYS_open_tree_attr, AT_FDCWD, path, flags, &attributes, sizeof attributes);
    if (on(ROSETATTR) || (fd < 0 && errno == ENOSYS)) {
        if ((fd = syscall(SYS_open_tree, AT_FDCWD, path, flags)) >= 0)
            TRY(syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attributes, sizeof attributes));
    }
    if (fd < 0 && errno == ENOENT) return;
    if (fd < 0) die(path);
    TRY(syscall(SYS_move_mount, fd, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH));
    close(fd);
}

static void hide_paths(void) {
    static const char *const masked[] = {
        "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys",
        "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
        "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
    };
    static const char *const read_only[] = {
        "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
    };
    for (size_t i = 0; i < sizeof masked / sizeof *masked; i++) mask(masked[i]);
    step("masked paths");
    for (size_t i = 0; i < sizeof read_only / sizeof *read_only; i++) make_read_only(read_only[i]);
    step("read-only paths");
}

// Docker's fourteen: chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap,
// net_bind_service, net_raw, sys_chroot, mknod, audit_write, setfcap.
#define DOCKER_CAPABILITIES 0xa80425fbu

static void drop_capabilities(void) {
    for (int capability = 0; capability < 64; capability++)
        if (!(DOCKER_CAPABILITIES >> capability & 1) || capability > 31)
            if (prctl(PR_CAPBSET_DROP, capability) < 0) break; // EINVAL: the last one was passed
    step("bounding set");
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {
        {.effective = DOCKER_CAPABILITIES, .permitted = DOCKER_CAPABILITIES}};
    TRY(syscall(SYS_capset, &header, data));
    step("capset");
}

static int child(void *hold) {
    char *environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
    step("clone");
    if (on(PIDWRITE)) while (*(volatile int *)hold) ;
    if (!v2 && !on(NOCGROUP) && !on(PIDWRITE)) join_groups();
    TRY(unshare(CLONE_NEWCGROUP)); // after the join, or its root would be the parent's group
    step("new cgroup namespace");
    TRY(sethostname("skep", 4));
    if (on(NETPOOL)) TRY(setns(net_fd, CLONE_NEWNET));
    else if (!on(NONET)) loopback_up();
    step(on(NETPOOL) ? "setns net" : "hostname, lo up");
    enter_root();
    mount_at("proc", "/proc", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL);
    step("mount proc");
    if (!on(NOSYSFS) && !on(NONET))
        mount_at("sysfs", "/sys", MS_RDONLY | MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL);
    step("mount sysfs");
    if (!on(NODEV)) make_dev();
    if (!on(NOMASK)) hide_paths();
    TRY(setsid());
    if (!on(NOCAPS)) drop_capabilities();
    TRY(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    if (!on(NOSECCOMP)) TRY(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
    step("seccomp");
    TRY(syscall(SYS_close_range, 3, ~0u, 0));
    step("close_range");
    if (on(NOEXEC)) _exit(0);
    execve(command[0], command, environment);
    die(command[0]);
    return 125;
}

// clone3 with a stack of the child's own, and the call that follows it.
static pid_t clone_child(struct clone_args *args, int (*entry)(void *), void *argument) {
    static char stack[64 * 1024] __attribute__((aligned(16)));
    args->stack = (uintptr_t)stack;
    args->stack_size = sizeof stack;
#if defined(__x86_64__)
    long result;
    register int (*function)(void *) __asm__("r12") = entry;
    register void *parameter __asm__("r13") = argument;
    __asm__ volatile("syscall\n test %%rax, %%rax\n jnz 1f\n xor %%ebp, %%ebp\n mov %%r13, %%rdi\n"
                     "call *%%r12\n mov %%eax, %%edi\n mov $231, %%eax\n syscall\n 1:"
                     : "=a"(result)
                     : "a"(SYS_clone3), "D"(args), "S"(sizeof *args), "r"(function), "r"(parameter)
                     : "rcx", "r11", "memory");
#elif defined(__aarch64__)
    register long result __asm__("x0") = (long)args;
    register long size __asm__("x1") = sizeof *args;
    register long number __asm__("x8") = SYS_clone3;
    register int (*function)(void *) __asm__("x19") = entry;
    register void *parameter __asm__("x20") = argument;
    __asm__ volatile("svc 0\n cbnz x0, 1f\n mov x29, xzr\n mov x0, x20\n blr x19\n mov x8, 94\n"
                     "svc 0\n 1:"
                     : "+r"(result)
                     : "r"(size), "r"(number), "r"(function), "r"(parameter)
                     : "memory", "cc");
#endif
    if (result < 0) errno = -result, result = -1;
    return result;
}
