/*
 * The library as a plug-in: loaded, used, unloaded, and loaded again. Not linked with it.
 */
#define _GNU_SOURCE
#include <skep.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;

static void check(int good, const char *what) {
    printf("%s %s\n", good ? "ok" : "FAILED", what);
    if (!good) failures++;
}

/* The function called NAME, as the header declares it. */
#define FUNCTION(library, name) __typeof__(&name) name##_ = (__typeof__(&name))dlsym(library, #name)

static int run_in(void *library, const char *store) {
    FUNCTION(library, skep_abi_version);
    FUNCTION(library, skep_engine_open);
    FUNCTION(library, skep_command_new_host);
    FUNCTION(library, skep_command_add_arg);
    FUNCTION(library, skep_command_run);
    FUNCTION(library, skep_output_stdout);
    FUNCTION(library, skep_output_free);
    FUNCTION(library, skep_command_free);
    FUNCTION(library, skep_engine_free);
    struct skep_engine *engine;
    struct skep_command *command;
    struct skep_output *output;
    if (skep_abi_version_() != SKEP_ABI_VERSION) return 0;
    if (skep_engine_open_(store, &engine, NULL) != SKEP_OK) return 0;
    if (skep_command_new_host_(engine, &command, NULL) != SKEP_OK) return 0;
    skep_command_add_arg_(command, "echo");
    skep_command_add_arg_(command, "loaded");
    if (skep_command_run_(command, &output, NULL) != SKEP_OK) return 0;
    int good = strcmp(skep_output_stdout_(output).data, "loaded\n") == 0;
    skep_output_free_(output);
    skep_command_free_(command);
    skep_engine_free_(engine);
    return good;
}

int main(void) {
    char store[300];
    const char *base = getenv("TMPDIR");
    snprintf(store, sizeof store, "%s/skep-c-loading", base ? base : "/tmp");
    for (int i = 0; i < 3; i++) {
        void *library = dlopen("libskep.so.0", RTLD_NOW | RTLD_LOCAL);
        check(library != NULL, "load");
        if (!library) break;
        check(run_in(library, store), "use");
        check(dlclose(library) == 0, "unload");
    }
    printf("%d passed, %d failed\n", 9 - failures, failures);
    return failures != 0;
}
