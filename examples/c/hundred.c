/*
 * A hundred sandboxes at once, with a progress bar, by one poll(2) loop and no thread.
 *
 *     cc hundred.c $(pkg-config --cflags --libs skep) -o hundred
 *
 * Run as root: ./hundred app.tar [STORE].
 */
#include <skep.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#define COUNT 100

/* Ends the program with the error's message, if there is one. */
static void check(int code, struct skep_error *error) {
    if (code == SKEP_OK) return;
    fprintf(stderr, "%s\n", skep_error_message(error));
    skep_error_free(error);
    exit(1);
}

static struct skep_collector *start(struct skep_engine *engine, struct skep_image *image, int number) {
    struct skep_command *command;
    struct skep_collector *collector;
    struct skep_error *error;
    char text[16];

    snprintf(text, sizeof text, "%d", number);
    check(skep_command_new(engine, image, &command, &error), error);
    skep_command_add_arg(command, "echo");
    skep_command_add_arg(command, text);
    skep_command_set_pids(command, 8);
    check(skep_command_collect(command, &collector, &error), error);
    skep_command_free(command);
    return collector;
}

/* Does what can be done for one of them; what it said, at its end, or -1. */
static int advance(struct skep_collector *collector) {
    struct skep_output *output;
    struct skep_error *error;

    check(skep_collector_advance(collector, &output, &error), error);
    if (!output) return -1;
    int said = atoi(skep_output_stdout(output).data);
    skep_output_free(output);
    return said;
}

static void show(int done) {
    fprintf(stderr, "\r[%-50.*s] %d/%d", done * 50 / COUNT,
            "##################################################", done, COUNT);
}

int main(int argc, char **argv) {
    const char *archive = argc > 1 ? argv[1] : "app.tar";
    const char *store = argc > 2 ? argv[2] : NULL;
    struct skep_engine *engine;
    struct skep_image *image;
    struct skep_error *error;
    struct skep_collector *sandboxes[COUNT];
    struct pollfd ready[COUNT];
    int done = 0, sum = 0;

    check(skep_engine_open(store, &engine, &error), error);
    check(skep_engine_load_image(engine, archive, &image, &error), error);
    for (int i = 0; i < COUNT; i++) {
        sandboxes[i] = start(engine, image, i);
        ready[i].fd = skep_collector_fd(sandboxes[i]);
        ready[i].events = POLLIN;
    }
    while (done < COUNT) {
        if (poll(ready, COUNT, -1) < 0) continue;
        for (int i = 0; i < COUNT; i++) {
            int said = ready[i].fd >= 0 && ready[i].revents ? advance(sandboxes[i]) : -1;
            if (said < 0) continue;
            sum += said;
            skep_collector_free(sandboxes[i]);
            ready[i].fd = -1; /* poll passes it over */
            show(++done);
        }
    }
    fprintf(stderr, "\n");
    printf("%d sandboxes: sum %d\n", COUNT, sum);

    skep_image_free(image);
    skep_engine_free(engine);
    return 0;
}
