/*
 * The smallest use: an image, one command, what it says.
 *
 *     cc hello.c $(pkg-config --cflags --libs skep) -o hello
 *
 * Run as root: ./hello app.tar [STORE], where app.tar is what `docker save`, `podman save` or
 * `skopeo copy` write, or the directory of an OCI layout.
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
    const char *store = argc > 2 ? argv[2] : NULL; /* NULL: /var/lib/skep */
    const char *args[] = {"echo", "hello from a container", NULL};
    struct skep_engine *engine;
    struct skep_image *image;
    struct skep_command *command;
    struct skep_output *output;
    struct skep_error *error;

    check(skep_engine_open(store, &engine, &error), error);
    check(skep_engine_load_image(engine, archive, &image, &error), error);
    check(skep_command_new(engine, image, &command, &error), error);
    skep_command_add_args(command, args);
    check(skep_command_run(command, &output, &error), error);

    struct skep_slice said = skep_output_stdout(output);
    fwrite(said.data, 1, said.length, stdout);

    skep_output_free(output);
    skep_command_free(command);
    skep_image_free(image);
    skep_engine_free(engine);
    return 0;
}
