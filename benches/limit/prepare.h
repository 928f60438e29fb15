// What is prepared once, before the clock starts: cgroups, seccomp filter, mount namespace.
#pragma once
#include "lab.h"

static char base[256];             // <scratch>/skep-bench-<pid>, the working directory of the loop
static bool v2;
static const char *controllers[] = {"memory", "cpu", "pids"};
static int parent_fd[3] = {-1, -1, -1}; // where the rounds' groups "c" are made; v2 uses the first
static int group_fd = -1;          // the round's group, v2 only
static int proc_fd = -1;
static struct sock_filter filter[MAX_FILTER];
static struct sock_fprog program = {.filter = filter};
static int empty_fd = -1;          // an empty read-only tmpfs, cloned over each masked directory
static int overlay_fd = -1, net_fd = -1, old_net_fd = -1;
static volatile sig_atomic_t stop;
static pid_t drainer;
static int drain_in[2], drain_out[2];

static void write_file(int at, const char *path, const char *text) {
    int fd = openat(at, path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0) die(path);
    close(fd);
}

static void group_parent(char *out, size_t size, const char *controller) {
    if (v2) snprintf(out, size, "/sys/fs/cgroup/skep-bench-%d", getpid());
    else snprintf(out, size, "/sys/fs/cgroup/%s/skep-bench-%d", controller, getpid());
}

static bool is_v2(void) {
    struct statfs fs;
    return statfs("/sys/fs/cgroup", &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
}

static void prepare_groups(void) {
    v2 = is_v2();
    for (int i = 0; i < (v2 ? 1 : 3); i++) {
        char parent[128];
        group_parent(parent, sizeof parent, controllers[i]);
        TRY(mkdir(parent, 0755));
        TRY(parent_fd[i] = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC));
        if (v2) write_file(parent_fd[i], "cgroup.subtree_control", "+memory +cpu +pids");
    }
}

// A stand-in for docker's filter. Its list of some 290 system calls comes to 54 ranges of numbers, so
// a balanced tree over 60 ranges, whose leaves share two returns, is what a good compiler makes of
// it. Size matters: the kernel emulates the filter once for each system call number when it is
// loaded. The same list as a chain of comparisons costs 440 us, as this tree 37 us.
#define RANGES 60
#define RANGE_SIZE 8
#define HEAD 4
#define RETURNS (HEAD + RANGES - 1)

static void emit_tree(int at, int low, int high) {
    int middle = (low + high) / 2, left = at + 1, right = at + middle - low;
    if (middle - low == 1) left = RETURNS;
    else emit_tree(left, low, middle);
    if (high - middle == 1) right = RETURNS + (middle == RANGES - 1);
    else emit_tree(right, middle, high);
    filter[at] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, middle * RANGE_SIZE,
                                              right - at - 1, left - at - 1);
}

static void prepare_filter(void) {
    if (filter_file) {
        int fd = open(filter_file, O_RDONLY);
        ssize_t size = fd < 0 ? -1 : read(fd, filter, sizeof filter);
        if (size < (ssize_t)sizeof *filter) die(filter_file);
        close(fd);
        program.len = size / sizeof *filter;
        return;
    }
#ifdef __x86_64__
    uint32_t arch = AUDIT_ARCH_X86_64;
#else
    uint32_t arch = AUDIT_ARCH_AARCH64;
#endif
    filter[0] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
    filter[1] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, arch, 1, 0);
    filter[2] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    filter[3] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    emit_tree(HEAD, 0, RANGES);
    filter[RETURNS] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    filter[RETURNS + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
    program.len = RETURNS + 2;
}

static int detached(const char *type, unsigned attributes) {
    int context = syscall(SYS_fsopen, type, FSOPEN_CLOEXEC);
    if (context < 0) die(type);
    TRY(syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
    int fd = syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, attributes);
    if (fd < 0) die(type);
    close(context);
    return fd;
}

// The mount namespace a keeper would live in: an empty tmpfs as root, with the scratch directory and
// the lower one below it.
static void enter_slim_namespace(void) {
    TRY(unshare(CLONE_NEWNS));
    TRY(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
    int scratch = syscall(SYS_open_tree, AT_FDCWD, base, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    int below = syscall(SYS_open_tree, AT_FDCWD, lower, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (scratch < 0 || below < 0) die("open_tree");
    TRY(mount("tmpfs", "/tmp", "tmpfs", 0, "mode=0755"));
    TRY(chdir("/tmp"));
    static const char *const dirs[] = {"scratch", "lower"};
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) TRY(mkdir(dirs[i], 0755));
    TRY(syscall(SYS_move_mount, scratch, "", AT_FDCWD, "scratch", MOVE_MOUNT_F_EMPTY_PATH));
    TRY(syscall(SYS_move_mount, below, "", AT_FDCWD, "lower", MOVE_MOUNT_F_EMPTY_PATH));
    TRY(syscall(SYS_pivot_root, ".", "."));
    TRY(umount2(".", MNT_DETACH));
    close(scratch), close(below);
    strcpy(base, "/scratch");
    lower = "/lower";
    TRY(chdir(base));
}
