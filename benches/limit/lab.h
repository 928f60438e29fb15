// The program's options, the variants to compare, and the times of the steps.
#pragma once
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/if.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// From <sys/mount.h>, which cannot be included beside <linux/mount.h> in older C libraries.
int mount(const char *, const char *, const char *, unsigned long, const void *);
int umount2(const char *, int);
#define MNT_DETACH 2
#ifndef SYS_open_tree_attr
#define SYS_open_tree_attr 467 // Linux 6.15
#endif
#define MAX_RIVALS 32
#define MAX_ROUNDS 100000
#define MAX_RIVAL_ROUNDS 2000
#define MAX_STEPS 96
#define MAX_FILTER 4096

// ---- options ------------------------------------------------------------------------------------

static struct variant {
    const char *name, *what;
    bool on;
} variants[] = {
#define PROCS variants[0].on
    {"procs", "join by cgroup.procs, which takes the global threadgroup lock, not by tasks", 0},
#define PIDWRITE variants[1].on
    {"pidwrite", "the parent writes the child's pid into cgroup.procs (v1)", 0},
#define FORK variants[2].on
    {"fork", "clone without CLONE_VM", 0},
#define NONET variants[3].on
    {"nonet", "stay in the parent's network namespace", 0},
#define NETPOOL variants[4].on
    {"netpool", "setns into a network namespace made before the clock starts", 0},
#define CGPOOL variants[5].on
    {"cgpool", "cgroups made before the clock starts and removed after it stops", 0},
#define NOCGROUP variants[6].on
    {"nocgroup", "no cgroups, no limits", 0},
#define OVLMOUNT variants[7].on
    {"ovlmount", "mount(2) of the overlay in the child, not fsopen in the parent", 0},
#define SYNC variants[8].on
    {"novolatile", "overlay without `volatile`", 0},
#define NOOVL variants[9].on
    {"nooverlay", "bind the lower directory in place of an overlay", 0},
#define FSAPI variants[10].on
    {"fsapi", "fsopen and fsmount for proc, sys, dev and so on, not mount(2)", 0},
#define MASKTMPFS variants[11].on
    {"masktmpfs", "a tmpfs of its own for each masked directory", 0},
#define ROBIND variants[12].on
    {"robind", "read-only paths by bind and remount, not open_tree_attr", 0},
#define ROSETATTR variants[13].on
    {"rosetattr", "read-only paths by open_tree and mount_setattr", 0},
#define NOMASK variants[14].on
    {"nomask", "no masked and read-only paths", 0},
#define NOSECCOMP variants[15].on
    {"noseccomp", "no seccomp filter", 0},
#define NOCAPS variants[16].on
    {"nocaps", "keep all capabilities", 0},
#define SLIM variants[17].on
    {"slim", "clone from a mount namespace that holds little more than an empty tmpfs", 0},
#define NOPIVOT variants[18].on
    {"nopivot", "with slim: cover the empty root and chroot, no pivot_root and umount", 0},
#define TRASH variants[19].on
    {"trash", "rename upper and work away, delete them after the clock stops", 0},
#define DIRPOOL variants[20].on
    {"dirpool", "upper and work directories made before the clock starts", 0},
#define NOSYSFS variants[21].on
    {"nosysfs", "do not mount sysfs", 0},
#define SAMETMPFS variants[22].on
    {"sametmpfs", "/dev/shm is a directory of /dev, not a tmpfs of its own", 0},
#define NODEV variants[23].on
    {"nodev", "no /dev, devpts, mqueue and shm (with nomask)", 0},
#define NOEXEC variants[24].on
    {"noexec", "exit where the command would be executed", 0},
#define NOIPC variants[25].on
    {"noipc", "stay in the parent's ipc namespace", 0},
#define NOPID variants[26].on
    {"nopid", "stay in the parent's pid namespace", 0},
};
#define VARIANTS (sizeof variants / sizeof *variants)

static int rounds = 200, warmup = 5;
static bool timing;
static struct variant *rival[MAX_RIVALS]; // `-a`: run in turn with the plain way
static int rivals;
static const char *lower = "/", *scratch_parent = "/var/tmp", *filter_file;
static char *default_command[] = {"/bin/true", NULL}, **command = default_command;

// ---- steps and their times ----------------------------------------------------------------------

struct steps {
    int count;
    const char *name[MAX_STEPS];
    double at[MAX_STEPS];
};
static struct steps *steps; // shared with the child, also when it does not share memory
static float (*step_us)[MAX_STEPS];

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static void step(const char *name) {
    if (!timing || steps->count == MAX_STEPS) return;
    steps->name[steps->count] = name;
    steps->at[steps->count++] = now();
}

static void die(const char *what) {
    dprintf(2, "limit: %s: %s\n", what, strerror(errno));
    _exit(125);
}
#define TRY(call) do { if ((call) < 0) die(#call); } while (0)
