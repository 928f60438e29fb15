/*
 * A program that is a table of tests, all with one engine and one image.
 */
#ifndef TESTS_H
#define TESTS_H

#include "check.h"

struct test {
    const char *name;
    void (*run)(void);
};

#define TEST(function) {#function, function}

static struct skep_engine *engine;
static struct skep_image *image;

/* A command that runs `script` in a container of the image. */
static inline struct skep_command *shell(const char *script) {
    const char *args[] = {"sh", "-c", script, NULL};
    struct skep_command *command;
    OK(skep_command_new(engine, image, &command, &error));
    OK(skep_command_add_args(command, args));
    return command;
}

static inline int run_tests(const struct test *tests, size_t count) {
    engine = open_engine();
    image = import_rootfs(engine, "localhost/skep-c:1");
    for (const struct test *test = tests; test < tests + count; test++) {
        test_failed = 0;
        test->run();
        printf("%s %s\n", test_failed ? "FAILED" : "ok", test->name);
        fflush(stdout);
        *(test_failed ? &failed : &passed) += 1;
        test_failed = 0;
    }
    skep_image_free(image);
    skep_engine_free(engine);
    return closing_line();
}

#define RUN_TESTS(tests) run_tests(tests, sizeof tests / sizeof tests[0])

#endif
