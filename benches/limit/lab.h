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

#define VARIANTS(V) \
    V(PROCS, "procs", "join by cgroup.procs, which takes the global threadgroup lock, not by tasks") \
    V(PIDWRITE, "pidwrite", "the parent writes the child's pid into cgroup.procs (v1)") \
    V(FORK, "fork", "clone without CLONE_VM") \
    V(NONET, "nonet", "stay in the parent's network namespace") \
    V(NETPOOL, "netpool", "setns into a network namespace made before the clock starts") \
    V(CGPOOL, "cgpool", "cgroups made before the clock starts and removed after it stops") \
    V(NOCGROUP, "nocgroup", "no cgroups, no limits") \
    V(OVLMOUNT, "ovlmount", "mount(2) of the overlay in the child, not fsopen in the parent") \
    V(SYNC, "novolatile", "overlay without `volatile`") \
    V(NOOVL, "nooverlay", "bind the lower directory in place of an overlay") \
    V(FSAPI, "fsapi", "fsopen and fsmount for proc, sys, dev and so on, not mount(2)") \
    V(MASKTMPFS, "masktmpfs", "a tmpfs of its own for each masked directory") \
    V(ROBIND, "robind", "read-only paths by bind and remount, not open_tree_attr") \
    V(ROSETATTR, "rosetattr", "read-only paths by open_tree and mount_setattr") \
    V(NOMASK, "nomask", "no masked and read-only paths") \
    V(NOSECCOMP, "noseccomp", "no seccomp filter") \
    V(NOCAPS, "nocaps", "keep all capabilities") \
    V(SLIM, "slim", "clone from a mount namespace that holds little more than an empty tmpfs") \
    V(NOPIVOT, "nopivot", "with slim: cover the empty root and chroot, no pivot_root and umount") \
    V(TRASH, "trash", "rename upper and work away, delete them after the clock stops") \
    V(DIRPOOL, "dirpool", "upper and work directories made before the clock starts") \
    V(NOSYSFS, "nosysfs", "do not mount sysfs") \
    V(SAMETMPFS, "sametmpfs", "/dev/shm is a directory of /dev, not a tmpfs of its own") \
    V(NODEV, "nodev", "no /dev, devpts, mqueue and shm (with nomask)") \
    V(NOEXEC, "noexec", "exit where the command would be executed") \
    V(NOIPC, "noipc", "stay in the parent's ipc namespace") \
    V(NOPID, "nopid", "stay in the parent's pid namespace")

#define AS_ID(id, name, what) id,
#define AS_ROW(id, name, what) [id] = {name, what, false},
enum { VARIANTS(AS_ID) VARIANT_COUNT };
static struct variant {
    const char *name, *what;
    bool on;
} variants[] = {VARIANTS(AS_ROW)};

static bool on(int variant) { return variants[variant].on; }

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
