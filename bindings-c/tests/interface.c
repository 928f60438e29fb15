/* What each function does, as the header says it. */
#include "tests.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

/* A shell whose three streams are pipes. */
static struct skep_child *spawn(const char *script) {
    struct skep_command *command = shell(script);
    struct skep_child *child;
    skep_command_set_stdin(command, SKEP_STDIO_PIPED);
    skep_command_set_stdout(command, SKEP_STDIO_PIPED);
    skep_command_set_stderr(command, SKEP_STDIO_PIPED);
    OK(skep_command_spawn(command, &child, &error));
    skep_command_free(command);
    return child;
}

static int has_ended(int fd, int timeout) {
    struct pollfd end = {fd, POLLIN, 0};
    return poll(&end, 1, timeout) == 1;
}

/* What comes up to the end of file. */
static const char *rest(int fd) {
    static char text[4096];
    size_t length = 0;
    ssize_t count;
    while ((count = read(fd, text + length, sizeof text - 1 - length)) > 0) length += (size_t)count;
    text[length] = 0;
    return text;
}

static void versions(void) {
    CHECK_NUMBER(skep_abi_version(), SKEP_ABI_VERSION);
    CHECK(skep_version()[0] >= '0' && strchr(skep_version(), '.'));
}

static void sizes_of_the_binary_interface(void) {
    CHECK_NUMBER(sizeof(struct skep_usage), 64);
    CHECK_NUMBER(sizeof(struct skep_exit_status), 80);
    CHECK_NUMBER(sizeof(struct skep_slice), 2 * sizeof(void *));
}

static void an_error_and_its_parts(void) {
    struct skep_image *none = (struct skep_image *)&none;
    CHECK_NUMBER(skep_engine_find_image(engine, "localhost/none:1", &none, &error), SKEP_NOT_FOUND);
    CHECK(none == (struct skep_image *)&none);
    CHECK_NUMBER(skep_error_code(error), SKEP_NOT_FOUND);
    CHECK_TEXT(skep_error_name(error), "NotFound");
    CHECK_TEXT(skep_error_operation(error), "find image");
    CHECK_TEXT(skep_error_subject(error), "localhost/none:1");
    CHECK_NUMBER(skep_error_errno(error), 0);
    CHECK(strstr(skep_error_message(error), "cannot find image localhost/none:1") != NULL);
    skep_error_free(error);
    CHECK_NUMBER(skep_engine_load_image(engine, "/none.tar", &none, &error), SKEP_NOT_FOUND);
    CHECK_NUMBER(skep_error_errno(error), ENOENT);
    skep_error_free(error);
    /* Nobody has to look at the error. */
    CHECK_NUMBER(skep_engine_find_image(engine, "localhost/none:1", &none, NULL), SKEP_NOT_FOUND);
}

static void an_image_and_its_names(void) {
    struct skep_image *found;
    struct skep_image_list *list;
    OK(skep_engine_tag_image(engine, "localhost/skep-c:1", "localhost/skep-c:2", &error));
    OK(skep_engine_find_image(engine, skep_image_id(image), &found, &error));
    CHECK_TEXT(skep_image_id(found), skep_image_id(image));
    CHECK_TEXT(skep_image_digest(found), skep_image_digest(image));
    CHECK_TEXT(skep_image_reference(found, 0), "localhost/skep-c:1");
    CHECK_TEXT(skep_image_reference(found, 1), "localhost/skep-c:2");
    CHECK(skep_image_reference(found, 2) == NULL);
    CHECK(skep_image_size(found) > 1000000);
    CHECK(skep_image_created(found) == NULL);
    CHECK(strstr(skep_image_inspect(found), "\"localhost/skep-c:2\"") != NULL);
    CHECK(skep_image_inspect(found) == skep_image_inspect(found));
    skep_image_free(found);
    OK(skep_engine_list_images(engine, &list, &error));
    CHECK_NUMBER(skep_image_list_length(list), 1);
    CHECK_TEXT(skep_image_id(skep_image_list_at(list, 0)), skep_image_id(image));
    CHECK(skep_image_list_at(list, 1) == NULL);
    skep_image_list_free(list);
    OK(skep_engine_remove_image(engine, "localhost/skep-c:2", &error));
}

static void all_images_of_an_archive(void) {
    const char *oci = getenv("SKEP_TEST_OCI");
    struct skep_image_list *list;
    NEED(oci);
    OK(skep_engine_load_images(engine, oci, &list, &error));
    CHECK_NUMBER(skep_image_list_length(list), 1);
    CHECK(skep_image_created(skep_image_list_at(list, 0)) != NULL);
    OK(skep_engine_remove_image(engine, skep_image_id(skep_image_list_at(list, 0)), &error));
    skep_image_list_free(list);
}

static void a_run_and_its_output(void) {
    struct skep_command *command = shell("cat; echo bad >&2; exit 3");
    struct skep_output *output;
    char text[8];
    OK(skep_command_set_input(command, "in\0put", 6));
    OK(skep_command_run(command, &output, &error));
    const struct skep_exit_status *status = skep_output_status(output);
    CHECK_NUMBER(status->reason, SKEP_REASON_EXITED);
    CHECK_NUMBER(status->code, 3);
    CHECK_NUMBER(status->signal, 0);
    CHECK(!skep_exit_status_success(status));
    CHECK_NUMBER(skep_output_stdout(output).length, 6);
    CHECK(memcmp(skep_output_stdout(output).data, "in\0put", 7) == 0);
    CHECK_TEXT(skep_output_stderr(output).data, "bad\n");
    CHECK_NUMBER(skep_exit_status_text(status, text, sizeof text), strlen("exit code 3"));
    CHECK_TEXT(text, "exit co");
    CHECK_NUMBER(skep_exit_status_text(status, NULL, 0), strlen("exit code 3"));
    skep_output_free(output);
    /* Again: another container, the same input. */
    OK(skep_command_run(command, &output, &error));
    CHECK_NUMBER(skep_output_stdout(output).length, 6);
    skep_output_free(output);
    skep_command_free(command);
}

static void ends_in_words(void) {
    struct skep_exit_status status;
    char text[64];
    memset(&status, 0, sizeof status);
    skep_exit_status_text(&status, text, sizeof text);
    CHECK_TEXT(text, "still running");
    status.reason = SKEP_REASON_SIGNALED;
    status.signal = SIGTERM;
    skep_exit_status_text(&status, text, sizeof text);
    CHECK_TEXT(text, "signal 15 (SIGTERM)");
    status.reason = SKEP_REASON_OOM_KILLED;
    skep_exit_status_text(&status, text, sizeof text);
    CHECK_TEXT(text, "killed for want of memory");
    status.reason = SKEP_REASON_TIMED_OUT;
    skep_exit_status_text(&status, text, sizeof text);
    CHECK_TEXT(text, "killed after its timeout");
}

static void memory_in_bytes(void) {
    uint64_t bytes;
    OK(skep_bytes_parse("256m", &bytes, &error));
    CHECK_NUMBER(bytes, 256 << 20);
    OK(skep_bytes_parse("1.5g", &bytes, &error));
    CHECK_NUMBER(bytes, 1610612736);
}

static void a_child_and_its_pipes(void) {
    struct skep_child *child = spawn("read line; echo \"got $line\"; cat >&2; exit 5");
    struct skep_exit_status status;
    struct skep_usage usage;
    size_t written;
    int fd;
    CHECK_NUMBER(strlen(skep_child_id(child)), 32);
    OK(skep_child_exit_fd(child, &fd, &error));
    CHECK(!has_ended(fd, 0));
    OK(skep_child_try_wait(child, &status, &error));
    CHECK_NUMBER(status.reason, SKEP_REASON_RUNNING);
    CHECK_NUMBER(status.code, -1);
    OK(skep_child_write_stdin(child, "hello\n", 6, &written, &error));
    CHECK_NUMBER(written, 6);
    OK(skep_child_write_stdin(child, "rest", 4, NULL, &error));
    OK(skep_child_write_stdin(child, NULL, 0, NULL, &error));
    OK(skep_child_usage(child, &usage, &error));
    CHECK_NUMBER(usage.reserved[0], SKEP_NOT_COUNTED);
    skep_child_close_stdin(child);
    skep_child_close_stdin(child);
    CHECK_NUMBER(skep_child_stdin_fd(child), -1);
    CHECK_TEXT(rest(skep_child_stdout_fd(child)), "got hello\n");
    CHECK(has_ended(fd, -1));
    OK(skep_child_wait_timeout_ms(child, 60000, &status, &error));
    CHECK_NUMBER(status.reason, SKEP_REASON_EXITED);
    CHECK_NUMBER(status.code, 5);
    CHECK_TEXT(rest(skep_child_stderr_fd(child)), "rest");
    OK(skep_child_wait(child, &status, &error));
    CHECK_NUMBER(status.code, 5);
    skep_child_free(child);
}

static void pipes_that_are_taken(void) {
    struct skep_child *child = spawn("cat");
    int in = skep_child_take_stdin(child), out = skep_child_take_stdout(child);
    int err = skep_child_stderr_fd(child);
    CHECK(in > 2 && out > 2 && err > 2);
    CHECK_NUMBER(fcntl(in, F_GETFD), FD_CLOEXEC);
    CHECK_NUMBER(skep_child_take_stdin(child), -1);
    CHECK_NUMBER(skep_child_stdout_fd(child), -1);
    FAILS(skep_child_write_stdin(child, "x", 1, NULL, &error), SKEP_INVALID_STATE,
          "cannot call skep_child_write_stdin: standard input is not a pipe, or was taken or closed");
    CHECK_NUMBER(write(in, "mine", 4), 4);
    CHECK_NUMBER(close(in), 0);
    CHECK_TEXT(rest(out), "mine");
    skep_child_free(child);
    /* What was taken is ours, what was not is closed. */
    CHECK_NUMBER(close(out), 0);
    CHECK_NUMBER(close(err), -1);
}

static void a_closed_pipe_raises_no_signal(void) {
    struct skep_child *child = spawn("exec <&-; echo closed; read line <&1");
    char line[7];
    static char much[100000];
    CHECK_NUMBER(read(skep_child_stdout_fd(child), line, sizeof line), 7);
    CHECK_NUMBER(skep_child_write_stdin(child, much, sizeof much, NULL, &error), SKEP_IO);
    CHECK_NUMBER(skep_error_errno(error), EPIPE);
    CHECK_TEXT(skep_error_name(error), "Io");
    CHECK_TEXT(skep_error_message(error), "cannot write to a container: Broken pipe (os error 32)");
    skep_error_free(error);
    skep_child_free(child);
}

static void a_pipe_that_does_not_block(void) {
    struct skep_child *child = spawn("read go </dev/fd/2");
    static char much[1 << 20];
    size_t written = 0;
    fcntl(skep_child_stdin_fd(child), F_SETFL, O_NONBLOCK);
    OK(skep_child_write_stdin(child, much, sizeof much, &written, &error));
    CHECK_NUMBER(written, 65536);
    OK(skep_child_write_stdin(child, much, sizeof much, &written, &error));
    CHECK_NUMBER(written, 0);
    skep_child_free(child);
}

static void kill_signal_and_stop(void) {
    struct skep_exit_status status;
    struct skep_child *child = spawn("trap 'exit 4' TERM; echo; while :; do sleep 0.01; done");
    char line;
    CHECK_NUMBER(read(skep_child_stdout_fd(child), &line, 1), 1);
    OK(skep_child_signal(child, SIGTERM, &error));
    OK(skep_child_wait(child, &status, &error));
    CHECK_NUMBER(status.code, 4);
    skep_child_free(child);

    child = spawn("sleep 600");
    OK(skep_child_stop(child, 0, &status, &error));
    CHECK_NUMBER(status.reason, SKEP_REASON_SIGNALED);
    CHECK_NUMBER(status.signal, SIGKILL);
    OK(skep_child_kill(child, &error));
    skep_child_free(child);
}

static void a_timeout_and_want_of_memory(void) {
    struct skep_command *command = shell("echo begun; sleep 600");
    struct skep_output *output;
    skep_command_set_timeout_ms(command, 200);
    OK(skep_command_run(command, &output, &error));
    CHECK_NUMBER(skep_output_status(output)->reason, SKEP_REASON_TIMED_OUT);
    CHECK_NUMBER(skep_output_status(output)->signal, SIGKILL);
    CHECK_TEXT(skep_output_stdout(output).data, "begun\n");
    skep_output_free(output);
    skep_command_free(command);

    command = shell("exec dd if=/dev/zero of=/dev/null bs=64M count=1");
    skep_command_set_memory(command, 16u << 20);
    OK(skep_command_run(command, &output, &error));
    CHECK_NUMBER(skep_output_status(output)->reason, SKEP_REASON_OOM_KILLED);
    CHECK_NUMBER(skep_output_status(output)->usage.oom_kills, 1);
    CHECK(skep_output_status(output)->usage.memory_peak <= 16u << 20);
    CHECK(skep_output_status(output)->usage.cpu_total_us > 0);
    skep_output_free(output);
    skep_command_free(command);
}

static void streams_that_are_files(void) {
    char path[300];
    struct skep_command *command = shell("cat; echo more >&2");
    struct skep_output *output;
    snprintf(path, sizeof path, "%s/file", temporary_directory());
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    NEED(fd >= 0 && write(fd, "from a file\n", 12) == 12 && lseek(fd, 0, SEEK_SET) == 0);
    OK(skep_command_set_stdin_fd(command, fd));
    OK(skep_command_set_stderr_fd(command, fd));
    CHECK_NUMBER(close(fd), 0);
    OK(skep_command_run(command, &output, &error));
    CHECK_TEXT(skep_output_stdout(output).data, "from a file\n");
    CHECK_TEXT(skep_output_stderr(output).data, "");
    skep_output_free(output);
    skep_command_free(command);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK_TEXT(rest(fd), "from a file\nmore\n");
    close(fd);
}

static void the_programs_own_stream(void) {
    struct skep_command *command = shell("echo inherited; readlink /proc/self/fd/0");
    struct skep_output *output;
    int pipe_fds[2], kept = dup(1);
    fflush(stdout);
    NEED(kept >= 0 && pipe(pipe_fds) == 0 && dup2(pipe_fds[1], 1) == 1);
    OK(skep_command_set_stdin(command, SKEP_STDIO_NULL));
    OK(skep_command_set_stdout(command, SKEP_STDIO_INHERIT));
    OK(skep_command_run(command, &output, &error));
    dup2(kept, 1);
    close(kept);
    close(pipe_fds[1]);
    CHECK_TEXT(rest(pipe_fds[0]), "inherited\n/dev/null\n");
    close(pipe_fds[0]);
    CHECK_NUMBER(skep_output_stdout(output).length, 0);
    skep_output_free(output);
    skep_command_free(command);
}

static void a_collector_and_its_descriptor(void) {
    struct skep_command *command = shell("cat; echo end >&2");
    struct skep_collector *collector;
    struct skep_output *output = NULL;
    struct skep_usage usage;
    static char much[3 << 20];
    memset(much, 'x', sizeof much);
    skep_command_set_input(command, much, sizeof much);
    OK(skep_command_collect(command, &collector, &error));
    skep_command_free(command);
    CHECK_NUMBER(strlen(skep_collector_id(collector)), 32);
    OK(skep_collector_usage(collector, &usage, &error));
    while (!output) {
        CHECK(has_ended(skep_collector_fd(collector), -1));
        OK(skep_collector_advance(collector, &output, &error));
    }
    CHECK_NUMBER(skep_output_stdout(output).length, sizeof much);
    CHECK(memcmp(skep_output_stdout(output).data, much, sizeof much) == 0);
    CHECK_TEXT(skep_output_stderr(output).data, "end\n");
    skep_output_free(output);
    CHECK_NUMBER(skep_collector_advance(collector, &output, NULL), SKEP_INVALID_STATE);
    skep_collector_free(collector);
}

static void a_collector_that_is_killed(void) {
    struct skep_command *command = shell("echo begun; sleep 600");
    struct skep_collector *collector;
    struct skep_output *output;
    OK(skep_command_collect(command, &collector, &error));
    skep_command_free(command);
    OK(skep_collector_signal(collector, SIGKILL, &error));
    OK(skep_collector_kill(collector, &error));
    OK(skep_collector_wait(collector, &output, &error));
    CHECK_NUMBER(skep_output_status(output)->signal, SIGKILL);
    skep_output_free(output);
    CHECK_NUMBER(skep_collector_fd(collector), -1);
    FAILS(skep_collector_kill(collector, &error), SKEP_INVALID_STATE,
          "cannot call skep_collector_kill: skep_collector_wait() has been called");
    FAILS(skep_collector_wait(collector, &output, &error), SKEP_INVALID_STATE,
          "cannot call skep_collector_wait: skep_collector_wait() has been called");
    skep_collector_free(collector);
}

static void roots_without_an_image(void) {
    struct skep_command *command;
    struct skep_output *output;
    OK(skep_command_new_host(engine, &command, &error));
    skep_command_add_arg(command, "cat");
    skep_command_add_arg(command, "/proc/sys/kernel/hostname");
    skep_command_set_hostname(command, "hive");
    OK(skep_command_run(command, &output, &error));
    CHECK_TEXT(skep_output_stdout(output).data, "hive\n");
    skep_output_free(output);
    skep_command_free(command);

    OK(skep_command_new_directory(engine, "/", &command, &error));
    skep_command_add_arg(command, "true");
    OK(skep_command_run(command, &output, &error));
    CHECK(skep_exit_status_success(skep_output_status(output)));
    skep_output_free(output);
    skep_command_free(command);
}

static void any_order_of_freeing(void) {
    char path[300];
    struct skep_engine *other;
    struct skep_image *its;
    struct skep_command *command;
    struct skep_child *child;
    struct skep_exit_status status;
    const char *tar = getenv("SKEP_TEST_ROOTFS");
    snprintf(path, sizeof path, "%s/other", temporary_directory());
    OK(skep_engine_open(path, &other, &error));
    OK(skep_engine_import_image(other, tar, NULL, &its, &error));
    CHECK(skep_image_reference(its, 0) == NULL);
    OK(skep_command_new(other, its, &command, &error));
    skep_engine_free(other);
    skep_image_free(its);
    skep_command_add_arg(command, "cat");
    skep_command_set_stdin(command, SKEP_STDIO_PIPED);
    OK(skep_command_spawn(command, &child, &error));
    skep_command_free(command);
    skep_child_close_stdin(child);
    OK(skep_child_wait(child, &status, &error));
    CHECK(skep_exit_status_success(&status));
    skep_child_free(child);
}

static void *write_much(void *child) {
    static char much[1 << 20];
    CHECK_NUMBER(skep_child_write_stdin(child, much, sizeof much, NULL, NULL), SKEP_IO);
    return NULL;
}

static void a_descriptor_while_another_thread_writes(void) {
    struct skep_child *child = spawn("sleep 3");
    struct skep_exit_status status;
    pthread_t thread;
    int fd = skep_child_stdin_fd(child), held = 0;
    NEED(pthread_create(&thread, NULL, write_much, child) == 0);
    while (held < 65536) NEED(ioctl(fd, FIONREAD, &held) == 0);
    /* The pipe is full, and nobody reads it. */
    CHECK_NUMBER(skep_child_stdin_fd(child), fd);
    OK(skep_child_try_wait(child, &status, &error));
    CHECK_NUMBER(status.reason, SKEP_REASON_RUNNING);
    OK(skep_child_kill(child, &error));
    pthread_join(thread, NULL);
    skep_child_close_stdin(child);
    CHECK_NUMBER(skep_child_stdin_fd(child), -1);
    skep_child_free(child);
}

static void *wait_for(void *child) {
    static struct skep_exit_status status;
    struct skep_error *own = NULL;
    if (skep_child_wait(child, &status, &own) != SKEP_OK) skep_error_free(own);
    return &status;
}

static void one_thread_waits_another_kills(void) {
    struct skep_child *child = spawn("echo; sleep 600");
    pthread_t thread;
    void *status;
    char line;
    NEED(pthread_create(&thread, NULL, wait_for, child) == 0);
    CHECK_NUMBER(read(skep_child_stdout_fd(child), &line, 1), 1);
    OK(skep_child_kill(child, &error));
    pthread_join(thread, &status);
    CHECK_NUMBER(((struct skep_exit_status *)status)->signal, SIGKILL);
    skep_child_free(child);
}

int main(void) {
    static const struct test tests[] = {
        TEST(versions),
        TEST(sizes_of_the_binary_interface),
        TEST(an_error_and_its_parts),
        TEST(an_image_and_its_names),
        TEST(all_images_of_an_archive),
        TEST(a_run_and_its_output),
        TEST(ends_in_words),
        TEST(memory_in_bytes),
        TEST(a_child_and_its_pipes),
        TEST(pipes_that_are_taken),
        TEST(a_closed_pipe_raises_no_signal),
        TEST(a_pipe_that_does_not_block),
        TEST(kill_signal_and_stop),
        TEST(a_timeout_and_want_of_memory),
        TEST(streams_that_are_files),
        TEST(the_programs_own_stream),
        TEST(a_collector_and_its_descriptor),
        TEST(a_collector_that_is_killed),
        TEST(roots_without_an_image),
        TEST(any_order_of_freeing),
        TEST(one_thread_waits_another_kills),
        TEST(a_descriptor_while_another_thread_writes),
    };
    return RUN_TESTS(tests);
}
