// The network namespaces' deferred destruction.
#pragma once
#include "prepare.h"

// The kernel destroys network namespaces later, in order, in one worker, and that would be charged to
// the next round. A user namespace that may have one network namespace (user.max_net_namespaces)
// tells when the queue is empty: its next one can be made only when its previous one, which died
// after everything else, is gone.
static void drainer_main(void) {
    int ready[2];
    char byte;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_IGN);
    TRY(unshare(CLONE_NEWUSER));
    write_file(AT_FDCWD, "/proc/sys/user/max_net_namespaces", "1");
    TRY(pipe2(ready, O_CLOEXEC));
    for (pid_t holder = 0; read(drain_in[0], &byte, 1) == 1;) {
        if (holder) kill(holder, SIGKILL), waitpid(holder, NULL, 0);
        if ((holder = fork()) == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            while (unshare(CLONE_NEWNET) < 0 && errno == ENOSPC) usleep(500);
            if (write(ready[1], "", 1) != 1) _exit(1);
            for (;;) pause();
        }
        if (read(ready[0], &byte, 1) != 1 || write(drain_out[1], "", 1) != 1) _exit(1);
    }
    _exit(0);
}

static void drain(void) {
    char byte;
    if (on(NONET)) return;
    if (write(drain_in[1], "", 1) != 1 || read(drain_out[0], &byte, 1) != 1) die("drain");
}

static void start_drainer(void) {
    TRY(pipe2(drain_in, O_CLOEXEC));
    TRY(pipe2(drain_out, O_CLOEXEC));
    TRY(drainer = fork());
    if (drainer == 0) drainer_main();
    drain();
}
