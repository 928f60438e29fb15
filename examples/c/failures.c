/*
 * What it looks like when a container fails: memory, time, an exit code, no such command.
 *
 *     cc failures.c $(pkg-config --cflags --libs skep) -o failures
 *
 * Run as root: ./failures app.tar [STORE].
 */
#include <skep.h>

#include <stdio.h>
#include <stdlib.h>

static struct skep_engine *engine;
static struct skep_image *image;

/* Ends the program with the error's message, if there is one. */
static void check(int code, struct skep_error *error) {
    if (code == SKEP_OK) return;
    fprintf(stderr, "%s\n", skep_error_message(error));
    skep_error_free(error);
    exit(1);
}

static struct skep_command *python(const char *program) {
    const char *args[] = {"python3", "-c", program, NULL};
    struct skep_command *command;
    struct skep_error *error;

    check(skep_command_new(engine, image, &command, &error), error);
    skep_command_add_args(command, args);
    return command;
}

/* How a container has ended is a result, not an error. */
static void show(const char *name, struct skep_command *command, int expected) {
    struct skep_output *output;
    struct skep_error *error;
    char how[64];

    check(skep_command_run(command, &output, &error), error);
    const struct skep_exit_status *status = skep_output_status(output);
    if (status->reason != expected) exit(1);
    skep_exit_status_text(status, how, sizeof how);
    printf("%s: %s\n", name, how);
    skep_output_free(output);
    skep_command_free(command);
}

int main(int argc, char **argv) {
    struct skep_command *command;
    struct skep_output *output;
    struct skep_error *error;

    check(skep_engine_open(argc > 2 ? argv[2] : NULL, &engine, &error), error);
    check(skep_engine_load_image(engine, argc > 1 ? argv[1] : "app.tar", &image, &error), error);

    command = python("bytearray(1 << 30)");
    skep_command_set_memory(command, 64u << 20);
    show("memory", command, SKEP_REASON_OOM_KILLED);

    command = python("while True: pass");
    skep_command_set_timeout_ms(command, 200);
    show("timeout", command, SKEP_REASON_TIMED_OUT);

    show("exit", python("raise SystemExit(3)"), SKEP_REASON_EXITED);

    /* That it could not be started is one. */
    check(skep_command_new(engine, image, &command, &error), error);
    skep_command_add_arg(command, "no-such-command");
    if (skep_command_run(command, &output, &error) != SKEP_NOT_FOUND) return 1;
    printf("missing: %s\n", skep_error_message(error));
    skep_error_free(error);

    skep_command_free(command);
    skep_image_free(image);
    skep_engine_free(engine);
    return 0;
}
