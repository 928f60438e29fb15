/* Registries, images out of containers, and cancelling, as the header says it. Needs tests/registry/run. */
#include "tests.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>

static const char *variable(const char *name) {
    const char *value = getenv(name);
    NEED(value);
    return value;
}

/* A name at the open registry that only this run of the program uses. */
static const char *at_registry(const char *name) {
    static __thread char text[300];
    snprintf(text, sizeof text, "%s/skep-c-%d/%s", variable("SKEP_TEST_REGISTRY"), getpid(), name);
    return text;
}

static struct skep_registries *open_registries(void) {
    struct skep_registries *registries;
    OK(skep_registries_new(&registries, &error));
    OK(skep_registries_allow_plain_http(registries, variable("SKEP_TEST_REGISTRY")));
    return registries;
}

static struct skep_pull_options *pull_options(void) {
    struct skep_registries *registries = open_registries();
    struct skep_pull_options *options;
    OK(skep_pull_options_new(&options, &error));
    OK(skep_pull_options_set_registries(options, registries));
    skep_registries_free(registries);
    return options;
}

static struct skep_push_options *push_options(void) {
    struct skep_registries *registries = open_registries();
    struct skep_push_options *options;
    OK(skep_push_options_new(&options, &error));
    OK(skep_push_options_set_registries(options, registries));
    skep_registries_free(registries);
    return options;
}

static void push_as(const char *reference) {
    struct skep_push_options *options = push_options();
    OK(skep_engine_push_image(engine, image, reference, options, &error));
    skep_push_options_free(options);
}

/* An engine on an empty store. */
static struct skep_engine *other_engine(void) {
    char path[300];
    struct skep_engine *other;
    snprintf(path, sizeof path, "%s/other-XXXXXX", temporary_directory());
    NEED(mkdtemp(path));
    OK(skep_engine_open(path, &other, &error));
    return other;
}

static size_t read_all(const char *path, char *bytes, size_t size) {
    FILE *file = fopen(path, "re");
    NEED(file);
    size_t length = fread(bytes, 1, size, file);
    fclose(file);
    return length;
}

/* A server that takes connections, and is silent. */
struct silent {
    int socket;
    char name[32];
};

static struct silent silent_server(void) {
    struct silent server;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof address;
    server.socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    NEED(bind(server.socket, (struct sockaddr *)&address, sizeof address) == 0);
    NEED(listen(server.socket, 8) == 0);
    NEED(getsockname(server.socket, (struct sockaddr *)&address, &length) == 0);
    snprintf(server.name, sizeof server.name, "localhost:%d", ntohs(address.sin_port));
    return server;
}

/* Cancels when somebody has connected, and so waits for an answer. */
struct canceller {
    struct silent server;
    const struct skep_cancel *cancel;
};

static void *cancel_when_asked(void *argument) {
    struct canceller *canceller = argument;
    struct pollfd asked = {canceller->server.socket, POLLIN, 0};
    if (poll(&asked, 1, 30000) == 1) skep_cancel_cancel(canceller->cancel);
    return NULL;
}

static void a_pull_from_a_silent_registry_is_cancelled(void) {
    struct skep_cancel *cancel;
    struct skep_engine *cancellable;
    struct skep_registries *registries;
    struct skep_pull_options *options;
    struct skep_image *none = NULL;
    struct canceller canceller = {silent_server(), NULL};
    char reference[64], text[128];
    pthread_t thread;
    OK(skep_cancel_new(&cancel, &error));
    CHECK(!skep_cancel_is_cancelled(cancel));
    OK(skep_engine_cancellable(engine, cancel, &cancellable, &error));
    OK(skep_registries_new(&registries, &error));
    skep_registries_allow_plain_http(registries, canceller.server.name);
    OK(skep_pull_options_new(&options, &error));
    skep_pull_options_set_registries(options, registries);
    skep_registries_free(registries);
    canceller.cancel = cancel;
    snprintf(reference, sizeof reference, "%s/app:1", canceller.server.name);
    snprintf(text, sizeof text, "cannot pull %s: it was cancelled", reference);

    NEED(pthread_create(&thread, NULL, cancel_when_asked, &canceller) == 0);
    FAILS(skep_engine_pull_image(cancellable, reference, options, &none, &error), SKEP_CANCELLED, text);
    pthread_join(thread, NULL);
    CHECK(none == NULL);
    CHECK(skep_cancel_is_cancelled(cancel));
    /* It is for good, and freeing it changes nothing; the engine itself is as it was. */
    skep_cancel_cancel(cancel);
    skep_cancel_free(cancel);
    FAILS(skep_engine_pull_image(cancellable, reference, options, &none, &error), SKEP_CANCELLED, text);
    FAILS(skep_engine_load_image(cancellable, "/none.tar", &none, &error), SKEP_CANCELLED,
          "cannot load image from /none.tar: it was cancelled");
    CHECK_NUMBER(skep_engine_load_image(engine, "/none.tar", &none, NULL), SKEP_NOT_FOUND);
    close(canceller.server.socket);
    skep_pull_options_free(options);
    skep_engine_free(cancellable);
}

static void a_question_to_a_silent_registry_is_cancelled_or_times_out(void) {
    struct skep_cancel *cancel;
    struct skep_registries *registries, *cancellable;
    struct canceller canceller = {silent_server(), NULL};
    pthread_t thread;
    char text[128];
    OK(skep_cancel_new(&cancel, &error));
    OK(skep_registries_new(&registries, &error));
    skep_registries_allow_plain_http(registries, canceller.server.name);
    skep_registries_set_timeout_ms(registries, 100);
    skep_registries_set_attempts(registries, 1, 0);
    CHECK_NUMBER(skep_registries_ping(registries, canceller.server.name, NULL), SKEP_TIMED_OUT);
    close(accept(canceller.server.socket, NULL, NULL));
    skep_registries_set_timeout_ms(registries, 60000);
    OK(skep_registries_cancellable(registries, cancel, &cancellable, &error));
    skep_registries_free(registries);
    canceller.cancel = cancel;
    NEED(pthread_create(&thread, NULL, cancel_when_asked, &canceller) == 0);
    snprintf(text, sizeof text, "cannot ping %s: it was cancelled", canceller.server.name);
    FAILS(skep_registries_ping(cancellable, canceller.server.name, &error), SKEP_CANCELLED, text);
    pthread_join(thread, NULL);
    close(canceller.server.socket);
    skep_registries_free(cancellable);
    skep_cancel_free(cancel);
}

static void an_images_own_cancel(void) {
    struct skep_cancel *cancel;
    struct skep_image *cancellable, *none;
    struct skep_change_list *changes;
    OK(skep_cancel_new(&cancel, &error));
    OK(skep_image_cancellable(image, cancel, &cancellable, &error));
    CHECK_TEXT(skep_image_id(cancellable), skep_image_id(image));
    OK(skep_image_diff(cancellable, image, &changes, &error));
    CHECK_NUMBER(skep_change_list_length(changes), 0);
    skep_change_list_free(changes);
    skep_cancel_cancel(cancel);
    FAILS(skep_image_squash(cancellable, NULL, &none, &error), SKEP_CANCELLED,
          "cannot squash localhost/skep-c:1: it was cancelled");
    skep_image_free(cancellable);
    skep_cancel_free(cancel);
}

/* What reports come to. */
struct reports {
    atomic_int inside;
    int count, at_once, last_done;
    uint64_t most, total;
    bool unpacked, digests;
    const struct skep_cancel *cancel;
};

static void pull_report(void *user, const struct skep_pull_progress *progress) {
    struct reports *reports = user;
    if (reports->inside++) reports->at_once++;
    reports->count++;
    reports->digests = strncmp(progress->layer, "sha256:", 7) == 0 && strlen(progress->layer) == 71;
    reports->total = progress->total;
    if (progress->fetched > reports->most) reports->most = progress->fetched;
    reports->unpacked = progress->unpacked;
    skep_cancel_cancel(reports->cancel);
    reports->inside--;
}

static void push_report(void *user, const struct skep_push_progress *progress) {
    struct reports *reports = user;
    if (reports->inside++) reports->at_once++;
    reports->count++;
    reports->digests = strncmp(progress->blob, "sha256:", 7) == 0;
    if (progress->sent > reports->most) reports->most = progress->sent;
    if (progress->total > reports->total) reports->total = progress->total;
    if (progress->done) reports->last_done = progress->done;
    skep_cancel_cancel(reports->cancel);
    reports->inside--;
}

static void a_push_and_a_pull_tell_of_their_progress(void) {
    struct skep_engine *other = other_engine();
    struct skep_push_options *push = push_options();
    struct skep_pull_options *pull = pull_options();
    struct skep_image *pulled;
    struct reports sent = {0}, again = {0}, fetched = {0};
    OK(skep_push_options_set_progress(push, push_report, &sent));
    OK(skep_engine_push_image(engine, image, at_registry("progress:1"), push, &error));
    CHECK(sent.count >= 4 && !sent.at_once && sent.digests);
    CHECK_NUMBER(sent.last_done, SKEP_PUSHED_SENT);
    CHECK_NUMBER(sent.most, sent.total);
    OK(skep_push_options_set_progress(push, push_report, &again));
    OK(skep_engine_push_image(engine, image, at_registry("progress:2"), push, &error));
    CHECK_NUMBER(again.last_done, SKEP_PUSHED_EXISTED);

    OK(skep_pull_options_set_progress(pull, pull_report, &fetched));
    OK(skep_engine_pull_image(other, at_registry("progress:1"), pull, &pulled, &error));
    CHECK_TEXT(skep_image_digest(pulled), skep_image_digest(image));
    CHECK(fetched.count >= 3 && !fetched.at_once && fetched.digests && fetched.unpacked);
    CHECK_NUMBER(fetched.most, fetched.total);
    skep_image_free(pulled);
    skep_pull_options_free(pull);
    skep_push_options_free(push);
    skep_engine_free(other);
}

static void a_report_cancels_its_pull_and_its_push(void) {
    struct skep_engine *other = other_engine(), *cancellable;
    struct skep_push_options *push = push_options();
    struct skep_pull_options *pull = pull_options();
    struct skep_cancel *cancel;
    struct skep_image *none;
    struct skep_image_list *list;
    struct reports reports = {0};
    push_as(at_registry("cancelled:1"));
    OK(skep_cancel_new(&cancel, &error));
    reports.cancel = cancel;
    OK(skep_engine_cancellable(other, cancel, &cancellable, &error));
    OK(skep_pull_options_set_progress(pull, pull_report, &reports));
    CHECK_NUMBER(skep_engine_pull_image(cancellable, at_registry("cancelled:1"), pull, &none,
                                        NULL), SKEP_CANCELLED);
    CHECK_NUMBER(reports.count, 1);
    OK(skep_engine_list_images(other, &list, &error));
    CHECK_NUMBER(skep_image_list_length(list), 0);
    skep_image_list_free(list);
    skep_engine_free(cancellable);
    skep_cancel_free(cancel);

    OK(skep_cancel_new(&cancel, &error));
    reports.cancel = cancel;
    OK(skep_engine_cancellable(engine, cancel, &cancellable, &error));
    OK(skep_push_options_set_progress(push, push_report, &reports));
    CHECK_NUMBER(skep_engine_push_image(cancellable, image, at_registry("not-there:1"), push,
                                        NULL), SKEP_CANCELLED);
    skep_engine_free(cancellable);
    skep_cancel_free(cancel);
    skep_push_options_free(push);
    skep_pull_options_free(pull);
    skep_engine_free(other);
}

static void what_a_registry_answers(void) {
    struct skep_registries *registries = open_registries();
    struct skep_descriptor *descriptor;
    struct skep_descriptor_list *referrers;
    struct skep_text_list *tags;
    push_as(at_registry("answers:1"));
    OK(skep_registries_ping(registries, variable("SKEP_TEST_REGISTRY"), &error));
    OK(skep_registries_resolve(registries, at_registry("answers:1"), &descriptor, &error));
    CHECK_TEXT(skep_descriptor_digest(descriptor), skep_image_digest(image));
    CHECK_TEXT(skep_descriptor_media_type(descriptor), "application/vnd.oci.image.manifest.v1+json");
    CHECK(skep_descriptor_size(descriptor) > 100);
    CHECK(strstr(skep_descriptor_inspect(descriptor), skep_image_digest(image)) != NULL);
    skep_descriptor_free(descriptor);
    OK(skep_registries_tags(registries, at_registry("answers"), &tags, &error));
    CHECK_NUMBER(skep_text_list_length(tags), 1);
    CHECK_TEXT(skep_text_list_at(tags, 0), "1");
    CHECK(skep_text_list_at(tags, 1) == NULL);
    skep_text_list_free(tags);
    OK(skep_registries_referrers(registries, at_registry("answers:1"), "text/plain", &referrers,
                                 &error));
    CHECK_NUMBER(skep_descriptor_list_length(referrers), 0);
    CHECK(skep_descriptor_list_at(referrers, 0) == NULL);
    skep_descriptor_list_free(referrers);
    skep_registries_free(registries);
}

/* The closed one lets in who has the password, from a file of docker's too. */
static void credentials_and_certificates(void) {
    const char *closed = variable("SKEP_TEST_REGISTRY_CLOSED"), *ca = variable("SKEP_TEST_REGISTRY_CA");
    char pem[16384], certificate[16384], key[16384], path[600];
    const char *files[] = {path, NULL}, *none[] = {NULL};
    struct skep_registries *registries;
    struct skep_image *pulled;
    size_t length = read_all(ca, pem, sizeof pem);
    int directory = (int)(strrchr(ca, '/') - ca);
    snprintf(path, sizeof path, "%.*s/server.pem", directory, ca);
    size_t certificate_length = read_all(path, certificate, sizeof certificate);
    snprintf(path, sizeof path, "%.*s/server.key", directory, ca);
    size_t key_length = read_all(path, key, sizeof key);

    OK(skep_registries_new(&registries, &error));
    OK(skep_registries_set_certificate_authority(registries, closed, pem, length));
    OK(skep_registries_set_credential_files(registries, none));
    CHECK_NUMBER(skep_registries_ping(registries, closed, NULL), SKEP_PERMISSION_DENIED);
    OK(skep_registries_set_client_certificate(registries, closed, certificate, certificate_length, key,
                                              key_length));
    OK(skep_registries_set_password(registries, closed, "bee", "skep-secret"));
    OK(skep_registries_ping(registries, closed, &error));
    OK(skep_registries_set_registry_token(registries, closed, "another"));
    CHECK_NUMBER(skep_registries_ping(registries, closed, NULL), SKEP_PERMISSION_DENIED);
    skep_registries_free(registries);

    snprintf(path, sizeof path, "%s/config.json", temporary_directory());
    FILE *file = fopen(path, "we");
    NEED(file);
    fprintf(file, "{\"auths\":{\"%s\":{\"auth\":\"YmVlOnNrZXAtc2VjcmV0\"}}}", closed);
    fclose(file);
    OK(skep_registries_new(&registries, &error));
    OK(skep_registries_set_credential_files(registries, files));
    OK(skep_registries_set_certificate_authority(registries, closed, pem, length));
    OK(skep_registries_ping(registries, closed, &error));
    /* A pair that does not belong together; the first error is the one of every use. */
    CHECK_NUMBER(skep_registries_set_client_certificate(registries, closed, pem, length, key, key_length),
                 SKEP_INVALID_INPUT);
    CHECK_NUMBER(skep_registries_set_timeout_ms(registries, -1), SKEP_INVALID_INPUT);
    CHECK_NUMBER(skep_registries_ping(registries, closed, &error), SKEP_INVALID_INPUT);
    CHECK_TEXT(skep_error_operation(error), "use client certificate");
    skep_error_free(error);
    skep_registries_free(registries);
    /* Without options, and so over https with the platform's certificates. */
    snprintf(path, sizeof path, "%s/skep/none:1", closed);
    CHECK_NUMBER(skep_engine_pull_image(engine, path, NULL, &pulled, NULL), SKEP_IO);
    CHECK_NUMBER(skep_engine_push_image(engine, image, path, NULL, NULL), SKEP_IO);
}

static void options_of_a_pull_that_are_refused(void) {
    struct skep_pull_options *options = pull_options();
    struct skep_image *none = NULL;
    CHECK_NUMBER(skep_pull_options_set_platform(options, "linux"), SKEP_INVALID_INPUT);
    CHECK_NUMBER(skep_pull_options_set_platform(options, "linux/amd64"), SKEP_OK);
    FAILS(skep_engine_pull_image(engine, at_registry("any:1"), options, &none, &error),
          SKEP_INVALID_INPUT,
          "cannot parse platform \"linux\": it has another form; "
          "write OS/ARCHITECTURE[/VARIANT], for instance linux/arm64");
    CHECK(none == NULL);
    skep_pull_options_free(options);
}

/* A container that has written, and whose files are kept. */
static struct skep_child *written(const char *script) {
    struct skep_command *command = shell(script);
    struct skep_child *child;
    struct skep_exit_status status;
    OK(skep_command_set_keep_files(command, true));
    OK(skep_command_spawn(command, &child, &error));
    skep_command_free(command);
    OK(skep_child_wait(child, &status, &error));
    CHECK(skep_exit_status_success(&status));
    return child;
}

static const char *stdout_of(struct skep_image *of) {
    static char text[256];
    struct skep_command *command;
    struct skep_output *output;
    OK(skep_command_new(engine, of, &command, &error));
    OK(skep_command_run(command, &output, &error));
    snprintf(text, sizeof text, "%s", skep_output_stdout(output).data);
    skep_output_free(output);
    skep_command_free(command);
    return text;
}

/* Core's tests have signatures; this one has that what is said arrives. */
static void a_policy_says_what_is_pulled(void) {
    static const char key[] = "-----BEGIN PUBLIC KEY-----\n"
                              "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEQiXgQV3p3IYAHJ1ckWGmm4gW+NMJ\n"
                              "W0hAnWvhXtb0EAgUTC1x/eqFhYEv/Mf0gCLc8aUKbCwlizLVpuvqJ2/Yfg==\n"
                              "-----END PUBLIC KEY-----\n";
    const char *keys[] = {key, NULL};
    struct skep_pull_options *options = pull_options();
    struct skep_policy *policy;
    struct skep_image *pulled = NULL;
    char text[800], reference[300], prefix[300];
    snprintf(reference, sizeof reference, "%s", at_registry("policy/app:1"));
    snprintf(prefix, sizeof prefix, "%s", at_registry("policy"));
    push_as(reference);

    OK(skep_policy_new(&policy, &error));
    OK(skep_pull_options_set_policy(options, policy));
    CHECK_NUMBER(skep_engine_pull_image(engine, reference, options, &pulled, &error),
                 SKEP_PERMISSION_DENIED);
    CHECK_TEXT(skep_error_operation(error), "accept");
    CHECK_TEXT(skep_error_subject(error), reference);
    snprintf(text, sizeof text, "cannot accept %s: the policy's default rejects all images; "
             "set a prefix for what is to be accepted", reference);
    CHECK_TEXT(skep_error_message(error), text);
    skep_error_free(error);

    /* Each identity is one; the last that was said of a prefix counts, and the default may come last. */
    for (int identity = SKEP_IDENTITY_SIGNED_TAG; identity <= SKEP_IDENTITY_NAMED; identity++) {
        const char *name = identity == SKEP_IDENTITY_NAMED ? "docker.io/library/debian" : NULL;
        OK(skep_policy_require(policy, prefix, keys, 1, identity, name));
    }
    OK(skep_policy_accept(policy, NULL));
    OK(skep_pull_options_set_policy(options, policy));
    snprintf(text, sizeof text, "cannot accept %s: the policy for %s requires a signature by the given "
             "key, and there is no signature; have it signed, or give the key that has signed it",
             reference, prefix);
    FAILS(skep_engine_pull_image(engine, reference, options, &pulled, &error), SKEP_PERMISSION_DENIED,
          text);
    CHECK(pulled == NULL);

    OK(skep_policy_accept(policy, prefix));
    OK(skep_policy_reject(policy, NULL));
    OK(skep_pull_options_set_policy(options, policy));
    /* The options have what it said. */
    OK(skep_policy_reject(policy, prefix));
    skep_policy_free(policy);
    OK(skep_engine_pull_image(engine, reference, options, &pulled, &error));
    skep_image_free(pulled);
    skep_pull_options_free(options);
}

static void a_bound_of_what_images_become(void) {
    struct skep_engine *other = other_engine(), *bounded, *both;
    struct skep_cancel *cancel;
    struct skep_image *none = NULL;
    struct skep_image_list *list;
    const char *names[] = {"localhost/skep-c:1", NULL}, *rootfs = variable("SKEP_TEST_ROOTFS");
    char path[300];
    snprintf(path, sizeof path, "%s/bounded.tar", temporary_directory());
    OK(skep_engine_save_images(engine, names, path, SKEP_ARCHIVE_OCI, &error));
    OK(skep_engine_max_size(other, 1000, &bounded, &error));
    FAILS(skep_engine_import_image(bounded, rootfs, NULL, &none, &error), SKEP_RESOURCE_EXHAUSTED,
          "cannot unpack image: it becomes more than 1000 bytes; "
          "if it is not a bomb, allow a larger max_size");
    CHECK_NUMBER(skep_engine_load_image(bounded, path, &none, NULL), SKEP_RESOURCE_EXHAUSTED);
    CHECK_NUMBER(skep_engine_load_images(bounded, path, &list, NULL), SKEP_RESOURCE_EXHAUSTED);
    CHECK(none == NULL);
    OK(skep_engine_list_images(other, &list, &error));
    CHECK_NUMBER(skep_image_list_length(list), 0);
    skep_image_list_free(list);
    /* The engine itself is as it was, and a handle of a handle has both. */
    struct skep_image *loaded;
    OK(skep_engine_load_image(other, path, &loaded, &error));
    skep_image_free(loaded);
    OK(skep_cancel_new(&cancel, &error));
    OK(skep_engine_cancellable(bounded, cancel, &both, &error));
    CHECK_NUMBER(skep_engine_import_image(both, rootfs, NULL, &none, NULL), SKEP_RESOURCE_EXHAUSTED);
    skep_cancel_cancel(cancel);
    CHECK_NUMBER(skep_engine_import_image(both, rootfs, NULL, &none, NULL), SKEP_CANCELLED);
    skep_engine_free(both);
    skep_cancel_free(cancel);
    skep_engine_free(bounded);
    skep_engine_free(other);
}

static void an_image_of_a_container(void) {
    struct skep_child *child = written("echo hello >/greeting; rm /srv/text");
    struct skep_change_list *changes;
    struct skep_commit *commit;
    struct skep_image *made, *squashed;
    OK(skep_child_diff(child, &changes, &error));
    CHECK_NUMBER(skep_change_list_length(changes), 3);
    CHECK_TEXT(skep_change_path(skep_change_list_at(changes, 1)), "/greeting");
    CHECK_NUMBER(skep_change_what(skep_change_list_at(changes, 1)), SKEP_CHANGE_ADDED);
    CHECK_NUMBER(skep_change_what(skep_change_list_at(changes, 2)), SKEP_CHANGE_DELETED);
    CHECK(skep_change_list_at(changes, 3) == NULL);
    skep_change_list_free(changes);

    OK(skep_commit_new(&commit, &error));
    OK(skep_commit_set_reference(commit, "localhost/skep-c:greeting"));
    OK(skep_commit_set_config(commit, "{\"Cmd\":[\"cat\",\"/greeting\"],\"Env\":[\"PATH=/bin\"]}"));
    OK(skep_commit_set_author(commit, "a bee"));
    OK(skep_commit_set_comment(commit, "a greeting"));
    OK(skep_commit_set_created_by(commit, "sh -c ..."));
    OK(skep_commit_set_time_s(commit, 1000000000));
    OK(skep_commit_set_max_size(commit, 1 << 20));
    OK(skep_child_commit(child, commit, &made, &error));
    skep_child_free(child);
    CHECK_TEXT(skep_image_reference(made, 0), "localhost/skep-c:greeting");
    CHECK_TEXT(skep_image_created(made), "2001-09-09T01:46:40Z");
    CHECK_TEXT(stdout_of(made), "hello\n");

    CHECK_NUMBER(skep_image_history_length(made), 2);
    const struct skep_step *step = skep_image_history_at(made, 1);
    CHECK_TEXT(skep_step_created(step), "2001-09-09T01:46:40Z");
    CHECK_TEXT(skep_step_created_by(step), "sh -c ...");
    CHECK_TEXT(skep_step_author(step), "a bee");
    CHECK_TEXT(skep_step_comment(step), "a greeting");
    CHECK_NUMBER(strncmp(skep_step_layer(step), "sha256:", 7), 0);
    CHECK(skep_step_layer_size(step) > 0);
    CHECK(skep_step_author(skep_image_history_at(made, 0)) == NULL);
    CHECK(skep_image_history_at(made, 2) == NULL);

    OK(skep_image_squash(made, NULL, &squashed, &error));
    CHECK(skep_image_reference(squashed, 0) == NULL);
    OK(skep_image_diff(squashed, made, &changes, &error));
    CHECK_NUMBER(skep_change_list_length(changes), 0);
    skep_change_list_free(changes);
    OK(skep_engine_remove_image(engine, skep_image_id(squashed), &error));
    OK(skep_engine_remove_image(engine, skep_image_id(made), &error));
    FAILS(skep_image_squash(made, commit, &squashed, &error), SKEP_NOT_FOUND,
          "cannot use image localhost/skep-c:greeting: it was removed in the meantime");
    skep_commit_free(commit);
    skep_image_free(squashed);
    skep_image_free(made);
}

static void a_commit_that_is_refused(void) {
    struct skep_child *child = written("true");
    struct skep_command *command;
    struct skep_commit *commit;
    struct skep_image *none;
    struct skep_exit_status status;
    OK(skep_commit_new(&commit, &error));
    CHECK_NUMBER(skep_commit_set_config(commit, "[]"), SKEP_INVALID_INPUT);
    CHECK_NUMBER(skep_child_commit(child, commit, &none, &error), SKEP_INVALID_INPUT);
    CHECK(strstr(skep_error_message(error), "cannot call skep_commit_set_config: its argument json"));
    skep_error_free(error);
    skep_commit_free(commit);
    skep_child_free(child);
    OK(skep_command_new_host(engine, &command, &error));
    skep_command_add_arg(command, "true");
    OK(skep_command_spawn(command, &child, &error));
    CHECK_NUMBER(skep_child_commit(child, NULL, &none, NULL), SKEP_INVALID_INPUT);
    OK(skep_child_wait(child, &status, &error));
    CHECK_NUMBER(skep_child_commit(child, NULL, &none, NULL), SKEP_INVALID_STATE);
    skep_child_free(child);
    skep_command_free(command);
}

/* What overlayfs wrote, without a container. */
static void an_image_of_a_directory(void) {
    char upper[300], file[320];
    struct skep_image *made;
    struct skep_change_list *changes;
    snprintf(upper, sizeof upper, "%s/upper", temporary_directory());
    snprintf(file, sizeof file, "%s/added", upper);
    NEED(mkdir(upper, 0755) == 0);
    close(open(file, O_CREAT | O_CLOEXEC, 0644));
    OK(skep_image_commit(image, upper, NULL, &made, &error));
    OK(skep_image_diff(made, image, &changes, &error));
    CHECK_NUMBER(skep_change_list_length(changes), 1);
    CHECK_TEXT(skep_change_path(skep_change_list_at(changes, 0)), "/added");
    skep_change_list_free(changes);
    OK(skep_engine_remove_image(engine, skep_image_id(made), &error));
    skep_image_free(made);
}

static void archives(void) {
    char path[300];
    struct stat stat_of;
    struct skep_child *child = written("echo x >/x");
    struct skep_engine *other = other_engine();
    struct skep_image_list *list;
    struct skep_image *imported;
    const char *names[] = {"localhost/skep-c:1", NULL};
    snprintf(path, sizeof path, "%s/archive.tar", temporary_directory());
    for (int form = SKEP_ARCHIVE_DOCKER; form <= SKEP_ARCHIVE_OCI; form++) {
        OK(skep_engine_save_images(engine, names, path, form, &error));
        NEED(stat(path, &stat_of) == 0);
        CHECK_NUMBER(stat_of.st_mode & 0777, 0600);
        OK(skep_engine_load_images(other, path, &list, &error));
        CHECK_NUMBER(skep_image_list_length(list), 1);
        CHECK_TEXT(skep_image_id(skep_image_list_at(list, 0)), skep_image_id(image));
        skep_image_list_free(list);
    }
    OK(skep_image_export(image, path, &error));
    OK(skep_engine_import_image(other, path, NULL, &imported, &error));
    skep_image_free(imported);
    OK(skep_child_export(child, path, &error));
    OK(skep_engine_import_image(other, path, NULL, &imported, &error));
    skep_image_free(imported);
    skep_child_free(child);
    skep_engine_free(other);
}

static void what_the_disk_holds(void) {
    struct skep_engine *other = other_engine();
    struct skep_image *mine = import_rootfs(other, "localhost/skep-c:disk");
    struct skep_disk_usage *usage;
    struct skep_pruned *pruned;
    struct skep_lease *lease;
    struct skep_text_list *layers;
    OK(skep_image_layers(mine, &layers, &error));
    CHECK_NUMBER(skep_text_list_length(layers), 1);
    CHECK_NUMBER(access(skep_text_list_at(layers, 0), R_OK), 0);
    skep_text_list_free(layers);
    OK(skep_image_lease(mine, &lease, &error));

    OK(skep_engine_disk_usage(other, &usage, &error));
    CHECK_NUMBER(skep_disk_usage_length(usage), 1);
    CHECK_NUMBER(skep_disk_usage_unneeded(usage), 0);
    const struct skep_image_usage *one = skep_disk_usage_at(usage, 0);
    CHECK_TEXT(skep_image_usage_id(one), skep_image_id(mine));
    CHECK_TEXT(skep_image_usage_reference(one, 0), "localhost/skep-c:disk");
    CHECK(skep_image_usage_reference(one, 1) == NULL);
    CHECK(skep_image_usage_blobs(one) > 0 && skep_image_usage_layers(one) > 0);
    CHECK_NUMBER(skep_image_usage_blobs(one), skep_disk_usage_blobs(usage));
    CHECK_NUMBER(skep_image_usage_layers(one), skep_disk_usage_layers(usage));
    CHECK_NUMBER(skep_image_usage_shared(one), 0);
    CHECK(skep_image_usage_in_use(one));
    CHECK(skep_disk_usage_at(usage, 1) == NULL);
    skep_disk_usage_free(usage);

    OK(skep_engine_prune_images(other, SKEP_PRUNE_UNUSED, &pruned, &error));
    CHECK_NUMBER(skep_pruned_length(pruned), 0);
    skep_pruned_free(pruned);
    CHECK_NUMBER(skep_engine_remove_image(other, "localhost/skep-c:disk", NULL), SKEP_IN_USE);
    skep_lease_free(lease);
    OK(skep_engine_prune_images(other, SKEP_PRUNE_UNUSED, &pruned, &error));
    CHECK_NUMBER(skep_pruned_length(pruned), 1);
    CHECK_TEXT(skep_pruned_image(pruned, 0), skep_image_id(mine));
    CHECK(skep_pruned_image(pruned, 1) == NULL);
    CHECK_NUMBER(skep_pruned_blobs(pruned), 3);
    CHECK_NUMBER(skep_pruned_layers(pruned), 1);
    CHECK(skep_pruned_bytes(pruned) > 0);
    skep_pruned_free(pruned);
    CHECK_NUMBER(skep_image_lease(mine, &lease, NULL), SKEP_NOT_FOUND);
    skep_image_free(mine);
    skep_engine_free(other);
}

/* Options, and a cancelled engine, are for any number of threads at once. */
static struct skep_pull_options *shared;

static void *pull_the_same(void *argument) {
    struct skep_image *pulled = NULL;
    int code = skep_engine_pull_image(argument, at_registry("many:1"), shared, &pulled, NULL);
    skep_image_free(pulled);
    return code == SKEP_OK ? NULL : &shared;
}

static void many_threads_pull_with_the_same_options(void) {
    struct skep_engine *other = other_engine();
    pthread_t threads[8];
    push_as(at_registry("many:1"));
    shared = pull_options();
    for (int i = 0; i < 8; i++) NEED(pthread_create(&threads[i], NULL, pull_the_same, other) == 0);
    for (int i = 0; i < 8; i++) {
        void *failure;
        pthread_join(threads[i], &failure);
        CHECK(failure == NULL);
    }
    skep_pull_options_free(shared);
    skep_engine_free(other);
}

int main(void) {
    static const struct test tests[] = {
        TEST(a_pull_from_a_silent_registry_is_cancelled),
        TEST(a_question_to_a_silent_registry_is_cancelled_or_times_out),
        TEST(an_images_own_cancel),
        TEST(a_push_and_a_pull_tell_of_their_progress),
        TEST(a_report_cancels_its_pull_and_its_push),
        TEST(what_a_registry_answers),
        TEST(credentials_and_certificates),
        TEST(options_of_a_pull_that_are_refused),
        TEST(a_policy_says_what_is_pulled),
        TEST(a_bound_of_what_images_become),
        TEST(an_image_of_a_container),
        TEST(a_commit_that_is_refused),
        TEST(an_image_of_a_directory),
        TEST(archives),
        TEST(what_the_disk_holds),
        TEST(many_threads_pull_with_the_same_options),
    };
    return RUN_TESTS(tests);
}
