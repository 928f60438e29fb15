/*
 * The host contract, from C: what a program with threads, signal handlers and children of its own
 * notices of skep, which is nothing.
 */
#include "tests.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* Runs `script`, whose output has to be `expected`. */
static void run(const char *script, const char *expected) {
    struct skep_command *command = shell(script);
    struct skep_output *output;
    OK(skep_command_run(command, &output, &error));
    CHECK_TEXT(skep_output_stdout(output).data, expected);
    skep_output_free(output);
    skep_command_free(command);
}

static int entries(const char *path) {
    DIR *directory = opendir(path);
    int count = 0;
    NEED(directory);
    while (readdir(directory)) count++;
    closedir(directory);
    return count;
}


static volatile sig_atomic_t children_heard;

static void hear(int signal) {
    (void)signal;
    children_heard++;
}

static void no_sigchld_for_its_handler(void) {
    struct sigaction action, old;
    memset(&action, 0, sizeof action);
    action.sa_handler = hear;
    children_heard = 0;
    NEED(sigaction(SIGCHLD, &action, &old) == 0);
    run("echo one", "one\n");
    run("(sleep 600 &) ; echo two", "two\n");
    CHECK_NUMBER(children_heard, 0);
    /* Our own is heard of. */
    pid_t own = fork();
    if (own == 0) _exit(9);
    int status;
    NEED(waitpid(own, &status, 0) == own);
    CHECK_NUMBER(WEXITSTATUS(status), 9);
    CHECK_NUMBER(children_heard, 1);
    /* And the handler is still ours. */
    NEED(sigaction(SIGCHLD, &old, &action) == 0);
    CHECK(action.sa_handler == hear);
}

static void nothing_for_its_wait_loop(void) {
    struct skep_command *command = shell("read line");
    struct skep_child *child;
    struct skep_exit_status status;
    skep_command_set_stdin(command, SKEP_STDIO_PIPED);
    OK(skep_command_spawn(command, &child, &error));
    CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
    pid_t own = fork();
    if (own == 0) _exit(0);
    CHECK_NUMBER(waitpid(-1, NULL, 0), own);
    skep_child_close_stdin(child);
    OK(skep_child_wait(child, &status, &error));
    CHECK_NUMBER(status.code, 1);
    CHECK(waitpid(-1, NULL, __WALL) == -1 && errno == ECHILD);
    skep_child_free(child);
    skep_command_free(command);
}

/* Children of every other way to have them, while containers start and end. */
static void *containers(void *error_count) {
    for (int i = 0; i < 20; i++) {
        const char *args[] = {"echo", "container", NULL};
        struct skep_command *command;
        struct skep_output *output;
        if (skep_command_new(engine, image, &command, NULL) != SKEP_OK) {
            ++*(int *)error_count;
            continue;
        }
        skep_command_add_args(command, args);
        if (skep_command_run(command, &output, NULL) != SKEP_OK) {
            ++*(int *)error_count;
        } else {
            if (strcmp(skep_output_stdout(output).data, "container\n") != 0) ++*(int *)error_count;
            skep_output_free(output);
        }
        skep_command_free(command);
    }
    return NULL;
}

static void its_own_children_at_the_same_time(void) {
    extern char **environ;
    pthread_t threads[4];
    int errors[4] = {0};
    char *args[] = {(char *)"sh", (char *)"-c", (char *)"exit 5", NULL};
    for (int i = 0; i < 4; i++)
        NEED(pthread_create(&threads[i], NULL, containers, &errors[i]) == 0);
    for (int i = 0; i < 50; i++) {
        pid_t pid;
        int status = 0;
        NEED(posix_spawnp(&pid, "sh", NULL, NULL, args, environ) == 0);
        CHECK_NUMBER(waitpid(-1, &status, 0), pid);
        CHECK_NUMBER(WEXITSTATUS(status), 5);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        CHECK_NUMBER(errors[i], 0);
    }
}

static void its_state_is_as_it_was(void) {
    char before[4096], after[4096];
    sigset_t mask_before, mask_after;
    sigset_t some;
    mode_t old_mask = umask(027);
    sigemptyset(&some);
    sigaddset(&some, SIGUSR1);
    NEED(getcwd(before, sizeof before));
    pthread_sigmask(SIG_BLOCK, &some, NULL);
    pthread_sigmask(SIG_BLOCK, NULL, &mask_before);
    int threads = entries("/proc/self/task"), files = entries("/proc/self/fd");
    run("echo; sh -c 'kill -9 $$'; exit 3", "\n");
    CHECK_NUMBER(entries("/proc/self/task"), threads);
    CHECK_NUMBER(entries("/proc/self/fd"), files);
    pthread_sigmask(SIG_BLOCK, NULL, &mask_after);
    for (int signal = 1; signal < 65; signal++)
        CHECK_NUMBER(sigismember(&mask_after, signal), sigismember(&mask_before, signal));
    pthread_sigmask(SIG_UNBLOCK, &some, NULL);
    NEED(getcwd(after, sizeof after));
    CHECK_TEXT(after, before);
    CHECK_NUMBER(umask(old_mask), 027);
}

#define DESCRIPTORS 1024

/* What this program was started with. */
static bool inherited[DESCRIPTORS];

static void every_descriptor_is_close_on_exec(void) {
    struct skep_command *command = shell("cat");
    struct skep_child *child;
    struct skep_collector *collector;
    int fd;
    skep_command_set_stdin(command, SKEP_STDIO_PIPED);
    OK(skep_command_collect(command, &collector, &error));
    OK(skep_command_spawn(command, &child, &error));
    OK(skep_child_exit_fd(child, &fd, &error));
    skep_command_free(command);
    for (fd = 0; fd < DESCRIPTORS; fd++) {
        int flags = fcntl(fd, F_GETFD);
        if (flags >= 0 && !inherited[fd] && !(flags & FD_CLOEXEC)) FAIL("%d is not", fd);
    }
    skep_child_free(child);
    skep_collector_free(collector);
}

/* In the copy all fails, freeing is fine, and the container of the original goes on. */
static int in_a_copy(struct skep_command *command, struct skep_child *child) {
    struct skep_exit_status status;
    struct skep_usage usage;
    struct skep_output *output;
    if (skep_command_run(command, &output, NULL) != SKEP_INVALID_STATE) return 1;
    if (skep_child_wait(child, &status, NULL) != SKEP_INVALID_STATE) return 2;
    if (skep_child_kill(child, NULL) != SKEP_INVALID_STATE) return 3;
    if (skep_child_usage(child, &usage, NULL) != SKEP_INVALID_STATE) return 4;
    skep_child_free(child);
    skep_command_free(command);
    skep_image_free(image);
    skep_engine_free(engine);
    return 0;
}

static void a_fork_of_it_leaves_containers_alone(void) {
    struct skep_command *command = shell("cat");
    struct skep_child *child;
    struct skep_exit_status status;
    char text[16] = "";
    int result;
    skep_command_set_stdin(command, SKEP_STDIO_PIPED);
    skep_command_set_stdout(command, SKEP_STDIO_PIPED);
    OK(skep_command_spawn(command, &child, &error));
    fflush(stdout);
    pid_t copy = fork();
    if (copy == 0) _exit(in_a_copy(command, child));
    NEED(waitpid(copy, &result, 0) == copy);
    CHECK(WIFEXITED(result));
    CHECK_NUMBER(WEXITSTATUS(result), 0);
    OK(skep_child_write_stdin(child, "alive", 5, NULL, &error));
    skep_child_close_stdin(child);
    CHECK_NUMBER(read(skep_child_stdout_fd(child), text, sizeof text - 1), 5);
    CHECK_TEXT(text, "alive");
    OK(skep_child_wait(child, &status, &error));
    CHECK(skep_exit_status_success(&status));
    skep_child_free(child);
    skep_command_free(command);
}

/* A host that is to be killed: starts a container, says its id, and waits for ever. */
static _Noreturn void victim(const char *store, const char *tar) {
    const char *args[] = {"sleep", "600", NULL};
    struct skep_command *command;
    struct skep_child *child;
    OK(skep_engine_open(store, &engine, &error));
    OK(skep_engine_import_image(engine, tar, NULL, &image, &error));
    OK(skep_command_new(engine, image, &command, &error));
    skep_command_add_args(command, args);
    skep_command_set_hostname(command, "skep-c-victim");
    skep_command_set_memory(command, 64 << 20);
    OK(skep_command_spawn(command, &child, &error));
    printf("%s\n", skep_child_id(child));
    fflush(stdout);
    for (;;) pause();
}

/* The process in whose /proc/PID/`file` there is `needle`; -1 if there is none. */
static int find_process(const char *file, const char *needle) {
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    int found = -1;
    NEED(proc);
    while (found < 0 && (entry = readdir(proc))) {
        char path[300], text[65536];
        int pid = atoi(entry->d_name);
        if (pid <= 0) continue;
        snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) continue;
        ssize_t length = read(fd, text, sizeof text - 1);
        close(fd);
        if (length > 0 && memmem(text, (size_t)length, needle, strlen(needle)))
            found = pid;
    }
    closedir(proc);
    return found;
}

static int parent_of(int pid) {
    char path[64], line[256];
    int parent = -1;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *file = fopen(path, "re");
    NEED(file);
    while (fgets(line, sizeof line, file)) sscanf(line, "PPid: %d", &parent);
    fclose(file);
    return parent;
}

static void await_end(int pidfd) {
    struct pollfd end = {pidfd, POLLIN, 0};
    CHECK_NUMBER(poll(&end, 1, 60000), 1);
    close(pidfd);
}

static void nothing_is_left_of_a_killed_host(void) {
    extern char **environ;
    char store[300], id[64] = "", groups[80];
    int out[2], status;
    pid_t host;
    posix_spawn_file_actions_t actions;
    snprintf(store, sizeof store, "%s/victim", temporary_directory());
    char *args[] = {(char *)"embedding", (char *)"victim", store, getenv("SKEP_TEST_ROOTFS"), NULL};
    NEED(pipe2(out, O_CLOEXEC) == 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    NEED(posix_spawn(&host, "/proc/self/exe", &actions, NULL, args, environ) == 0);
    posix_spawn_file_actions_destroy(&actions);
    close(out[1]);
    NEED(read(out[0], id, 33) == 33);
    id[32] = 0;
    /* Its processes are in control groups that bear the container's id. */
    snprintf(groups, sizeof groups, "/%s", id);
    int pid = find_process("cgroup", groups);
    NEED(pid > 0);
    int container = (int)syscall(SYS_pidfd_open, pid, 0);
    int keeper = (int)syscall(SYS_pidfd_open, parent_of(pid), 0);
    NEED(container >= 0 && keeper >= 0);
    NEED(kill(host, SIGKILL) == 0 && waitpid(host, &status, 0) == host);
    await_end(container);
    await_end(keeper);
    close(out[0]);
    /* Whoever opens the store next finds it as if nothing had been. */
    struct skep_engine *next;
    OK(skep_engine_open(store, &next, &error));
    char attached[320];
    snprintf(attached, sizeof attached, "%s/attached", store);
    CHECK_NUMBER(entries(attached), 2);
    CHECK_NUMBER(find_process("cgroup", groups), -1);
    skep_engine_free(next);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(no_sigchld_for_its_handler),
        TEST(nothing_for_its_wait_loop),
        TEST(its_own_children_at_the_same_time),
        TEST(its_state_is_as_it_was),
        TEST(every_descriptor_is_close_on_exec),
        TEST(a_fork_of_it_leaves_containers_alone),
        TEST(nothing_is_left_of_a_killed_host),
    };
    if (argc == 4 && strcmp(argv[1], "victim") == 0) victim(argv[2], argv[3]);
    for (int fd = 0; fd < DESCRIPTORS; fd++) inherited[fd] = fcntl(fd, F_GETFD) >= 0;
    return RUN_TESTS(tests);
}
