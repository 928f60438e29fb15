/* Runs `true` once for each line read; see benches/src/languages.rs. */

#include <skep.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

static void check(int code, struct skep_error *error) {
    if (code == SKEP_OK) return;
    fprintf(stderr, "%s\n", skep_error_message(error));
    exit(1);
}

static double wall_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

static double cpu_us(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 + usage.ru_utime.tv_usec +
           usage.ru_stime.tv_usec;
}

/* Finds the image by its name, runs `true` with limits, collects its output. */
static void run(struct skep_engine *engine, const char *name) {
    struct skep_image *image;
    struct skep_command *command;
    struct skep_output *output;
    struct skep_error *error;

    check(skep_engine_find_image(engine, name, &image, &error), error);
    check(skep_command_new(engine, image, &command, &error), error);
    skep_command_add_arg(command, "/bin/true");
    skep_command_set_memory(command, 256u << 20);
    skep_command_set_cpus(command, 0.5);
    skep_command_set_pids(command, 64);
    check(skep_command_run(command, &output, &error), error);
    skep_output_free(output);
    skep_command_free(command);
    skep_image_free(image);
}

int main(int argc, char **argv) {
    struct skep_engine *engine;
    struct skep_image *image;
    struct skep_error *error;
    char line[256];

    if (argc != 4) return 2;
    check(skep_engine_open(argv[1], &engine, &error), error);
    check(skep_engine_import_image(engine, argv[2], argv[3], &image, &error), error);
    skep_image_free(image);
    while (fgets(line, sizeof line, stdin) != NULL) {
        double used = cpu_us(), start = wall_us();
        run(engine, argv[3]);
        double wall = wall_us() - start;
        printf("%.1f %.1f\n", wall, cpu_us() - used);
        fflush(stdout);
    }
    skep_engine_free(engine);
    return 0;
}
