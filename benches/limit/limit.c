// The limit: what the kernel alone costs to start an isolated process, wait for it and clean up.
//
// Straight-line C, static, no allocation in the loop. Each round makes an upper and a work
// directory, cgroups with limits (256 MiB, half a cpu, 64 processes), a detached overlay, and a
// child in new pid, mnt, net, uts, ipc and cgroup namespaces; the child does what docker's defaults
// ask for (mounts, masks, capabilities, no_new_privs, a seccomp filter) and executes the command.
// What the parent reads at the end (peak of memory, cpu time) a user of an engine would read too.
//
//     limit [-n ROUNDS] [-w WARMUP] [-l LOWER] [-s SCRATCH] [-b FILTER] [-t] [-x VARIANT]... [-a VARIANT]... [CMD]
//     limit -d
//
// Prints "<us from start to exit> <us from start to cleaned up> <us of cpu>" for each round, or with
// -t the median microseconds of each step. FILTER is a file of raw `struct sock_filter`.
// A VARIANT replaces the fastest known way by another one, so that the difference can be measured;
// `limit -x help` lists them. -a runs the plain way and variants in turn and prints the differences in
// microseconds (tenth percentile, median, median difference in the same round). Needs root. Everything it makes is called skep-bench-<pid>.
#include "child.h"
#include "drain.h"
#include "lab.h"
#include "prepare.h"

// ---- one round ----------------------------------------------------------------------------------

static void make_groups(void) {
    for (int i = 0; i < (v2 ? 1 : 3); i++) {
        int at = parent_fd[i];
        TRY(mkdirat(at, "c", 0755));
        if (v2 || i == 0) write_file(at, v2 ? "c/memory.max" : "c/memory.limit_in_bytes", "268435456");
        if (v2) write_file(at, "c/cpu.max", "50000 100000");
        else if (i == 1) write_file(at, "c/cpu.cfs_quota_us", "50000");
        if (v2 || i == 2) write_file(at, "c/pids.max", "64");
        if (v2) TRY(group_fd = openat(at, "c", O_PATH | O_DIRECTORY | O_CLOEXEC));
        step(i == 0 ? "make memory group" : i == 1 ? "make cpu group" : "make pids group");
    }
}

static void read_usage(void) {
    char text[64];
    const char *path = v2 ? "c/memory.peak" : "c/memory.max_usage_in_bytes";
    int fd = openat(parent_fd[0], path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof text) <= 0) die(path);
    close(fd);
    step("read memory peak");
}

static void remove_groups(void) {
    if (group_fd >= 0) close(group_fd), group_fd = -1;
    for (int i = 0; i < (v2 ? 1 : 3); i++)
        while (unlinkat(parent_fd[i], "c", AT_REMOVEDIR) < 0)
            if (errno != EBUSY) die("rmdir of a group");
    step("remove groups");
}

static void make_overlay(void) {
    int context = syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC);
    if (context < 0) die("fsopen overlay");
    TRY(syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, "lowerdir+", lower, 0));
    TRY(syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, "upperdir", "upper", 0));
    TRY(syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, "workdir", "work", 0));
    if (!on(SYNC)) TRY(syscall(SYS_fsconfig, context, FSCONFIG_SET_FLAG, "volatile", NULL, 0));
    TRY(syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
    step("create overlay");
    TRY(overlay_fd = syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, 0));
    close(context);
    step("fsmount overlay");
}

static void make_dirs(void) {
    if (on(NOOVL)) return;
    TRY(mkdir("upper", 0755));
    TRY(mkdir("work", 0755));
}

// What overlayfs itself leaves below work: work/work, and with `volatile` a marker in it.
static const char *const leftovers[] = {
    "work/work/incompat/volatile", "work/work/incompat", "work/work", "work", "upper"};

static void remove_dirs(void) {
    if (on(NOOVL)) return;
    if (!on(SYNC) && unlink("work/work/incompat/volatile/dirty") < 0) die("volatile/dirty");
    for (size_t i = on(SYNC) ? 2 : 0; i < sizeof leftovers / sizeof *leftovers; i++)
        if (rmdir(leftovers[i]) < 0 && errno != ENOENT) die(leftovers[i]);
}

static void make_net(void) {
    TRY(unshare(CLONE_NEWNET));
    TRY(net_fd = openat(proc_fd, "thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    loopback_up();
    TRY(setns(old_net_fd, CLONE_NEWNET));
}

static double cpu_time(int who) {
    struct rusage usage;
    getrusage(who, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
           (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static pid_t spawn(void) {
    volatile int hold = on(PIDWRITE);
    struct clone_args args = {
        .flags = CLONE_NEWNS | CLONE_NEWUTS | (on(NOIPC) ? 0 : CLONE_NEWIPC) | (on(NOPID) ? 0 : CLONE_NEWPID) |
                 (on(NONET) || on(NETPOOL) ? 0 : CLONE_NEWNET) |
                 (on(PIDWRITE) ? CLONE_VM : on(FORK) ? 0 : CLONE_VM | CLONE_VFORK),
        .exit_signal = SIGCHLD,
    };
    if (v2 && !on(NOCGROUP)) args.flags |= CLONE_INTO_CGROUP, args.cgroup = group_fd;
    pid_t pid = clone_child(&args, child, (void *)&hold);
    if (on(PIDWRITE) && pid > 0) {
        char text[16];
        snprintf(text, sizeof text, "%d", pid);
        for (int i = 0; i < 3; i++) write_file(parent_fd[i], "c/cgroup.procs", text);
        hold = 0;
    }
    return pid;
}

static bool one_round(double *to_exit, double *to_end, double *cpu) {
    int status;
    if (on(NETPOOL)) make_net();
    if (on(CGPOOL)) make_groups();
    if (on(DIRPOOL)) make_dirs();
    steps->count = 0;
    double used = cpu_time(RUSAGE_SELF) + cpu_time(RUSAGE_CHILDREN), start = now();
    step("start");
    if (!on(DIRPOOL)) make_dirs();
    step("make upper, work");
    if (!on(CGPOOL) && !on(NOCGROUP)) make_groups();
    if (!on(OVLMOUNT) && !on(NOOVL)) make_overlay();
    pid_t pid = spawn();
    if (pid < 0) die("clone3");
    step("exec");
    if (overlay_fd >= 0 && !on(PIDWRITE)) close(overlay_fd), overlay_fd = -1;
    if (waitpid(pid, &status, 0) < 0) die("waitpid");
    if (overlay_fd >= 0) close(overlay_fd), overlay_fd = -1;
    *to_exit = now() - start;
    step("run to exit");
    if (net_fd >= 0) close(net_fd), net_fd = -1;
    if (!on(NOCGROUP)) read_usage();
    if (!on(CGPOOL) && !on(NOCGROUP)) remove_groups();
    if (on(TRASH)) {
        TRY(rename("work", "old-work"));
        TRY(rename("upper", "old-upper"));
    } else if (!on(DIRPOOL)) remove_dirs();
    step("remove upper, work");
    *to_end = now() - start;
    *cpu = cpu_time(RUSAGE_SELF) + cpu_time(RUSAGE_CHILDREN) - used;
    if (on(CGPOOL)) remove_groups();
    if (on(TRASH)) {
        TRY(rename("old-work", "work"));
        TRY(rename("old-upper", "upper"));
    }
    if (on(DIRPOOL) || on(TRASH)) remove_dirs();
    if (status) dprintf(2, "limit: %s: wait status %#x\n", command[0], status);
    return status == 0;
}

// ---- the whole run ------------------------------------------------------------------------------

static volatile pid_t loop_process; // in the process that cleans up, else 0

static void on_signal(int number) {
    stop = 1;
    if (loop_process) kill(loop_process, number);
}

// Runs in the parent that stayed in the host's namespaces, however the loop ended.
static void clean_up(const char *home, pid_t owner) {
    char path[600];
    snprintf(path, sizeof path, "%s/%s/dirty", home, leftovers[0]);
    unlink(path);
    for (size_t i = 0; i < sizeof leftovers / sizeof *leftovers; i++) {
        snprintf(path, sizeof path, "%s/%s", home, leftovers[i]);
        rmdir(path);
    }
    snprintf(path, sizeof path, "%s/merged", home);
    rmdir(path);
    rmdir(home);
    for (int i = 0; i < 3; i++) {
        int length = v2 ? snprintf(path, 500, "/sys/fs/cgroup/skep-bench-%d/c", owner)
                        : snprintf(path, 500, "/sys/fs/cgroup/%s/skep-bench-%d/c", controllers[i], owner);
        rmdir(path);
        path[length - 2] = 0;
        rmdir(path);
    }
}

static int compare(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void print_steps(int done) {
    static float column[MAX_ROUNDS];
    double total = 0;
    for (int s = 1; s < steps->count; s++) {
        for (int r = 0; r < done; r++) column[r] = step_us[r][s];
        qsort(column, done, sizeof *column, compare);
        printf("%8.1f  %s\n", column[done / 2], steps->name[s]);
        total += column[done / 2];
    }
    printf("%8.1f  sum of medians\n", total);
}

static float median(float *values, int count, int percent) {
    qsort(values, count, sizeof *values, compare);
    return values[count * percent / 100];
}

// Runs the plain way and each rival in turn, round by round, so that noise hits all alike; prints
// the medians and the medians of the differences to the plain way in the same round.
static int run_rivals(void) {
    static float table[MAX_RIVALS + 1][MAX_RIVAL_ROUNDS][3], column[MAX_RIVAL_ROUNDS];
    int done = 0;
    for (int i = -warmup; i < rounds && !stop; i++) {
        for (int r = 0; r <= rivals; r++) {
            double out[3];
            if (r > 0) rival[r - 1]->on = true;
            bool good = one_round(&out[0], &out[1], &out[2]);
            if (r > 0) rival[r - 1]->on = false;
            if (!good) return 1;
            for (int k = 0; k < 3; k++) table[r][i < 0 ? 0 : i][k] = out[k];
            drain();
        }
        if (i >= 0) done++;
    }
    for (int r = 0; r <= rivals && done > 0; r++) {
        printf("%-12s", r ? rival[r - 1]->name : "plain");
        for (int k = 0; k < 3; k++) {
            static const char *const what[] = {"exit", "end", "cpu"};
            for (int i = 0; i < done; i++) column[i] = table[r][i][k];
            float low = median(column, done, 10), middle = median(column, done, 50);
            for (int i = 0; i < done; i++) column[i] = table[r][i][k] - table[0][i][k];
            printf("  %s %6.0f %6.0f (%+6.0f)", what[k], low, middle, median(column, done, 50));
        }
        printf("\n");
    }
    fflush(stdout);
    return done == rounds ? 0 : 1;
}

static int run(void) {
    static double result[MAX_ROUNDS][3];
    int done = 0;
    bool good = true;
    TRY(proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC));
    TRY(old_net_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
    if (!on(NOCGROUP)) prepare_groups();
    prepare_filter();
    empty_fd = detached("tmpfs", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    start_drainer();
    TRY(chdir(base));
    if (on(SLIM)) enter_slim_namespace();
    if (rivals) return run_rivals();
    for (int i = -warmup; i < rounds && good && !stop; i++) {
        double *out = result[i < 0 ? 0 : i];
        good = one_round(&out[0], &out[1], &out[2]);
        if (i >= 0 && good) {
            for (int s = 1; timing && s < steps->count; s++)
                step_us[i][s] = steps->at[s] - steps->at[s - 1];
            done++;
        }
        drain();
    }
    close(drain_in[1]);
    if (timing) print_steps(done);
    else
        for (int i = 0; i < done; i++)
            printf("%.1f %.1f %.0f\n", result[i][0], result[i][1], result[i][2]);
    fflush(stdout);
    return good && done == rounds ? 0 : 1;
}

// `-d`: for each byte on stdin drains, then writes one to stdout; a benchmark's other contenders use it.
static int serve_drain(void) {
    char byte;
    start_drainer();
    while (read(0, &byte, 1) == 1) {
        drain();
        if (write(1, &byte, 1) != 1) return 1;
    }
    return 0;
}

static struct variant *find_variant(const char *name) {
    for (size_t i = 0; i < VARIANT_COUNT; i++)
        if (strcmp(variants[i].name, name) == 0) return &variants[i];
    for (size_t i = 0; i < VARIANT_COUNT; i++) printf("%-12s %s\n", variants[i].name, variants[i].what);
    exit(strcmp(name, "help") != 0);
}

static void parse(int argc, char **argv) {
    for (int option; (option = getopt(argc, argv, "+n:w:l:s:b:dta:x:")) != -1;) switch (option) {
        case 'n': rounds = atoi(optarg); break;
        case 'w': warmup = atoi(optarg); break;
        case 'l': lower = optarg; break;
        case 's': scratch_parent = optarg; break;
        case 'b': filter_file = optarg; break;
        case 'd': exit(serve_drain());
        case 't': timing = true; break;
        case 'x': find_variant(optarg)->on = true; break;
        case 'a':
            if (rivals == MAX_RIVALS) exit(2);
            rival[rivals++] = find_variant(optarg);
            break;
        default: exit(2);
    }
    if (rounds < 1 || rounds > (rivals ? MAX_RIVAL_ROUNDS : MAX_ROUNDS)) exit(2);
    if (optind < argc) command = argv + optind;
}

// The loop runs in a process of its own: the first one only cleans up, also when the other dies.
int main(int argc, char **argv) {
    int status;
    size_t table = MAX_ROUNDS * sizeof *step_us;
    parse(argc, argv);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    umask(0);
    steps = mmap(NULL, sizeof *steps + table, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (steps == MAP_FAILED) die("mmap");
    step_us = (void *)(steps + 1);
    pid_t loop = fork();
    if (loop < 0) die("fork");
    snprintf(base, sizeof base, "%s/skep-bench-%d", scratch_parent, loop ? loop : getpid());
    if (loop == 0) {
        char merged[300];
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        snprintf(merged, sizeof merged, "%s/merged", base);
        if (mkdir(base, 0700) < 0 || mkdir(merged, 0700) < 0) die(base);
        return run();
    }
    loop_process = loop;
    TRY(waitpid(loop, &status, 0));
    v2 = is_v2();
    clean_up(base, loop);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
