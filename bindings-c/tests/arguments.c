/* Wrong arguments of every function: an error with its words, and never a crash. */
#include "tests.h"

#include <sys/resource.h>

#define REFUSED(function, cause, ...) \
    FAILS(function(__VA_ARGS__, &error), SKEP_INVALID_INPUT, "cannot call " #function ": " cause)

#define IS_NULL(function, argument, ...) \
    REFUSED(function, "its argument " #argument " is NULL", __VA_ARGS__)

#define NOT_UTF8(function, argument, ...) \
    REFUSED(function, "its argument " #argument " is not UTF-8", __VA_ARGS__)

/* An option's error comes back from every start. */
#define OPTION(text, function, ...)                                               \
    do {                                                                          \
        struct skep_command *command = host_command();                            \
        struct skep_output *output;                                               \
        struct skep_child *child;                                                 \
        struct skep_collector *collector;                                         \
        CHECK_NUMBER(function(command, __VA_ARGS__), SKEP_INVALID_INPUT);         \
        skep_command_set_hostname(command, NULL);                                 \
        FAILS(skep_command_run(command, &output, &error), SKEP_INVALID_INPUT, text);        \
        FAILS(skep_command_spawn(command, &child, &error), SKEP_INVALID_INPUT, text);       \
        FAILS(skep_command_collect(command, &collector, &error), SKEP_INVALID_INPUT, text); \
        skep_command_free(command);                                               \
        CHECK_NUMBER(function(NULL, __VA_ARGS__), SKEP_INVALID_INPUT);            \
    } while (0)

#define OPTION_CALL(function, cause, ...) \
    OPTION("cannot call " #function ": " cause, function, __VA_ARGS__)

#define OPTION_NULL(function, argument, ...) \
    OPTION_CALL(function, "its argument " #argument " is NULL", __VA_ARGS__)

/* A value that core refuses, at the start. */
#define VALUE(text, function, ...)                                        \
    do {                                                                  \
        struct skep_command *command = host_command();                    \
        struct skep_output *output;                                       \
        CHECK_NUMBER(function(command, __VA_ARGS__), SKEP_OK);            \
        FAILS(skep_command_run(command, &output, &error), SKEP_INVALID_INPUT, text); \
        skep_command_free(command);                                       \
        CHECK_NUMBER(function(NULL, __VA_ARGS__), SKEP_INVALID_INPUT);    \
    } while (0)

static const char bad[] = "\xff";

static struct skep_command *host_command(void) {
    struct skep_command *command;
    OK(skep_command_new_host(engine, &command, &error));
    skep_command_add_arg(command, "true");
    return command;
}

static void of_the_engine(void) {
    struct skep_engine *other;
    IS_NULL(skep_engine_open, engine, "/tmp", NULL);
    CHECK_NUMBER(skep_engine_open("/proc/none", &other, NULL), SKEP_NOT_FOUND);
    skep_engine_free(NULL);
}

static void of_images(void) {
    struct skep_image *found;
    struct skep_image_list *list;
    IS_NULL(skep_engine_load_image, engine, NULL, "x", &found);
    IS_NULL(skep_engine_load_image, path, engine, NULL, &found);
    IS_NULL(skep_engine_load_image, image, engine, "x", NULL);
    IS_NULL(skep_engine_load_images, engine, NULL, "x", &list);
    IS_NULL(skep_engine_load_images, path, engine, NULL, &list);
    IS_NULL(skep_engine_load_images, list, engine, "x", NULL);
    IS_NULL(skep_engine_import_image, engine, NULL, "x", NULL, &found);
    IS_NULL(skep_engine_import_image, tar, engine, NULL, NULL, &found);
    IS_NULL(skep_engine_import_image, image, engine, "x", NULL, NULL);
    NOT_UTF8(skep_engine_import_image, reference, engine, "x", bad, &found);
    IS_NULL(skep_engine_find_image, engine, NULL, "x", &found);
    IS_NULL(skep_engine_find_image, name, engine, NULL, &found);
    IS_NULL(skep_engine_find_image, image, engine, "x", NULL);
    NOT_UTF8(skep_engine_find_image, name, engine, bad, &found);
    IS_NULL(skep_engine_list_images, engine, NULL, &list);
    IS_NULL(skep_engine_list_images, list, engine, NULL);
    IS_NULL(skep_engine_tag_image, engine, NULL, "x", "y");
    IS_NULL(skep_engine_tag_image, name, engine, NULL, "y");
    IS_NULL(skep_engine_tag_image, reference, engine, "x", NULL);
    NOT_UTF8(skep_engine_tag_image, name, engine, bad, "y");
    NOT_UTF8(skep_engine_tag_image, reference, engine, "x", bad);
    IS_NULL(skep_engine_remove_image, engine, NULL, "x");
    IS_NULL(skep_engine_remove_image, name, engine, NULL);
    NOT_UTF8(skep_engine_remove_image, name, engine, bad);
    /* A path may be any bytes. */
    CHECK_NUMBER(skep_engine_load_image(engine, bad, &found, NULL), SKEP_NOT_FOUND);
}

static void of_what_returns_a_value(void) {
    CHECK(skep_image_id(NULL) == NULL);
    CHECK(skep_image_digest(NULL) == NULL);
    CHECK(skep_image_reference(NULL, 0) == NULL);
    CHECK(skep_image_created(NULL) == NULL);
    CHECK_NUMBER(skep_image_size(NULL), 0);
    CHECK(skep_image_inspect(NULL) == NULL);
    skep_image_free(NULL);
    CHECK_NUMBER(skep_image_list_length(NULL), 0);
    CHECK(skep_image_list_at(NULL, 0) == NULL);
    skep_image_list_free(NULL);
    CHECK_NUMBER(skep_error_code(NULL), SKEP_OK);
    CHECK_TEXT(skep_error_name(NULL), "");
    CHECK_TEXT(skep_error_message(NULL), "");
    CHECK_TEXT(skep_error_operation(NULL), "");
    CHECK_TEXT(skep_error_subject(NULL), "");
    CHECK_NUMBER(skep_error_errno(NULL), 0);
    skep_error_free(NULL);
    CHECK(skep_output_status(NULL) == NULL);
    CHECK_NUMBER(skep_output_stdout(NULL).length, 0);
    CHECK_TEXT(skep_output_stdout(NULL).data, "");
    CHECK_TEXT(skep_output_stderr(NULL).data, "");
    skep_output_free(NULL);
    CHECK(!skep_exit_status_success(NULL));
    char text[4] = "old";
    CHECK_NUMBER(skep_exit_status_text(NULL, text, sizeof text), 0);
    CHECK_TEXT(text, "");
}

static void of_what_images_return(void) {
    CHECK_NUMBER(skep_image_history_length(NULL), 0);
    CHECK(skep_image_history_at(NULL, 0) == NULL);
    CHECK(skep_step_created(NULL) == NULL);
    CHECK(skep_step_created_by(NULL) == NULL);
    CHECK(skep_step_author(NULL) == NULL);
    CHECK(skep_step_comment(NULL) == NULL);
    CHECK(skep_step_layer(NULL) == NULL);
    CHECK_NUMBER(skep_step_layer_size(NULL), 0);
    CHECK_NUMBER(skep_change_list_length(NULL), 0);
    CHECK(skep_change_list_at(NULL, 0) == NULL);
    CHECK(skep_change_path(NULL) == NULL);
    CHECK_NUMBER(skep_change_what(NULL), 0);
    skep_change_list_free(NULL);
    CHECK_NUMBER(skep_pruned_length(NULL), 0);
    CHECK(skep_pruned_image(NULL, 0) == NULL);
    CHECK_NUMBER(skep_pruned_blobs(NULL) + skep_pruned_layers(NULL) + skep_pruned_bytes(NULL), 0);
    skep_pruned_free(NULL);
    CHECK_NUMBER(skep_disk_usage_blobs(NULL) + skep_disk_usage_layers(NULL), 0);
    CHECK_NUMBER(skep_disk_usage_unneeded(NULL), 0);
    CHECK_NUMBER(skep_disk_usage_length(NULL), 0);
    CHECK(skep_disk_usage_at(NULL, 0) == NULL);
    skep_disk_usage_free(NULL);
    CHECK(skep_image_usage_id(NULL) == NULL);
    CHECK(skep_image_usage_reference(NULL, 0) == NULL);
    CHECK_NUMBER(skep_image_usage_blobs(NULL) + skep_image_usage_layers(NULL), 0);
    CHECK_NUMBER(skep_image_usage_shared(NULL), 0);
    CHECK(!skep_image_usage_in_use(NULL));
    CHECK_NUMBER(skep_text_list_length(NULL), 0);
    CHECK(skep_text_list_at(NULL, 0) == NULL);
    skep_text_list_free(NULL);
    CHECK(skep_descriptor_digest(NULL) == NULL);
    CHECK(skep_descriptor_media_type(NULL) == NULL);
    CHECK_NUMBER(skep_descriptor_size(NULL), 0);
    CHECK(skep_descriptor_inspect(NULL) == NULL);
    skep_descriptor_free(NULL);
    CHECK_NUMBER(skep_descriptor_list_length(NULL), 0);
    CHECK(skep_descriptor_list_at(NULL, 0) == NULL);
    skep_descriptor_list_free(NULL);
    skep_lease_free(NULL);
}

static void of_what_is_done_with_images(void) {
    const char *names[] = {"localhost/skep-c:1", NULL}, *with_bad[] = {bad, NULL}, *none[] = {NULL};
    struct skep_text_list *paths;
    struct skep_lease *lease;
    struct skep_change_list *changes;
    struct skep_pruned *pruned;
    struct skep_disk_usage *usage;
    IS_NULL(skep_engine_save_images, engine, NULL, names, "x", 0);
    IS_NULL(skep_engine_save_images, names, engine, NULL, "x", 0);
    IS_NULL(skep_engine_save_images, path, engine, names, NULL, 0);
    NOT_UTF8(skep_engine_save_images, names, engine, with_bad, "x", 0);
    REFUSED(skep_engine_save_images, "its argument format is 2, no skep_archive_format", engine, names,
            "x", 2);
    FAILS(skep_engine_save_images(engine, none, "x", 0, &error), SKEP_INVALID_INPUT,
          "cannot save no images; name at least one");
    IS_NULL(skep_engine_prune_images, engine, NULL, 0, &pruned);
    IS_NULL(skep_engine_prune_images, pruned, engine, 0, NULL);
    REFUSED(skep_engine_prune_images, "its argument what is -1, no skep_prune", engine, -1, &pruned);
    IS_NULL(skep_engine_disk_usage, engine, NULL, &usage);
    IS_NULL(skep_engine_disk_usage, usage, engine, NULL);
    IS_NULL(skep_image_layers, image, NULL, &paths);
    IS_NULL(skep_image_layers, paths, image, NULL);
    IS_NULL(skep_image_lease, image, NULL, &lease);
    IS_NULL(skep_image_lease, lease, image, NULL);
    IS_NULL(skep_image_export, image, NULL, "x");
    IS_NULL(skep_image_export, path, image, NULL);
    IS_NULL(skep_image_diff, image, NULL, image, &changes);
    IS_NULL(skep_image_diff, base, image, NULL, &changes);
    IS_NULL(skep_image_diff, changes, image, image, NULL);
    FAILS(skep_image_export(image, "/proc/none/x", &error), SKEP_NOT_FOUND,
          "cannot export to /proc/none/x: No such file or directory (os error 2)");
}

static void of_cancels(void) {
    struct skep_cancel *cancel;
    struct skep_engine *of_engine;
    struct skep_image *of_image;
    struct skep_registries *registries, *of_registries;
    FAILS(skep_cancel_new(NULL, &error), SKEP_INVALID_INPUT,
          "cannot call skep_cancel_new: its argument cancel is NULL");
    OK(skep_cancel_new(&cancel, &error));
    OK(skep_registries_new(&registries, &error));
    IS_NULL(skep_engine_cancellable, engine, NULL, cancel, &of_engine);
    IS_NULL(skep_engine_cancellable, cancel, engine, NULL, &of_engine);
    IS_NULL(skep_engine_cancellable, cancellable, engine, cancel, NULL);
    IS_NULL(skep_image_cancellable, image, NULL, cancel, &of_image);
    IS_NULL(skep_image_cancellable, cancel, image, NULL, &of_image);
    IS_NULL(skep_image_cancellable, cancellable, image, cancel, NULL);
    IS_NULL(skep_registries_cancellable, registries, NULL, cancel, &of_registries);
    IS_NULL(skep_registries_cancellable, cancel, registries, NULL, &of_registries);
    IS_NULL(skep_registries_cancellable, cancellable, registries, cancel, NULL);
    skep_cancel_cancel(NULL);
    CHECK(!skep_cancel_is_cancelled(NULL));
    skep_cancel_free(NULL);
    skep_cancel_free(cancel);
    skep_registries_free(registries);
}

/* A setter that refuses what it is given; the first error comes back from every use. */
#define SETTER(object, text, function, ...)                                        \
    do {                                                                           \
        struct skep_##object *made;                                                \
        OK(skep_##object##_new(&made, &error));                                    \
        CHECK_NUMBER(function(made, __VA_ARGS__), SKEP_INVALID_INPUT);             \
        use_##object(made, text);                                                  \
        skep_##object##_free(made);                                                \
        CHECK_NUMBER(function(NULL, __VA_ARGS__), SKEP_INVALID_INPUT);             \
    } while (0)

#define SETTER_CALL(object, function, cause, ...) \
    SETTER(object, "cannot call " #function ": " cause, function, __VA_ARGS__)

#define SETTER_NULL(object, function, argument, ...) \
    SETTER_CALL(object, function, "its argument " #argument " is NULL", __VA_ARGS__)

#define SETTER_NOT_UTF8(object, function, argument, ...) \
    SETTER_CALL(object, function, "its argument " #argument " is not UTF-8", __VA_ARGS__)

static void use_registries(struct skep_registries *registries, const char *text) {
    struct skep_descriptor *descriptor;
    struct skep_text_list *tags;
    struct skep_pull_options *pull;
    struct skep_image *none;
    CHECK_NUMBER(skep_registries_set_timeout_ms(registries, -7), SKEP_INVALID_INPUT);
    FAILS(skep_registries_ping(registries, "localhost:1", &error), SKEP_INVALID_INPUT, text);
    FAILS(skep_registries_resolve(registries, "localhost:1/x", &descriptor, &error),
          SKEP_INVALID_INPUT, text);
    FAILS(skep_registries_tags(registries, "localhost:1/x", &tags, &error), SKEP_INVALID_INPUT, text);
    /* It goes on to options that it is given to. */
    OK(skep_pull_options_new(&pull, &error));
    CHECK_NUMBER(skep_pull_options_set_registries(pull, registries), SKEP_INVALID_INPUT);
    FAILS(skep_engine_pull_image(engine, "localhost:1/x", pull, &none, &error), SKEP_INVALID_INPUT, text);
    skep_pull_options_free(pull);
}

static void use_policy(struct skep_policy *policy, const char *text) {
    struct skep_pull_options *pull;
    struct skep_image *none;
    CHECK_NUMBER(skep_policy_accept(policy, NULL), SKEP_OK);
    OK(skep_pull_options_new(&pull, &error));
    CHECK_NUMBER(skep_pull_options_set_policy(pull, policy), SKEP_INVALID_INPUT);
    FAILS(skep_engine_pull_image(engine, "localhost:1/x", pull, &none, &error), SKEP_INVALID_INPUT, text);
    skep_pull_options_free(pull);
}

static void use_pull_options(struct skep_pull_options *options, const char *text) {
    struct skep_image *none;
    FAILS(skep_engine_pull_image(engine, "localhost:1/x", options, &none, &error), SKEP_INVALID_INPUT,
          text);
}

static void use_push_options(struct skep_push_options *options, const char *text) {
    FAILS(skep_engine_push_image(engine, image, "localhost:1/x", options, &error), SKEP_INVALID_INPUT,
          text);
}

static void use_commit(struct skep_commit *commit, const char *text) {
    struct skep_image *none;
    FAILS(skep_image_squash(image, commit, &none, &error), SKEP_INVALID_INPUT, text);
}

static void of_policies(void) {
    const char *none[] = {NULL}, *garbage[] = {"garbage", NULL}, *not_text[] = {bad, NULL};
    FAILS(skep_policy_new(NULL, &error), SKEP_INVALID_INPUT,
          "cannot call skep_policy_new: its argument policy is NULL");
    SETTER_NOT_UTF8(policy, skep_policy_accept, prefix, bad);
    SETTER_NOT_UTF8(policy, skep_policy_reject, prefix, bad);
    SETTER(policy, "cannot set the policy for \"debian\": it is no part of a complete name; "
           "write HOST[:PORT][/PATH], for instance docker.io/library", skep_policy_reject, "debian");
    SETTER_NULL(policy, skep_policy_require, keys, NULL, NULL, 1, SKEP_IDENTITY_EXACT, NULL);
    SETTER_NOT_UTF8(policy, skep_policy_require, keys, NULL, not_text, 1, SKEP_IDENTITY_EXACT, NULL);
    SETTER(policy, "cannot use public key given in PEM: it holds none; give one \"PUBLIC KEY\": "
           "ECDSA P-256 or P-384, Ed25519, RSA from 2048 bits",
           skep_policy_require, NULL, garbage, 1, SKEP_IDENTITY_EXACT, NULL);
    SETTER(policy, "cannot require signatures by 1 of 0 keys: it must be at least 1, and not more "
           "than there are keys", skep_policy_require, NULL, none, 1, SKEP_IDENTITY_EXACT, NULL);
    SETTER_CALL(policy, skep_policy_require, "its argument identity is 4, no skep_identity", NULL, none,
                1, 4, NULL);
    SETTER_NULL(policy, skep_policy_require, name, NULL, none, 1, SKEP_IDENTITY_NAMED, NULL);
    SETTER_CALL(policy, skep_policy_require, "its argument name is for SKEP_IDENTITY_NAMED only", NULL,
                none, 1, SKEP_IDENTITY_EXACT, "x");
    SETTER_NULL(pull_options, skep_pull_options_set_policy, policy, NULL);
    skep_policy_free(NULL);
}

static void of_bounds(void) {
    struct skep_engine *bounded;
    IS_NULL(skep_engine_max_size, engine, NULL, 1, &bounded);
    IS_NULL(skep_engine_max_size, bounded, engine, 1, NULL);
}

static void of_registries(void) {
    const char *with_null[] = {NULL};
    struct skep_registries *registries;
    struct skep_descriptor *descriptor;
    struct skep_descriptor_list *referrers;
    struct skep_text_list *tags;
    FAILS(skep_registries_new(NULL, &error), SKEP_INVALID_INPUT,
          "cannot call skep_registries_new: its argument registries is NULL");
    SETTER_NULL(registries, skep_registries_allow_plain_http, registry, NULL);
    SETTER_NOT_UTF8(registries, skep_registries_allow_plain_http, registry, bad);
    SETTER_NULL(registries, skep_registries_add_mirror, registry, NULL, "x");
    SETTER_NULL(registries, skep_registries_add_mirror, mirror, "x", NULL);
    SETTER_NULL(registries, skep_registries_set_password, registry, NULL, "x", "x");
    SETTER_NULL(registries, skep_registries_set_password, user, "x", NULL, "x");
    SETTER_NULL(registries, skep_registries_set_password, password, "x", "x", NULL);
    SETTER_NULL(registries, skep_registries_set_identity_token, token, "x", NULL);
    SETTER_NULL(registries, skep_registries_set_registry_token, token, "x", NULL);
    SETTER_NULL(registries, skep_registries_set_certificate_authority, bytes, "x", NULL, 1);
    SETTER_CALL(registries, skep_registries_set_certificate_authority,
                "its argument length is above SSIZE_MAX", "x", bad, SIZE_MAX);
    SETTER(registries, "cannot use certificate authority given in PEM: it holds none",
           skep_registries_set_certificate_authority, "x", "garbage", 7);
    SETTER_NULL(registries, skep_registries_set_client_certificate, bytes, "x", NULL, 1, "x", 1);
    SETTER(registries, "cannot use client certificate given in PEM: it holds none",
           skep_registries_set_client_certificate, "x", NULL, 0, NULL, 0);
    SETTER_CALL(registries, skep_registries_set_attempts, "its argument first_pause_ms is negative", 1, -1);
    SETTER_CALL(registries, skep_registries_set_timeout_ms, "its argument timeout_ms is negative", -1);
    SETTER_NULL(registries, skep_registries_set_credential_files, paths, NULL);
    OK(skep_registries_new(&registries, &error));
    OK(skep_registries_set_credential_files(registries, with_null));
    IS_NULL(skep_registries_ping, registries, NULL, "x");
    IS_NULL(skep_registries_ping, registry, registries, NULL);
    IS_NULL(skep_registries_resolve, registries, NULL, "x", &descriptor);
    IS_NULL(skep_registries_resolve, reference, registries, NULL, &descriptor);
    IS_NULL(skep_registries_resolve, descriptor, registries, "x", NULL);
    IS_NULL(skep_registries_tags, registries, NULL, "x", &tags);
    IS_NULL(skep_registries_tags, repository, registries, NULL, &tags);
    IS_NULL(skep_registries_tags, tags, registries, "x", NULL);
    IS_NULL(skep_registries_referrers, registries, NULL, "x", NULL, &referrers);
    IS_NULL(skep_registries_referrers, reference, registries, NULL, NULL, &referrers);
    IS_NULL(skep_registries_referrers, referrers, registries, "x", NULL, NULL);
    NOT_UTF8(skep_registries_referrers, artifact_type, registries, "x", bad, &referrers);
    OK(skep_registries_allow_plain_http(registries, "http://localhost:1"));
    FAILS(skep_registries_ping(registries, "localhost:1", &error), SKEP_INVALID_INPUT,
          "cannot ping localhost:1: \"http://localhost:1\" is no registry's name; "
          "write HOST or HOST:PORT, without http://");
    skep_registries_free(registries);
    skep_registries_free(NULL);
}

static void of_pulls_and_pushes(void) {
    struct skep_image *pulled;
    FAILS(skep_pull_options_new(NULL, &error), SKEP_INVALID_INPUT,
          "cannot call skep_pull_options_new: its argument options is NULL");
    FAILS(skep_push_options_new(NULL, &error), SKEP_INVALID_INPUT,
          "cannot call skep_push_options_new: its argument options is NULL");
    SETTER_NULL(pull_options, skep_pull_options_set_registries, registries, NULL);
    SETTER_NULL(pull_options, skep_pull_options_set_platform, platform, NULL);
    SETTER_NOT_UTF8(pull_options, skep_pull_options_set_platform, platform, bad);
    SETTER_NULL(pull_options, skep_pull_options_set_progress, report, NULL, NULL);
    SETTER_NULL(push_options, skep_push_options_set_registries, registries, NULL);
    SETTER_NULL(push_options, skep_push_options_add_mount_from, repository, NULL);
    SETTER_NULL(push_options, skep_push_options_set_progress, report, NULL, NULL);
    CHECK_NUMBER(skep_pull_options_set_parallel(NULL, 1), SKEP_INVALID_INPUT);
    CHECK_NUMBER(skep_pull_options_set_unpack(NULL, true), SKEP_INVALID_INPUT);
    CHECK_NUMBER(skep_push_options_set_parallel(NULL, 1), SKEP_INVALID_INPUT);
    CHECK_NUMBER(skep_push_options_set_chunk(NULL, 1), SKEP_INVALID_INPUT);
    skep_pull_options_free(NULL);
    skep_push_options_free(NULL);
    IS_NULL(skep_engine_pull_image, engine, NULL, "x", NULL, &pulled);
    IS_NULL(skep_engine_pull_image, reference, engine, NULL, NULL, &pulled);
    IS_NULL(skep_engine_pull_image, image, engine, "x", NULL, NULL);
    NOT_UTF8(skep_engine_pull_image, reference, engine, bad, NULL, &pulled);
    IS_NULL(skep_engine_push_image, engine, NULL, image, "x", NULL);
    IS_NULL(skep_engine_push_image, image, engine, NULL, "x", NULL);
    IS_NULL(skep_engine_push_image, reference, engine, image, NULL, NULL);
    NOT_UTF8(skep_engine_push_image, reference, engine, image, bad, NULL);
}

static void of_commits(void) {
    struct skep_image *made;
    FAILS(skep_commit_new(NULL, &error), SKEP_INVALID_INPUT,
          "cannot call skep_commit_new: its argument commit is NULL");
    SETTER_NULL(commit, skep_commit_set_reference, reference, NULL);
    SETTER_NULL(commit, skep_commit_set_author, author, NULL);
    SETTER_NULL(commit, skep_commit_set_comment, comment, NULL);
    SETTER_NULL(commit, skep_commit_set_created_by, command, NULL);
    SETTER_NOT_UTF8(commit, skep_commit_set_reference, reference, bad);
    SETTER_NULL(commit, skep_commit_set_config, json, NULL);
    SETTER_CALL(commit, skep_commit_set_config,
                "its argument json is no configuration: EOF while parsing a value at line 1 column 0", "");
    CHECK_NUMBER(skep_commit_set_time_s(NULL, 0), SKEP_INVALID_INPUT);
    CHECK_NUMBER(skep_commit_set_max_size(NULL, 0), SKEP_INVALID_INPUT);
    skep_commit_free(NULL);
    IS_NULL(skep_image_squash, image, NULL, NULL, &made);
    IS_NULL(skep_image_squash, made, image, NULL, NULL);
    IS_NULL(skep_image_commit, image, NULL, "/", NULL, &made);
    IS_NULL(skep_image_commit, upper, image, NULL, NULL, &made);
    IS_NULL(skep_image_commit, made, image, "/", NULL, NULL);
}

static void of_commands(void) {
    struct skep_command *command;
    struct skep_output *output;
    struct skep_child *child;
    struct skep_collector *collector;
    IS_NULL(skep_command_new, engine, NULL, image, &command);
    IS_NULL(skep_command_new, image, engine, NULL, &command);
    IS_NULL(skep_command_new, command, engine, image, NULL);
    IS_NULL(skep_command_new_directory, engine, NULL, "/", &command);
    IS_NULL(skep_command_new_directory, path, engine, NULL, &command);
    IS_NULL(skep_command_new_directory, command, engine, "/", NULL);
    IS_NULL(skep_command_new_host, engine, NULL, &command);
    IS_NULL(skep_command_new_host, command, engine, NULL);
    command = host_command();
    IS_NULL(skep_command_run, command, NULL, &output);
    IS_NULL(skep_command_run, output, command, NULL);
    IS_NULL(skep_command_spawn, command, NULL, &child);
    IS_NULL(skep_command_spawn, child, command, NULL);
    IS_NULL(skep_command_collect, command, NULL, &collector);
    IS_NULL(skep_command_collect, collector, command, NULL);
    skep_command_free(command);
    skep_command_free(NULL);
}

static void of_options_that_are_text(void) {
    const char *with_bad[] = {"good", bad, NULL};
    OPTION_NULL(skep_command_add_arg, arg, NULL);
    OPTION_CALL(skep_command_add_arg, "its argument arg is not UTF-8", bad);
    OPTION_NULL(skep_command_add_args, args, NULL);
    OPTION_CALL(skep_command_add_args, "its argument args is not UTF-8", with_bad);
    OPTION_NULL(skep_command_set_entrypoint, args, NULL);
    OPTION_CALL(skep_command_set_entrypoint, "its argument args is not UTF-8", with_bad);
    OPTION_NULL(skep_command_set_env, name, NULL, "value");
    OPTION_NULL(skep_command_set_env, value, "name", NULL);
    OPTION_CALL(skep_command_set_env, "its argument name is not UTF-8", bad, "value");
    OPTION_CALL(skep_command_set_env, "its argument value is not UTF-8", "name", bad);
    OPTION_NULL(skep_command_set_working_dir, path, NULL);
    OPTION_CALL(skep_command_set_working_dir, "its argument path is not UTF-8", bad);
    OPTION_NULL(skep_command_set_user, user, NULL);
    OPTION_CALL(skep_command_set_user, "its argument user is not UTF-8", bad);
    OPTION_NULL(skep_command_set_hostname, name, NULL);
    OPTION_CALL(skep_command_set_hostname, "its argument name is not UTF-8", bad);
    OPTION_NULL(skep_command_add_bind, source, NULL, "/data", false);
    OPTION_NULL(skep_command_add_bind, destination, "/data", NULL, false);
    OPTION_NULL(skep_command_add_tmpfs, destination, NULL, 0, false);
    OPTION_NULL(skep_command_set_rlimit, resource, NULL, 1, 1);
    OPTION("cannot limit resource \"files\": there is no limit of that name; "
           "give one of getrlimit(2), such as nofile or core",
           skep_command_set_rlimit, "files", 1, 1);
}

static void of_options_that_are_numbers(void) {
    VALUE("cannot limit memory to 1m: the minimum is 4m; ask for more, or for no limit",
          skep_command_set_memory, 1 << 20);
    OPTION("cannot read the size \"-2\": it is not a number of bytes below 2^63; "
           "write for example 512k, 256m or 1.5g",
           skep_command_set_memory_swap, -2);
    VALUE("cannot limit swap: memory is not limited; limit memory too",
          skep_command_set_memory_swap, 32 << 20);
    VALUE("cannot limit cpus to -1: it must be a number from 0.01 to 8192", skep_command_set_cpus,
          -1.0);
    VALUE("cannot limit processes to 0: the command is one itself; give at least 1, or no limit",
          skep_command_set_pids, 0);
    OPTION("cannot limit processes to -1: the command is one itself; give at least 1, or no limit",
           skep_command_set_pids, -1);
    OPTION_CALL(skep_command_set_timeout_ms, "its argument timeout_ms is negative", -1);
    OPTION_NULL(skep_command_set_input, bytes, NULL, 1);
    OPTION_CALL(skep_command_set_input, "its argument length is above SSIZE_MAX", bad, SIZE_MAX);
    OPTION_CALL(skep_command_set_stdin, "its argument stdio is 3, no skep_stdio", 3);
    OPTION_CALL(skep_command_set_stdout, "its argument stdio is -1, no skep_stdio", -1);
    OPTION_CALL(skep_command_set_stderr, "its argument stdio is 99, no skep_stdio", 99);
    OPTION_CALL(skep_command_set_stdin_fd, "its argument fd is negative", -1);
    OPTION_CALL(skep_command_set_stdout_fd, "its argument fd is negative", -2);
    OPTION_CALL(skep_command_set_stderr_fd,
                "its argument fd cannot be duplicated: Bad file descriptor (os error 9)", 1000000);
    CHECK_NUMBER(skep_command_set_read_only(NULL, true), SKEP_INVALID_INPUT);
    CHECK_NUMBER(skep_command_set_keep_files(NULL, true), SKEP_INVALID_INPUT);
    CHECK_NUMBER(skep_command_set_allow_new_privileges(NULL, true), SKEP_INVALID_INPUT);
}

/* The largest numbers are no limit at all. */
static void of_options_at_their_ends(void) {
    struct skep_command *command = host_command();
    struct skep_output *output;
    OK(skep_command_set_pids(command, INT64_MAX));
    OK(skep_command_set_timeout_ms(command, INT64_MAX));
    OK(skep_command_set_memory_swap(command, 0));
    OK(skep_command_set_input(command, NULL, 0));
    OK(skep_command_run(command, &output, &error));
    CHECK(skep_exit_status_success(skep_output_status(output)));
    skep_output_free(output);
    skep_command_free(command);
}

/* It is the host that lacks something, and not the argument that is wrong. */
static void of_a_descriptor_too_many(void) {
    struct skep_command *command = host_command();
    struct skep_output *output;
    struct rlimit before, none;
    NEED(getrlimit(RLIMIT_NOFILE, &before) == 0);
    none = before;
    int last = dup(0);
    none.rlim_cur = (rlim_t)last + 1;
    NEED(setrlimit(RLIMIT_NOFILE, &none) == 0);
    CHECK_NUMBER(skep_command_set_stdin_fd(command, 0), SKEP_RESOURCE_EXHAUSTED);
    NEED(setrlimit(RLIMIT_NOFILE, &before) == 0);
    close(last);
    CHECK_NUMBER(skep_command_run(command, &output, &error), SKEP_RESOURCE_EXHAUSTED);
    CHECK_TEXT(skep_error_name(error), "ResourceExhausted");
    CHECK_NUMBER(skep_error_errno(error), EMFILE);
    skep_error_free(error);
    skep_command_free(command);

    command = host_command();
    CHECK_NUMBER(skep_command_set_stdin_fd(command, 1 << 20), SKEP_INVALID_INPUT);
    CHECK_NUMBER(skep_command_run(command, &output, &error), SKEP_INVALID_INPUT);
    CHECK_NUMBER(skep_error_errno(error), EBADF);
    skep_error_free(error);
    skep_command_free(command);
}

static void of_bytes(void) {
    uint64_t bytes = 7;
    IS_NULL(skep_bytes_parse, text, NULL, &bytes);
    IS_NULL(skep_bytes_parse, bytes, "1m", NULL);
    NOT_UTF8(skep_bytes_parse, text, bad, &bytes);
    FAILS(skep_bytes_parse("much", &bytes, &error), SKEP_INVALID_INPUT,
          "cannot read the size \"much\": it is not a number of bytes below 2^63; "
          "write for example 512k, 256m or 1.5g");
    CHECK_NUMBER(bytes, 7);
}

static void of_children(void) {
    struct skep_command *command = host_command();
    struct skep_child *child;
    struct skep_exit_status status;
    struct skep_usage usage;
    struct skep_image *made;
    struct skep_change_list *changes;
    int fd;
    OK(skep_command_spawn(command, &child, &error));
    skep_command_free(command);
    IS_NULL(skep_child_wait, child, NULL, &status);
    IS_NULL(skep_child_wait, status, child, NULL);
    IS_NULL(skep_child_wait_timeout_ms, child, NULL, 0, &status);
    IS_NULL(skep_child_wait_timeout_ms, status, child, 0, NULL);
    REFUSED(skep_child_wait_timeout_ms, "its argument timeout_ms is negative", child, -1, &status);
    IS_NULL(skep_child_try_wait, child, NULL, &status);
    IS_NULL(skep_child_try_wait, status, child, NULL);
    FAILS(skep_child_signal(child, 0, &error), SKEP_INVALID_INPUT,
          "cannot send signal 0; give a number from 1 to 64");
    IS_NULL(skep_child_signal, child, NULL, 15);
    FAILS(skep_child_kill(NULL, &error), SKEP_INVALID_INPUT,
          "cannot call skep_child_kill: its argument child is NULL");
    IS_NULL(skep_child_stop, child, NULL, 0, &status);
    IS_NULL(skep_child_stop, status, child, 0, NULL);
    REFUSED(skep_child_stop, "its argument grace_ms is negative", child, -1, &status);
    IS_NULL(skep_child_commit, child, NULL, NULL, &made);
    IS_NULL(skep_child_commit, made, child, NULL, NULL);
    IS_NULL(skep_child_diff, child, NULL, &changes);
    IS_NULL(skep_child_diff, changes, child, NULL);
    IS_NULL(skep_child_export, child, NULL, "x");
    IS_NULL(skep_child_export, path, child, NULL);
    IS_NULL(skep_child_usage, child, NULL, &usage);
    IS_NULL(skep_child_usage, usage, child, NULL);
    IS_NULL(skep_child_exit_fd, child, NULL, &fd);
    IS_NULL(skep_child_exit_fd, fd, child, NULL);
    IS_NULL(skep_child_write_stdin, child, NULL, "x", 1, NULL);
    IS_NULL(skep_child_write_stdin, bytes, child, NULL, 1, NULL);
    CHECK(skep_child_id(NULL) == NULL);
    CHECK_NUMBER(skep_child_stop_signal(NULL), 0);
    CHECK_NUMBER(skep_child_stdin_fd(NULL), -1);
    CHECK_NUMBER(skep_child_stdout_fd(NULL), -1);
    CHECK_NUMBER(skep_child_stderr_fd(NULL), -1);
    CHECK_NUMBER(skep_child_take_stdin(NULL), -1);
    CHECK_NUMBER(skep_child_take_stdout(NULL), -1);
    CHECK_NUMBER(skep_child_take_stderr(NULL), -1);
    skep_child_close_stdin(NULL);
    skep_child_free(child);
    skep_child_free(NULL);
}

static void of_collectors(void) {
    struct skep_command *command = host_command();
    struct skep_collector *collector;
    struct skep_output *output;
    struct skep_usage usage;
    OK(skep_command_collect(command, &collector, &error));
    skep_command_free(command);
    IS_NULL(skep_collector_advance, collector, NULL, &output);
    IS_NULL(skep_collector_advance, output, collector, NULL);
    IS_NULL(skep_collector_wait, collector, NULL, &output);
    IS_NULL(skep_collector_wait, output, collector, NULL);
    IS_NULL(skep_collector_signal, collector, NULL, 15);
    FAILS(skep_collector_signal(collector, 65, &error), SKEP_INVALID_INPUT,
          "cannot send signal 65; give a number from 1 to 64");
    FAILS(skep_collector_kill(NULL, &error), SKEP_INVALID_INPUT,
          "cannot call skep_collector_kill: its argument collector is NULL");
    IS_NULL(skep_collector_usage, collector, NULL, &usage);
    IS_NULL(skep_collector_usage, usage, collector, NULL);
    CHECK(skep_collector_id(NULL) == NULL);
    CHECK_NUMBER(skep_collector_fd(NULL), -1);
    skep_collector_free(collector);
    skep_collector_free(NULL);
}

int main(void) {
    static const struct test tests[] = {
        TEST(of_the_engine),
        TEST(of_images),
        TEST(of_what_returns_a_value),
        TEST(of_what_images_return),
        TEST(of_what_is_done_with_images),
        TEST(of_cancels),
        TEST(of_policies),
        TEST(of_bounds),
        TEST(of_registries),
        TEST(of_pulls_and_pushes),
        TEST(of_commits),
        TEST(of_commands),
        TEST(of_options_that_are_text),
        TEST(of_options_that_are_numbers),
        TEST(of_options_at_their_ends),
        TEST(of_a_descriptor_too_many),
        TEST(of_bytes),
        TEST(of_children),
        TEST(of_collectors),
    };
    return RUN_TESTS(tests);
}
