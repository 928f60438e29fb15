/*
 * A server in a container, which the program talks to through its standard streams.
 *
 *     cc server.c $(pkg-config --cflags --libs skep) -o server
 *
 * Run as root: ./server app.tar [STORE].
 */
#define _POSIX_C_SOURCE 200809L
#include <skep.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Answers each line with its value. What a sandbox is for: nobody would `eval` that outside. */
static const char *const SERVER[] = {
    "python3", "-c", "import sys\nfor line in sys.stdin: print(eval(line), flush=True)", NULL};

/* Ends the program with the error's message, if there is one. */
static void check(int code, struct skep_error *error) {
    if (code == SKEP_OK) return;
    fprintf(stderr, "%s\n", skep_error_message(error));
    skep_error_free(error);
    exit(1);
}

static struct skep_child *start(const char *store, const char *archive) {
    struct skep_engine *engine;
    struct skep_image *image;
    struct skep_command *command;
    struct skep_child *child;
    struct skep_error *error;

    check(skep_engine_open(store, &engine, &error), error);
    check(skep_engine_load_image(engine, archive, &image, &error), error);
    check(skep_command_new(engine, image, &command, &error), error);
    skep_command_add_args(command, SERVER);
    skep_command_set_stdin(command, SKEP_STDIO_PIPED);
    skep_command_set_stdout(command, SKEP_STDIO_PIPED);
    check(skep_command_spawn(command, &child, &error), error);
    /* The child keeps what it needs of them. */
    skep_command_free(command);
    skep_image_free(image);
    skep_engine_free(engine);
    return child;
}

int main(int argc, char **argv) {
    static const char *const questions[] = {"3 + 4", "10 * 10", "2 ** 64"};
    struct skep_child *server = start(argc > 2 ? argv[2] : NULL, argc > 1 ? argv[1] : "app.tar");
    struct skep_exit_status status;
    struct skep_error *error;
    char text[256];

    /* The pipe is ours now; fclose() closes it. */
    FILE *answers = fdopen(skep_child_take_stdout(server), "r");
    if (!answers) return 1;
    for (size_t i = 0; i < sizeof questions / sizeof questions[0]; i++) {
        snprintf(text, sizeof text, "%s\n", questions[i]);
        /* Not write(2): that would raise SIGPIPE if the server had ended. */
        check(skep_child_write_stdin(server, text, strlen(text), NULL, &error), error);
        if (!fgets(text, sizeof text, answers)) {
            fprintf(stderr, "the server has ended\n");
            return 1;
        }
        printf("%s = %s", questions[i], text);
    }
    /* End of file: the server's loop ends. */
    skep_child_close_stdin(server);
    check(skep_child_wait(server, &status, &error), error);
    skep_exit_status_text(&status, text, sizeof text);
    printf("server ended: %s\n", text);

    fclose(answers);
    skep_child_free(server);
    return 0;
}
