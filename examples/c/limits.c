/*
 * Python runs with limits, and its output and what it used are read.
 *
 *     cc limits.c $(pkg-config --cflags --libs skep) -o limits
 *
 * Run as root: ./limits app.tar [STORE].
 */
#include <skep.h>

#include <stdio.h>
#include <stdlib.h>

/* Ends the program with the error's message, if there is one. */
static void check(int code, struct skep_error *error) {
    if (code == SKEP_OK) return;
    fprintf(stderr, "%s\n", skep_error_message(error));
    skep_error_free(error);
    exit(1);
}

int main(int argc, char **argv) {
    const char *archive = argc > 1 ? argv[1] : "app.tar";
    const char *store = argc > 2 ? argv[2] : NULL;
    const char *args[] = {"python3", "-c", "print(6*7)", NULL};
    const uint64_t memory = 256u << 20;
    struct skep_engine *engine;
    struct skep_image *image;
    struct skep_command *command;
    struct skep_output *output;
    struct skep_error *error;
    char how[64];

    check(skep_engine_open(store, &engine, &error), error);
    check(skep_engine_load_image(engine, archive, &image, &error), error);
    check(skep_command_new(engine, image, &command, &error), error);
    skep_command_add_args(command, args);
    skep_command_set_memory(command, memory);
    skep_command_set_cpus(command, 0.5);
    skep_command_set_pids(command, 64);
    skep_command_set_timeout_ms(command, 30000);
    check(skep_command_run(command, &output, &error), error);
    printf("%s", skep_output_stdout(output).data);

    const struct skep_exit_status *status = skep_output_status(output);
    skep_exit_status_text(status, how, sizeof how);
    /* SKEP_NOT_COUNTED is the largest number: not below anything. */
    printf("%s, memory peak %s 256 MiB, %s 10 s of CPU\n", how,
           status->usage.memory_peak < memory ? "below" : "not below",
           status->usage.cpu_total_us < 10000000 ? "under" : "not under");

    skep_output_free(output);
    skep_command_free(command);
    skep_image_free(image);
    skep_engine_free(engine);
    return 0;
}
