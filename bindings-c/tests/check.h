/*
 * What the test programs share: checks, a directory of their own, and a closing line.
 *
 * A check that fails marks its test and goes on; one that the rest cannot do without ends the
 * program. Everything temporary is below TMPDIR, in directories called skep-c-..., and removed at the
 * end.
 */
#ifndef CHECK_H
#define CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <skep.h>

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int passed, failed;
static __thread int test_failed;

/* Where the macros below get their error from: write `&error`. */
static __thread struct skep_error *error;

static char temporary[256];

static int remove_one(const char *path, const struct stat *stat, int flag, struct FTW *ftw) {
    (void)stat, (void)flag, (void)ftw;
    return remove(path);
}

static inline void remove_temporary(void) {
    if (temporary[0]) nftw(temporary, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    temporary[0] = 0;
}

static inline const char *temporary_directory(void) {
    if (!temporary[0]) {
        const char *base = getenv("TMPDIR");
        snprintf(temporary, sizeof temporary, "%s/skep-c-XXXXXX", base ? base : "/tmp");
        if (!mkdtemp(temporary)) {
            perror(temporary);
            exit(1);
        }
    }
    return temporary;
}

/* The closing line, and the program's exit code. */
static inline int closing_line(void) {
    remove_temporary();
    printf("%d passed, %d failed\n", passed, failed);
    fflush(stdout);
    return failed != 0;
}

static inline _Noreturn void finish(void) {
    failed += test_failed;
    _exit(closing_line());
}

#define FAIL(...)                                            \
    do {                                                     \
        printf("%s:%d: ", __FILE__, __LINE__);               \
        printf(__VA_ARGS__);                                 \
        printf("\n");                                        \
        test_failed = 1;                                     \
    } while (0)

#define CHECK(condition)                                     \
    do {                                                     \
        if (!(condition)) FAIL("not so: %s", #condition);    \
    } while (0)

#define CHECK_TEXT(found, expected)                          \
    do {                                                     \
        const char *f = (found), *e = (expected);            \
        if (!f || strcmp(f, e) != 0) FAIL("it is \"%s\", and not \"%s\"", f ? f : "(NULL)", e); \
    } while (0)

#define CHECK_NUMBER(found, expected)                        \
    do {                                                     \
        long long f = (long long)(found), e = (long long)(expected); \
        if (f != e) FAIL("%s is %lld, and not %lld", #found, f, e);  \
    } while (0)

/* What the test cannot go on without. */
#define NEED(condition)                                      \
    do {                                                     \
        if (!(condition)) {                                  \
            FAIL("not so: %s (%s)", #condition, strerror(errno)); \
            finish();                                        \
        }                                                    \
    } while (0)

/* A call that has to succeed; its last argument is `&error`. */
#define OK(call)                                             \
    do {                                                     \
        if ((call) != SKEP_OK) {                             \
            FAIL("%s: %s", #call, skep_error_message(error)); \
            finish();                                        \
        }                                                    \
    } while (0)

/* A call that has to fail; its last argument is `&error`. */
#define FAILS(call, code, text)                              \
    do {                                                     \
        error = NULL;                                        \
        int returned = (call);                               \
        CHECK_NUMBER(returned, code);                        \
        CHECK_NUMBER(skep_error_code(error), code);          \
        CHECK_TEXT(skep_error_message(error), text);         \
        skep_error_free(error);                              \
        error = NULL;                                        \
    } while (0)

/* An engine on a store of this program's own. */
static inline struct skep_engine *open_engine(void) {
    char path[300];
    struct skep_engine *engine;
    snprintf(path, sizeof path, "%s/store", temporary_directory());
    OK(skep_engine_open(path, &engine, &error));
    return engine;
}

/* The image that tests/behaviours/rootfs.sh makes. */
static inline struct skep_image *import_rootfs(struct skep_engine *engine, const char *name) {
    struct skep_image *image;
    const char *tar = getenv("SKEP_TEST_ROOTFS");
    NEED(tar);
    OK(skep_engine_import_image(engine, tar, name, &image, &error));
    return image;
}

#endif
