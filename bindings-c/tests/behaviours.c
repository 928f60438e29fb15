/*
 * Carries out tests/behaviours:
 *
 *     SKEP_TEST_ROOTFS=root.tar behaviours FILE.json...
 *
 * The format is described in tests/behaviours/README.md. A key that is not known is a failure.
 */
#include "check.h"

#include <cjson/cJSON.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <sys/stat.h>

#define IMAGE "localhost/skep-behaviours:1"

/* One passage through the steps of a case. */
struct run {
    struct skep_engine *engine;
    char directory[300];
    char number[16];
    struct skep_child *child;
    /* What the last step came to; either is NULL. */
    struct skep_error *error;
    struct skep_output *output;
    char failure[8192];
};

/* Notes why a case fails, the first time; false. */
__attribute__((format(printf, 2, 3))) static bool fail(struct run *run, const char *format, ...) {
    if (!run->failure[0]) {
        va_list args;
        va_start(args, format);
        vsnprintf(run->failure, sizeof run->failure, format, args);
        va_end(args);
    }
    return false;
}

/* Text */

static char *replace_one(char *text, const char *what, const char *by) {
    char *at;
    while ((at = strstr(text, what))) {
        size_t before = (size_t)(at - text);
        char *made;
        if (asprintf(&made, "%.*s%s%s", (int)before, text, by, at + strlen(what)) < 0) abort();
        free(text);
        text = made;
    }
    return text;
}

/* What tests/registry/run says. */
static const char *variable(const char *name) {
    const char *value = getenv(name);
    return value ? value : "";
}

static char *replaced_text(const struct run *run, const char *text) {
    char id[13] = "";
    if (run->child) snprintf(id, sizeof id, "%s", skep_child_id(run->child));
    char *made = strdup(text);
    made = replace_one(made, "${DIR}", run->directory);
    made = replace_one(made, "${ROOTFS}", getenv("SKEP_TEST_ROOTFS"));
    made = replace_one(made, "${IMAGE}", IMAGE);
    made = replace_one(made, "${ID}", id);
    made = replace_one(made, "${REGISTRY}", variable("SKEP_TEST_REGISTRY"));
    made = replace_one(made, "${CLOSED}", variable("SKEP_TEST_REGISTRY_CLOSED"));
    made = replace_one(made, "${CA}", variable("SKEP_TEST_REGISTRY_CA"));
    return replace_one(made, "${N}", run->number);
}

/* Replaces the placeholders in all strings of `json`. */
static void replace(const struct run *run, cJSON *json) {
    if (cJSON_IsString(json)) {
        char *text = replaced_text(run, json->valuestring);
        cJSON_free(json->valuestring);
        json->valuestring = text;
    }
    for (cJSON *item = json->child; item; item = item->next) replace(run, item);
}

/* The pattern 0, 1, ... 250, 0, ... */
static unsigned char *pattern(size_t length) {
    unsigned char *bytes = malloc(length ? length : 1);
    for (size_t i = 0; i < length; i++) bytes[i] = (unsigned char)(i % 251);
    return bytes;
}

static bool is(const cJSON *json, const char *name) { return strcmp(json->string, name) == 0; }

/* Options */

static void set_args(struct skep_command *command, const cJSON *list,
                     int (*set)(struct skep_command *, const char *const *)) {
    const char **args = calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof *args);
    const cJSON *item;
    int count = 0;
    cJSON_ArrayForEach(item, list) args[count++] = item->valuestring;
    set(command, args);
    free(args);
}

static bool add_mount(struct run *run, struct skep_command *command, const cJSON *mount) {
    const cJSON *bind = cJSON_GetObjectItem(mount, "bind"), *to = cJSON_GetObjectItem(mount, "to");
    const cJSON *tmpfs = cJSON_GetObjectItem(mount, "tmpfs"), *key;
    const cJSON *size = cJSON_GetObjectItem(mount, "size");
    bool read_only = cJSON_IsTrue(cJSON_GetObjectItem(mount, "read_only"));
    cJSON_ArrayForEach(key, mount) {
        if (!is(key, "bind") && !is(key, "to") && !is(key, "tmpfs") && !is(key, "size") &&
            !is(key, "read_only"))
            return fail(run, "a mount has no %s", key->string);
    }
    if (bind && to && !tmpfs && !size) {
        skep_command_add_bind(command, bind->valuestring, to->valuestring, read_only);
    } else if (tmpfs && !bind && !to) {
        uint64_t bytes = size ? (uint64_t)size->valuedouble : 0;
        skep_command_add_tmpfs(command, tmpfs->valuestring, bytes, read_only);
    } else {
        return fail(run, "a mount is a bind or a tmpfs");
    }
    return true;
}

/* Sets one option. False if the case is wrong, or with an error of skep's. */
static bool set_option(struct run *run, struct skep_command *command, const cJSON *option) {
    const cJSON *item;
    const char *text = option->valuestring;
    double number = option->valuedouble;
    uint64_t bytes = (uint64_t)number;
    if (is(option, "image")) {
    } else if (is(option, "args")) {
        set_args(command, option, skep_command_add_args);
    } else if (is(option, "entrypoint")) {
        set_args(command, option, skep_command_set_entrypoint);
    } else if (is(option, "env")) {
        cJSON_ArrayForEach(item, option)
            skep_command_set_env(command, item->string, item->valuestring);
    } else if (is(option, "working_dir")) {
        skep_command_set_working_dir(command, text);
    } else if (is(option, "user")) {
        skep_command_set_user(command, text);
    } else if (is(option, "hostname")) {
        skep_command_set_hostname(command, text);
    } else if (is(option, "mounts")) {
        cJSON_ArrayForEach(item, option) {
            if (!add_mount(run, command, item)) return false;
        }
    } else if (is(option, "keep_files")) {
        skep_command_set_keep_files(command, cJSON_IsTrue(option));
    } else if (is(option, "read_only")) {
        skep_command_set_read_only(command, cJSON_IsTrue(option));
    } else if (is(option, "allow_new_privileges")) {
        skep_command_set_allow_new_privileges(command, cJSON_IsTrue(option));
    } else if (is(option, "rlimits")) {
        cJSON_ArrayForEach(item, option) {
            double soft = cJSON_GetArrayItem(item, 0)->valuedouble;
            double hard = cJSON_GetArrayItem(item, 1)->valuedouble;
            skep_command_set_rlimit(command, item->string, (uint64_t)soft, (uint64_t)hard);
        }
    } else if (is(option, "memory")) {
        if (text && skep_bytes_parse(text, &bytes, &run->error) != SKEP_OK) return false;
        skep_command_set_memory(command, bytes);
    } else if (is(option, "memory_swap")) {
        if (strcmp(text, "-1") == 0) {
            skep_command_set_memory_swap(command, -1);
        } else {
            if (skep_bytes_parse(text, &bytes, &run->error) != SKEP_OK) return false;
            skep_command_set_memory_swap(command, (int64_t)bytes);
        }
    } else if (is(option, "cpus")) {
        skep_command_set_cpus(command, number);
    } else if (is(option, "pids")) {
        skep_command_set_pids(command, (int64_t)number);
    } else if (is(option, "timeout_ms")) {
        skep_command_set_timeout_ms(command, (int64_t)number);
    } else if (is(option, "input")) {
        skep_command_set_input(command, text, strlen(text));
    } else if (is(option, "input_pattern")) {
        unsigned char *input = pattern((size_t)number);
        skep_command_set_input(command, input, (size_t)number);
        free(input);
    } else {
        return fail(run, "there is no option %s", option->string);
    }
    return true;
}

static struct skep_command *make_command(struct run *run, const cJSON *options) {
    const cJSON *name = cJSON_GetObjectItem(options, "image"), *option;
    struct skep_image *image;
    struct skep_command *command;
    if (skep_engine_find_image(run->engine, name ? name->valuestring : IMAGE, &image, &run->error))
        return NULL;
    int code = skep_command_new(run->engine, image, &command, &run->error);
    skep_image_free(image);
    if (code != SKEP_OK) return NULL;
    cJSON_ArrayForEach(option, options) {
        if (!set_option(run, command, option)) {
            skep_command_free(command);
            return NULL;
        }
    }
    return command;
}

/* Expectations */

static bool same_text(struct run *run, const char *what, const char *found, const char *expected) {
    if (strcmp(found, expected) == 0) return true;
    return fail(run, "%s is \"%s\", and not \"%s\"", what, found, expected);
}

static bool within(struct run *run, const cJSON *bound, uint64_t found) {
    double limit = bound->valuedouble;
    bool least = strcmp(bound->string + strlen(bound->string) - 4, "_min") == 0;
    if (found == SKEP_NOT_COUNTED) return fail(run, "%s: it was not counted", bound->string);
    if (least ? (double)found < limit : (double)found > limit)
        return fail(run, "%s is %.0f, and it is %llu", bound->string, limit,
                    (unsigned long long)found);
    return true;
}

static bool check_usage(struct run *run, const struct skep_usage *usage, const cJSON *expect) {
    const cJSON *key;
    cJSON_ArrayForEach(key, expect) {
        uint64_t found;
        if (is(key, "memory_peak_min") || is(key, "memory_peak_max")) {
            found = usage->memory_peak;
        } else if (is(key, "cpu_ms_min") || is(key, "cpu_ms_max")) {
            found = usage->cpu_total_us;
            if (found != SKEP_NOT_COUNTED) found /= 1000;
        } else if (is(key, "oom_kills_min") || is(key, "oom_kills_max")) {
            found = usage->oom_kills;
        } else if (is(key, "pids_peak_max")) {
            found = usage->pids_peak;
        } else {
            return fail(run, "there is no usage %s", key->string);
        }
        if (!within(run, key, found)) return false;
    }
    return true;
}

static bool check_stream(struct run *run, const cJSON *key, struct skep_slice found) {
    if (strstr(key->string, "_contains"))
        return strstr(found.data, key->valuestring) != NULL ||
               fail(run, "%s: it is \"%s\"", key->string, found.data);
    if (strstr(key->string, "_pattern")) {
        size_t length = (size_t)key->valuedouble;
        unsigned char *bytes = pattern(length);
        bool same = found.length == length && memcmp(found.data, bytes, length) == 0;
        free(bytes);
        return same || fail(run, "%s: it is not; %zu bytes", key->string, found.length);
    }
    if (found.length != strlen(found.data)) return fail(run, "%s has NUL bytes", key->string);
    return same_text(run, key->string, found.data, key->valuestring);
}

static bool number_or_null(struct run *run, const cJSON *key, int found, int none) {
    int expected = cJSON_IsNull(key) ? none : (int)key->valuedouble;
    return found == expected || fail(run, "%s is %d, and not %d", key->string, found, expected);
}

static bool check_end(struct run *run, const struct skep_exit_status *status, const cJSON *expect) {
    const cJSON *key;
    if (status->reason == SKEP_REASON_RUNNING)
        return cJSON_IsNull(expect) || fail(run, "it still runs");
    if (cJSON_IsNull(expect)) return fail(run, "it is over");
    cJSON_ArrayForEach(key, expect) {
        bool good;
        if (is(key, "reason")) {
            char reason[32] = "";
            switch (status->reason) {
            case SKEP_REASON_EXITED: snprintf(reason, sizeof reason, "exited:%d", status->code); break;
            case SKEP_REASON_SIGNALED: snprintf(reason, sizeof reason, "signaled:%d", status->signal); break;
            case SKEP_REASON_OOM_KILLED: strcpy(reason, "oom_killed"); break;
            case SKEP_REASON_TIMED_OUT: strcpy(reason, "timed_out"); break;
            }
            good = same_text(run, "reason", reason, key->valuestring);
        } else if (is(key, "code")) {
            good = number_or_null(run, key, status->code, -1);
        } else if (is(key, "signal")) {
            good = number_or_null(run, key, status->signal, 0);
        } else if (is(key, "success")) {
            good = skep_exit_status_success(status) == cJSON_IsTrue(key) || fail(run, "success");
        } else if (is(key, "usage")) {
            good = check_usage(run, &status->usage, key);
        } else if (run->output && strncmp(key->string, "stdout", 6) == 0) {
            good = check_stream(run, key, skep_output_stdout(run->output));
        } else if (run->output && strncmp(key->string, "stderr", 6) == 0) {
            good = check_stream(run, key, skep_output_stderr(run->output));
        } else {
            return fail(run, "an end has no %s", key->string);
        }
        if (!good) return false;
    }
    return true;
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Compares `names` with a list, sorted. */
static bool check_names(struct run *run, const char **names, size_t count, const cJSON *expected) {
    qsort(names, count, sizeof *names, by_text);
    if ((int)count != cJSON_GetArraySize(expected))
        return fail(run, "there are %zu", count);
    for (size_t i = 0; i < count; i++) {
        const char *name = cJSON_GetArrayItem(expected, (int)i)->valuestring;
        if (!same_text(run, expected->string, names[i], name)) return false;
    }
    return true;
}

#define MOST 256

static size_t names_of(const struct skep_image *image, const char **names, size_t count,
                       const char *prefix) {
    const char *name;
    for (size_t i = 0; count < MOST && (name = skep_image_reference(image, i)); i++) {
        if (strncmp(name, prefix, strlen(prefix)) == 0) names[count++] = name;
    }
    return count;
}

static bool check_image(struct run *run, const struct skep_image *image, const cJSON *expect) {
    const char *names[MOST];
    const cJSON *key;
    bool good = true;
    cJSON *all = cJSON_Parse(skep_image_inspect(image));
    const cJSON *config = cJSON_GetObjectItem(all, "config");
    cJSON_ArrayForEach(key, expect) {
        if (is(key, "references")) {
            good = good && check_names(run, names, names_of(image, names, 0, ""), key);
        } else if (is(key, "os")) {
            const char *os = cJSON_GetStringValue(cJSON_GetObjectItem(config, "os"));
            good = good && same_text(run, "os", os ? os : "", key->valuestring);
        } else if (is(key, "cmd")) {
            const cJSON *inner = cJSON_GetObjectItem(config, "config");
            const cJSON *cmd = cJSON_GetObjectItem(inner, "Cmd");
            bool none = !cmd || cJSON_IsNull(cmd);
            good = good && ((cJSON_IsNull(key) && none) || cJSON_Compare(cmd, key, true) ||
                            fail(run, "cmd is another"));
        } else {
            good = fail(run, "an image has no %s", key->string);
        }
    }
    cJSON_Delete(all);
    return good;
}

static bool check_list(struct run *run, const struct skep_image_list *list, const cJSON *expect) {
    const char *names[MOST], *prefix = "";
    const cJSON *key;
    size_t count = 0;
    cJSON_ArrayForEach(key, expect) {
        if (is(key, "prefix")) prefix = key->valuestring;
        else if (!is(key, "references")) return fail(run, "a list has no %s", key->string);
    }
    for (size_t i = 0; i < skep_image_list_length(list); i++)
        count = names_of(skep_image_list_at(list, i), names, count, prefix);
    return check_names(run, names, count, cJSON_GetObjectItem(expect, "references"));
}

static bool check_error(struct run *run, const cJSON *expect) {
    const char *message = skep_error_message(run->error);
    const cJSON *key;
    cJSON_ArrayForEach(key, expect) {
        if (is(key, "kind")) {
            if (!same_text(run, "kind", skep_error_name(run->error), key->valuestring)) return false;
        } else if (is(key, "message")) {
            if (!same_text(run, "message", message, key->valuestring)) return false;
        } else if (is(key, "message_starts")) {
            if (strncmp(message, key->valuestring, strlen(key->valuestring)) != 0)
                return fail(run, "the message is \"%s\"", message);
        } else {
            return fail(run, "an error has no %s", key->string);
        }
    }
    return true;
}

/* Steps: each is false where the case fails, or with an error of skep's in run->error. */

static bool step_run(struct run *run, const cJSON *value, const cJSON *expect) {
    struct skep_command *command = make_command(run, value);
    if (!command) return false;
    int code = skep_command_run(command, &run->output, &run->error);
    skep_command_free(command);
    return code == SKEP_OK && (!expect || check_end(run, skep_output_status(run->output), expect));
}

static bool step_spawn(struct run *run, const cJSON *value) {
    struct skep_command *command = make_command(run, value);
    struct skep_child *child;
    if (!command) return false;
    skep_command_set_stdin(command, SKEP_STDIO_PIPED);
    skep_command_set_stdout(command, SKEP_STDIO_PIPED);
    skep_command_set_stderr(command, SKEP_STDIO_PIPED);
    int code = skep_command_spawn(command, &child, &run->error);
    skep_command_free(command);
    if (code != SKEP_OK) return false;
    skep_child_free(run->child);
    run->child = child;
    return true;
}

/* Reads a line, or all there is. */
static bool step_read(struct run *run, int fd, bool line, const cJSON *value) {
    char text[65536];
    size_t length = 0;
    ssize_t count;
    while (length + 1 < sizeof text && (count = read(fd, text + length, 1)) > 0) {
        if (line && text[length] == '\n') break;
        length++;
    }
    text[length] = 0;
    return same_text(run, line ? "line" : "stream", text, value->valuestring);
}

static bool step_image(struct run *run, int code, struct skep_image *image, const cJSON *expect) {
    if (code != SKEP_OK) return false;
    bool good = !expect || check_image(run, image, expect);
    skep_image_free(image);
    return good;
}

static bool step_list(struct run *run, const cJSON *expect) {
    struct skep_image_list *list;
    if (skep_engine_list_images(run->engine, &list, &run->error) != SKEP_OK) return false;
    bool good = !expect || check_list(run, list, expect);
    skep_image_list_free(list);
    return good;
}

static const char *field(struct run *run, const cJSON *value, const char *name, int fields) {
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(value, name));
    if (!text || cJSON_GetArraySize(value) != fields) fail(run, "a field is wrong: %s", name);
    return text ? text : "";
}

/* The value of the only key that is expected, which is `name`. */
static const cJSON *only(struct run *run, const cJSON *expect, const char *name) {
    const cJSON *value = cJSON_GetObjectItem(expect, name);
    if (!value || cJSON_GetArraySize(expect) != 1) fail(run, "%s is expected alone", name);
    return value;
}

/* Whether all keys of `json` are among `names`, which ends in NULL. */
static bool known(struct run *run, const cJSON *json, const char *const *names) {
    const cJSON *key;
    cJSON_ArrayForEach(key, json) {
        const char *const *name = names;
        while (*name && !is(key, *name)) name++;
        if (!*name) return fail(run, "there is no key %s", key->string);
    }
    return true;
}

static bool same_number(struct run *run, const char *what, uint64_t found, const cJSON *expected) {
    const cJSON *number = cJSON_GetObjectItem(expected, what);
    if (!number || (double)found != number->valuedouble)
        return fail(run, "%s is %llu", what, (unsigned long long)found);
    return true;
}

/* Images, their files, and what is made of them */

static struct skep_image *find(struct run *run, const char *name) {
    struct skep_image *image = NULL;
    skep_engine_find_image(run->engine, name, &image, &run->error);
    return image;
}

static bool step_save(struct run *run, const cJSON *value) {
    const char *to = field(run, value, "to", 3), *format = field(run, value, "format", 3);
    const char *names[MOST] = {NULL};
    const cJSON *name;
    size_t count = 0;
    cJSON_ArrayForEach(name, cJSON_GetObjectItem(value, "images")) names[count++] = name->valuestring;
    int form = strcmp(format, "oci") == 0 ? SKEP_ARCHIVE_OCI : SKEP_ARCHIVE_DOCKER;
    if (form == SKEP_ARCHIVE_DOCKER && !same_text(run, "format", "docker", format)) return false;
    return !skep_engine_save_images(run->engine, names, to, form, &run->error);
}

static bool step_image_export(struct run *run, const cJSON *value) {
    const char *to = field(run, value, "to", 2);
    struct skep_image *image = find(run, field(run, value, "image", 2));
    if (!image) return false;
    bool good = !skep_image_export(image, to, &run->error);
    skep_image_free(image);
    return good;
}

static bool check_changes(struct run *run, int code, struct skep_change_list *list, const cJSON *expect) {
    if (code != SKEP_OK) return false;
    const cJSON *expected = expect ? only(run, expect, "changes") : NULL;
    size_t count = skep_change_list_length(list);
    bool good = true;
    if (expected && (int)count != cJSON_GetArraySize(expected)) good = fail(run, "%zu changes", count);
    for (size_t i = 0; good && expected && i < count; i++) {
        const struct skep_change *change = skep_change_list_at(list, i);
        char text[4200], letter = "?ACD"[skep_change_what(change)];
        snprintf(text, sizeof text, "%c %s", letter, skep_change_path(change));
        good = same_text(run, "change", text, cJSON_GetArrayItem(expected, (int)i)->valuestring);
    }
    skep_change_list_free(list);
    return good;
}

static bool step_image_diff(struct run *run, const cJSON *value, const cJSON *expect) {
    struct skep_image *image = find(run, field(run, value, "image", 2)), *base = NULL;
    struct skep_change_list *list = NULL;
    int code = SKEP_OTHER;
    if (image && (base = find(run, field(run, value, "base", 2))))
        code = skep_image_diff(image, base, &list, &run->error);
    skep_image_free(image);
    skep_image_free(base);
    return check_changes(run, code, list, expect);
}

static bool step_history(struct run *run, const char *name, const cJSON *expect) {
    struct skep_image *image = find(run, name);
    const cJSON *expected = only(run, expect, "history"), *text;
    bool good = image != NULL;
    size_t index = 0;
    if (good && (int)skep_image_history_length(image) != cJSON_GetArraySize(expected))
        good = fail(run, "the history has %zu steps", skep_image_history_length(image));
    cJSON_ArrayForEach(text, expected) {
        if (!good) break;
        const struct skep_step *step = skep_image_history_at(image, index++);
        const char *said = skep_step_created_by(step);
        if (!said || !*said) said = skep_step_comment(step);
        good = same_text(run, "history", said ? said : "", text->valuestring);
    }
    skep_image_free(image);
    return good;
}

static struct skep_commit *make_commit(struct run *run, const cJSON *value) {
    struct skep_commit *commit;
    const cJSON *key;
    if (skep_commit_new(&commit, &run->error) != SKEP_OK) return NULL;
    cJSON_ArrayForEach(key, value) {
        if (is(key, "as")) skep_commit_set_reference(commit, key->valuestring);
        else if (is(key, "author")) skep_commit_set_author(commit, key->valuestring);
        else if (is(key, "comment")) skep_commit_set_comment(commit, key->valuestring);
        else if (is(key, "created_by")) skep_commit_set_created_by(commit, key->valuestring);
        else if (is(key, "time")) skep_commit_set_time_s(commit, (int64_t)key->valuedouble);
        else if (is(key, "max_size")) skep_commit_set_max_size(commit, (uint64_t)key->valuedouble);
        else if (!is(key, "image")) fail(run, "a commit has no %s", key->string);
    }
    return commit;
}

static bool step_squash(struct run *run, const cJSON *value, const cJSON *expect) {
    struct skep_image *made = NULL, *image = NULL;
    const char *name = cJSON_GetStringValue(cJSON_GetObjectItem(value, "image"));
    struct skep_commit *commit = make_commit(run, value);
    int code = SKEP_OTHER;
    if (!name) fail(run, "no image");
    else if (commit && (image = find(run, name)))
        code = skep_image_squash(image, commit, &made, &run->error);
    skep_commit_free(commit);
    skep_image_free(image);
    return step_image(run, code, made, expect);
}

static bool step_prune(struct run *run, const char *what, const cJSON *expect) {
    static const char *const names[] = {"files", "nameless", "unused"};
    struct skep_pruned *pruned;
    int number = 0;
    while (number < 3 && strcmp(what, names[number]) != 0) number++;
    if (skep_engine_prune_images(run->engine, number, &pruned, &run->error) != SKEP_OK) return false;
    const cJSON *expected = only(run, expect, "pruned");
    bool good = known(run, expected, (const char *const[]){"images", "layers", NULL}) &&
                same_number(run, "images", skep_pruned_length(pruned), expected) &&
                same_number(run, "layers", skep_pruned_layers(pruned), expected);
    skep_pruned_free(pruned);
    return good;
}

static bool step_disk_usage(struct run *run, const cJSON *expect) {
    struct skep_disk_usage *usage;
    uint64_t in_use = 0;
    if (skep_engine_disk_usage(run->engine, &usage, &run->error) != SKEP_OK) return false;
    const cJSON *expected = only(run, expect, "disk");
    for (size_t i = 0; i < skep_disk_usage_length(usage); i++)
        in_use += skep_image_usage_in_use(skep_disk_usage_at(usage, i));
    bool good = known(run, expected, (const char *const[]){"images", "in_use", "unneeded", NULL}) &&
                same_number(run, "images", skep_disk_usage_length(usage), expected) &&
                same_number(run, "in_use", in_use, expected) &&
                same_number(run, "unneeded", skep_disk_usage_unneeded(usage), expected);
    skep_disk_usage_free(usage);
    return good;
}

/* Registries */

static void set_ca(struct run *run, struct skep_registries *registries, const char *name,
                   const char *path) {
    char pem[65536];
    FILE *file = fopen(path, "re");
    if (!file) {
        fail(run, "%s: %s", path, strerror(errno));
        return;
    }
    size_t length = fread(pem, 1, sizeof pem, file);
    fclose(file);
    skep_registries_set_certificate_authority(registries, name, pem, length);
}

static void set_registry(struct run *run, struct skep_registries *registries, const cJSON *one) {
    const char *name = cJSON_GetStringValue(cJSON_GetObjectItem(one, "registry"));
    const char *password = cJSON_GetStringValue(cJSON_GetObjectItem(one, "password"));
    const cJSON *key, *mirror;
    cJSON_ArrayForEach(key, one) {
        if (is(key, "plain_http") && cJSON_IsTrue(key)) {
            skep_registries_allow_plain_http(registries, name);
        } else if (is(key, "mirrors")) {
            cJSON_ArrayForEach(mirror, key)
                skep_registries_add_mirror(registries, name, mirror->valuestring);
        } else if (is(key, "user")) {
            skep_registries_set_password(registries, name, key->valuestring, password);
        } else if (is(key, "ca")) {
            set_ca(run, registries, name, key->valuestring);
        } else if (!is(key, "registry") && !is(key, "password")) {
            fail(run, "a registry has no %s", key->string);
        }
    }
}

static struct skep_registries *make_registries(struct run *run, const cJSON *value) {
    struct skep_registries *registries;
    const cJSON *one;
    if (skep_registries_new(&registries, &run->error) != SKEP_OK) return NULL;
    cJSON_ArrayForEach(one, cJSON_GetObjectItem(value, "registries"))
        set_registry(run, registries, one);
    return registries;
}

/* The last report of each layer. */
struct told {
    struct {
        char layer[80];
        uint64_t total, fetched;
        bool unpacked;
    } last[16];
    size_t count;
    atomic_int inside;
    bool at_once;
};

static void tell(void *user, const struct skep_pull_progress *progress) {
    struct told *told = user;
    size_t i = 0;
    if (told->inside++) told->at_once = true;
    while (i < told->count && strcmp(told->last[i].layer, progress->layer) != 0) i++;
    if (i < 16) {
        snprintf(told->last[i].layer, sizeof told->last[i].layer, "%s", progress->layer);
        told->last[i].total = progress->total;
        told->last[i].fetched = progress->fetched;
        told->last[i].unpacked = progress->unpacked;
        if (i == told->count) told->count++;
    }
    told->inside--;
}

/* Whether the last reports say that all layers of the image are here. */
static bool check_told(struct run *run, const struct told *told, const struct skep_image *image,
                       bool unpacked) {
    cJSON *all = cJSON_Parse(skep_image_inspect(image));
    const cJSON *layers = cJSON_GetObjectItem(cJSON_GetObjectItem(all, "manifest"), "layers"), *layer;
    bool good = !told->at_once && cJSON_GetArraySize(layers) > 0 &&
                told->count <= (size_t)cJSON_GetArraySize(layers);
    cJSON_ArrayForEach(layer, layers) {
        const char *digest = cJSON_GetStringValue(cJSON_GetObjectItem(layer, "digest"));
        double size = cJSON_GetNumberValue(cJSON_GetObjectItem(layer, "size"));
        size_t i = 0;
        while (i < told->count && strcmp(told->last[i].layer, digest) != 0) i++;
        good = good && i < told->count && (double)told->last[i].total == size &&
               (double)told->last[i].fetched == size && told->last[i].unpacked == unpacked;
    }
    cJSON_Delete(all);
    return good || fail(run, "it was not told of all layers, or of others");
}

/* Says `require` of `prefix`, which may be NULL. */
static void set_requirement(struct run *run, struct skep_policy *policy, const char *prefix,
                            const cJSON *require) {
    static const char *const names[] = {"signed_tag", "exact", "repository"};
    const cJSON *keys = cJSON_GetObjectItem(require, "keys"), *pem;
    const cJSON *at_least = cJSON_GetObjectItem(require, "at_least");
    const cJSON *identity = cJSON_GetObjectItem(require, "identity");
    const char *text = cJSON_GetStringValue(require), *pems[MOST] = {NULL}, *name = NULL;
    size_t count = 0;
    int number = SKEP_IDENTITY_SIGNED_TAG;
    if (text && strcmp(text, "accept") == 0) {
        skep_policy_accept(policy, prefix);
    } else if (text && strcmp(text, "reject") == 0) {
        skep_policy_reject(policy, prefix);
    } else if (!keys || !known(run, require, (const char *const[]){"keys", "at_least", "identity", NULL})) {
        fail(run, "a requirement is wrong");
    } else {
        cJSON_ArrayForEach(pem, keys) pems[count++] = pem->valuestring;
        if (cJSON_IsObject(identity)) {
            number = SKEP_IDENTITY_NAMED;
            name = field(run, identity, "named", 1);
        } else if (identity) {
            while (number < 3 && strcmp(identity->valuestring, names[number]) != 0) number++;
        }
        skep_policy_require(policy, prefix, pems, at_least ? (size_t)at_least->valuedouble : 1, number,
                            name);
    }
}

static void set_policy(struct run *run, struct skep_pull_options *options, const cJSON *value) {
    const cJSON *one;
    struct skep_policy *policy;
    known(run, value, (const char *const[]){"default", "prefixes", NULL});
    if (skep_policy_new(&policy, &run->error) != SKEP_OK) return;
    set_requirement(run, policy, NULL, cJSON_GetObjectItem(value, "default"));
    cJSON_ArrayForEach(one, cJSON_GetObjectItem(value, "prefixes"))
        set_requirement(run, policy, field(run, one, "prefix", 2), cJSON_GetObjectItem(one, "require"));
    skep_pull_options_set_policy(options, policy);
    skep_policy_free(policy);
}

/* The run's engine, or one with the bound that `value` has, to be freed. */
static struct skep_engine *bounded(struct run *run, const cJSON *value) {
    const cJSON *max_size = cJSON_GetObjectItem(value, "max_size");
    struct skep_engine *made = NULL;
    if (!max_size) return run->engine;
    skep_engine_max_size(run->engine, (uint64_t)max_size->valuedouble, &made, &run->error);
    return made;
}

static bool step_pull(struct run *run, const cJSON *value, const cJSON *expect) {
    struct skep_registries *registries = make_registries(run, value);
    struct skep_pull_options *options;
    struct skep_image *image = NULL;
    struct told told;
    const char *reference = "";
    bool progress = false, unpack = true;
    const cJSON *key;
    memset(&told, 0, sizeof told);
    if (!registries || skep_pull_options_new(&options, &run->error)) return false;
    skep_pull_options_set_registries(options, registries);
    skep_registries_free(registries);
    cJSON_ArrayForEach(key, value) {
        if (is(key, "reference")) {
            reference = key->valuestring;
        } else if (is(key, "platform")) {
            skep_pull_options_set_platform(options, key->valuestring);
        } else if (is(key, "parallel")) {
            skep_pull_options_set_parallel(options, (size_t)key->valuedouble);
        } else if (is(key, "unpack")) {
            unpack = cJSON_IsTrue(key);
            skep_pull_options_set_unpack(options, unpack);
        } else if (is(key, "progress")) {
            progress = cJSON_IsTrue(key);
            if (progress) skep_pull_options_set_progress(options, tell, &told);
        } else if (is(key, "policy")) {
            set_policy(run, options, key);
        } else if (!is(key, "registries") && !is(key, "max_size")) {
            fail(run, "a pull has no %s", key->string);
        }
    }
    struct skep_engine *through = bounded(run, value);
    int code = skep_engine_pull_image(through, reference, options, &image, &run->error);
    if (through != run->engine) skep_engine_free(through);
    skep_pull_options_free(options);
    if (code == SKEP_OK && progress) check_told(run, &told, image, unpack);
    return step_image(run, code, image, expect);
}

/* The digest that `reference` has at its registry. */
static bool check_resolved(struct run *run, const struct skep_registries *registries,
                           const char *reference, const char *digest) {
    struct skep_descriptor *found;
    if (skep_registries_resolve(registries, reference, &found, &run->error) != SKEP_OK) return false;
    bool good = !digest || same_text(run, "digest", skep_descriptor_digest(found), digest);
    skep_descriptor_free(found);
    return good;
}

static bool push(struct run *run, const cJSON *value, const struct skep_registries *registries,
                 const struct skep_image *image) {
    struct skep_push_options *options;
    const char *as = "";
    const cJSON *key, *from;
    if (skep_push_options_new(&options, &run->error) != SKEP_OK) return false;
    skep_push_options_set_registries(options, registries);
    cJSON_ArrayForEach(key, value) {
        if (is(key, "as")) {
            as = key->valuestring;
        } else if (is(key, "parallel")) {
            skep_push_options_set_parallel(options, (size_t)key->valuedouble);
        } else if (is(key, "chunk")) {
            skep_push_options_set_chunk(options, (uint64_t)key->valuedouble);
        } else if (is(key, "mount_from")) {
            cJSON_ArrayForEach(from, key)
                skep_push_options_add_mount_from(options, from->valuestring);
        } else if (!is(key, "registries") && !is(key, "image")) {
            fail(run, "a push has no %s", key->string);
        }
    }
    int code = skep_engine_push_image(run->engine, image, as, options, &run->error);
    skep_push_options_free(options);
    /* What comes of it is there. */
    return code == SKEP_OK && check_resolved(run, registries, as, skep_image_digest(image));
}

static bool step_push(struct run *run, const cJSON *value) {
    const char *name = cJSON_GetStringValue(cJSON_GetObjectItem(value, "image"));
    struct skep_registries *registries = make_registries(run, value);
    struct skep_image *image = name ? find(run, name) : NULL;
    bool good = registries && image && push(run, value, registries, image);
    skep_image_free(image);
    skep_registries_free(registries);
    return good;
}

static bool step_tags(struct run *run, const struct skep_registries *registries,
                      const char *repository, const cJSON *expect) {
    struct skep_text_list *tags;
    const char *names[MOST];
    size_t count = 0;
    if (skep_registries_tags(registries, repository, &tags, &run->error) != SKEP_OK) return false;
    for (; count < MOST && count < skep_text_list_length(tags); count++)
        names[count] = skep_text_list_at(tags, count);
    bool good = !expect || check_names(run, names, count, only(run, expect, "tags"));
    skep_text_list_free(tags);
    return good;
}

static bool step_referrers(struct run *run, const struct skep_registries *registries,
                           const char *reference, const cJSON *expect) {
    struct skep_descriptor_list *found;
    if (skep_registries_referrers(registries, reference, NULL, &found, &run->error)) return false;
    bool good = !expect || (only(run, expect, "referrers") &&
                            same_number(run, "referrers", skep_descriptor_list_length(found), expect));
    skep_descriptor_list_free(found);
    return good;
}

static bool step_resolve(struct run *run, const struct skep_registries *registries,
                         const char *reference, const cJSON *expect) {
    const cJSON *of = expect ? only(run, expect, "digest_of") : NULL;
    struct skep_image *image = of ? find(run, of->valuestring) : NULL;
    if (of && !image) return false;
    bool good = check_resolved(run, registries, reference, of ? skep_image_digest(image) : NULL);
    skep_image_free(image);
    return good;
}

/* A question that needs no store. */
static bool step_registry(struct run *run, const cJSON *verb, const cJSON *expect) {
    struct skep_registries *registries = make_registries(run, verb);
    bool good = false;
    if (!registries) return false;
    if (is(verb, "registry_ping")) {
        const cJSON *name = cJSON_GetObjectItem(verb, "registry");
        good = known(run, verb, (const char *const[]){"registry", "registries", NULL}) &&
               !skep_registries_ping(registries, cJSON_GetStringValue(name), &run->error);
    } else if (is(verb, "registry_tags")) {
        const cJSON *name = cJSON_GetObjectItem(verb, "repository");
        good = known(run, verb, (const char *const[]){"repository", "registries", NULL}) &&
               step_tags(run, registries, cJSON_GetStringValue(name), expect);
    } else if (known(run, verb, (const char *const[]){"reference", "registries", NULL})) {
        const char *name = cJSON_GetStringValue(cJSON_GetObjectItem(verb, "reference"));
        good = is(verb, "registry_resolve")     ? step_resolve(run, registries, name, expect)
               : is(verb, "registry_referrers") ? step_referrers(run, registries, name, expect)
                                                : fail(run, "there is no verb %s", verb->string);
    }
    skep_registries_free(registries);
    return good;
}

static bool step_host_write(struct run *run, const cJSON *value) {
    const char *content = field(run, value, "content", 2);
    FILE *file = fopen(field(run, value, "path", 2), "we");
    if (!file) return fail(run, "cannot write: %s", strerror(errno));
    fputs(content, file);
    fclose(file);
    return true;
}

static bool step_host_read(struct run *run, const cJSON *value, const cJSON *expect) {
    char text[65536];
    FILE *file = fopen(value->valuestring, "re");
    if (!file) return fail(run, "cannot read: %s", strerror(errno));
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    return same_text(run, "content", text, field(run, expect, "content", 1));
}

static bool step_open(struct run *run, const cJSON *value) {
    struct skep_engine *other;
    if (skep_engine_open(value->valuestring, &other, &run->error) != SKEP_OK) return false;
    skep_engine_free(other);
    return true;
}

/* A step that waits for the end. */
static bool step_wait(struct run *run, const cJSON *verb, const cJSON *expect) {
    struct skep_exit_status status;
    int64_t number = (int64_t)verb->valuedouble;
    int code = is(verb, "wait") ? skep_child_wait(run->child, &status, &run->error)
               : is(verb, "try_wait") ? skep_child_try_wait(run->child, &status, &run->error)
               : is(verb, "stop_ms")
                   ? skep_child_stop(run->child, number, &status, &run->error)
                   : skep_child_wait_timeout_ms(run->child, number, &status, &run->error);
    return code == SKEP_OK && (!expect || check_end(run, &status, expect));
}

static bool step_usage(struct run *run, const cJSON *expect) {
    struct skep_usage usage;
    const cJSON *key;
    if (skep_child_usage(run->child, &usage, &run->error) != SKEP_OK) return false;
    cJSON_ArrayForEach(key, expect) {
        if (!is(key, "usage")) return fail(run, "a usage has no %s", key->string);
        if (!check_usage(run, &usage, key)) return false;
    }
    return true;
}

static bool step_commit(struct run *run, const cJSON *value, const cJSON *expect) {
    struct skep_commit *commit = make_commit(run, value);
    struct skep_image *made = NULL;
    if (!commit) return false;
    int code = skep_child_commit(run->child, commit, &made, &run->error);
    skep_commit_free(commit);
    return step_image(run, code, made, expect);
}

static bool step_child(struct run *run, const cJSON *verb, const cJSON *expect) {
    const char *text = verb->valuestring;
    if (!run->child) return fail(run, "%s, and nothing was spawned", verb->string);
    if (is(verb, "write"))
        return !skep_child_write_stdin(run->child, text, strlen(text), NULL, &run->error);
    if (is(verb, "close_stdin")) {
        skep_child_close_stdin(run->child);
        return true;
    }
    if (is(verb, "read_line")) return step_read(run, skep_child_stdout_fd(run->child), true, verb);
    if (is(verb, "read_stdout"))
        return step_read(run, skep_child_stdout_fd(run->child), false, verb);
    if (is(verb, "read_stderr"))
        return step_read(run, skep_child_stderr_fd(run->child), false, verb);
    if (is(verb, "signal"))
        return !skep_child_signal(run->child, (int)verb->valuedouble, &run->error);
    if (is(verb, "kill")) return !skep_child_kill(run->child, &run->error);
    if (is(verb, "stop_ms") || is(verb, "wait") || is(verb, "wait_timeout_ms") ||
        is(verb, "try_wait"))
        return step_wait(run, verb, expect);
    if (is(verb, "usage")) return step_usage(run, expect);
    if (is(verb, "commit")) return step_commit(run, verb, expect);
    if (is(verb, "diff")) {
        struct skep_change_list *list = NULL;
        int code = skep_child_diff(run->child, &list, &run->error);
        return check_changes(run, code, list, expect);
    }
    if (is(verb, "export")) return !skep_child_export(run->child, text, &run->error);
    if (is(verb, "drop")) {
        skep_child_free(run->child);
        run->child = NULL;
        return true;
    }
    return fail(run, "there is no verb %s", verb->string);
}

static bool perform(struct run *run, const cJSON *verb, const cJSON *expect) {
    struct skep_image *image = NULL;
    const char *text = verb->valuestring;
    int code;
    if (is(verb, "run")) return step_run(run, verb, expect);
    if (is(verb, "spawn")) return step_spawn(run, verb);
    if (is(verb, "open")) return step_open(run, verb);
    if (is(verb, "host_write")) return step_host_write(run, verb);
    if (is(verb, "host_read")) return step_host_read(run, verb, expect);
    if (is(verb, "image_list")) return step_list(run, expect);
    if (is(verb, "image_save")) return step_save(run, verb);
    if (is(verb, "image_export")) return step_image_export(run, verb);
    if (is(verb, "image_diff")) return step_image_diff(run, verb, expect);
    if (is(verb, "image_history")) return step_history(run, text, expect);
    if (is(verb, "image_squash")) return step_squash(run, verb, expect);
    if (is(verb, "image_pull")) return step_pull(run, verb, expect);
    if (is(verb, "image_push")) return step_push(run, verb);
    if (is(verb, "prune")) return step_prune(run, text, expect);
    if (is(verb, "disk_usage")) return step_disk_usage(run, expect);
    if (strncmp(verb->string, "registry_", 9) == 0) return step_registry(run, verb, expect);
    if (is(verb, "image_remove")) return !skep_engine_remove_image(run->engine, text, &run->error);
    if (is(verb, "image_tag")) {
        const char *name = field(run, verb, "image", 2);
        return !skep_engine_tag_image(run->engine, name, field(run, verb, "as", 2), &run->error);
    }
    if (is(verb, "image_import")) {
        int fields = cJSON_GetObjectItem(verb, "max_size") ? 3 : 2;
        const char *tar = field(run, verb, "tar", fields), *as = field(run, verb, "as", fields);
        struct skep_engine *through = bounded(run, verb);
        code = skep_engine_import_image(through, tar, as, &image, &run->error);
        if (through != run->engine) skep_engine_free(through);
    } else if (is(verb, "image_load")) {
        code = skep_engine_load_image(run->engine, text, &image, &run->error);
    } else if (is(verb, "image_find")) {
        code = skep_engine_find_image(run->engine, text, &image, &run->error);
    } else {
        return step_child(run, verb, expect);
    }
    return step_image(run, code, image, expect);
}

static bool step(struct run *run, cJSON *step) {
    const cJSON *verb = NULL, *expect = NULL, *expected = NULL, *key;
    replace(run, step);
    cJSON_ArrayForEach(key, step) {
        if (is(key, "expect")) expect = key;
        else if (is(key, "error")) expected = key;
        else if (verb) return fail(run, "two verbs: %s and %s", verb->string, key->string);
        else verb = key;
    }
    if (!verb) return fail(run, "no verb");
    bool good = perform(run, verb, expect);
    if (run->error && expected && !run->failure[0]) {
        good = check_error(run, expected);
    } else if (run->error) {
        good = fail(run, "%s", skep_error_message(run->error));
    } else if (expected) {
        good = fail(run, "no error");
    } else if (!good) {
        good = fail(run, "it failed");
    }
    skep_error_free(run->error);
    skep_output_free(run->output);
    run->error = NULL;
    run->output = NULL;
    return good && !run->failure[0];
}

/* Carries out a copy of `steps`, for the placeholders are replaced in it. */
static bool carry_out(struct skep_engine *engine, const cJSON *steps, size_t number, char *failure,
                      size_t size) {
    struct run run;
    cJSON *copy = cJSON_Duplicate(steps, true), *item;
    int index = 0;
    bool good = true;
    memset(&run, 0, sizeof run);
    run.engine = engine;
    snprintf(run.number, sizeof run.number, "%zu", number);
    snprintf(run.directory, sizeof run.directory, "%s/case-XXXXXX", temporary_directory());
    if (!mkdtemp(run.directory)) good = fail(&run, "%s: %s", run.directory, strerror(errno));
    cJSON_ArrayForEach(item, copy) {
        index++;
        if (good) good = step(&run, item);
        if (!good) break;
    }
    if (!good) snprintf(failure, size, "number %zu, step %d: %s", number, index, run.failure);
    skep_child_free(run.child);
    cJSON_Delete(copy);
    return good;
}

/* Many at once: each thread takes the next number. */
struct many {
    struct skep_engine *engine;
    const cJSON *steps;
    size_t containers;
    atomic_size_t next;
    atomic_int bad;
    char failure[8300];
};

static void *work(void *argument) {
    struct many *many = argument;
    char failure[8300];
    size_t number;
    while ((number = many->next++) < many->containers) {
        if (!carry_out(many->engine, many->steps, number, failure, sizeof failure)) {
            if (!many->bad++) memcpy(many->failure, failure, sizeof failure);
            break;
        }
    }
    return NULL;
}

/* An engine on a new store that has the image. */
static struct skep_engine *open_store(void) {
    char path[300];
    struct skep_engine *engine;
    snprintf(path, sizeof path, "%s/store-XXXXXX", temporary_directory());
    NEED(mkdtemp(path));
    OK(skep_engine_open(path, &engine, &error));
    skep_image_free(import_rootfs(engine, IMAGE));
    return engine;
}

static bool carry_out_at_once(struct skep_engine *engine, const cJSON *steps,
                              const cJSON *concurrent, char *failure, size_t size) {
    struct many many = {.engine = engine, .steps = steps};
    pthread_t threads[64];
    int count = (int)cJSON_GetNumberValue(cJSON_GetObjectItem(concurrent, "threads"));
    many.containers = (size_t)cJSON_GetNumberValue(cJSON_GetObjectItem(concurrent, "containers"));
    if (count < 1 || count > 64 || many.containers < 1 || cJSON_GetArraySize(concurrent) != 2) {
        snprintf(failure, size, "concurrent is wrong");
        return false;
    }
    for (int i = 0; i < count; i++) NEED(pthread_create(&threads[i], NULL, work, &many) == 0);
    for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
    snprintf(failure, size, "%s", many.failure);
    return !many.bad;
}

static bool carry_out_case(struct skep_engine *engine, const cJSON *json, char *failure,
                           size_t size) {
    const cJSON *steps = NULL, *concurrent = NULL, *key;
    struct skep_engine *own = NULL;
    cJSON_ArrayForEach(key, json) {
        if (is(key, "steps")) steps = key;
        else if (is(key, "concurrent")) concurrent = key;
        else if (is(key, "own_store") && cJSON_IsTrue(key)) own = own ? own : open_store();
        else if (!is(key, "name") && !is(key, "why")) {
            snprintf(failure, size, "a case has no %s", key->string);
            return false;
        }
    }
    if (own) engine = own;
    bool good = concurrent ? carry_out_at_once(engine, steps, concurrent, failure, size)
                           : carry_out(engine, steps, 0, failure, size);
    skep_engine_free(own);
    return good;
}

static char *read_file(const char *path) {
    struct stat stat;
    FILE *file = fopen(path, "re");
    NEED(file && fstat(fileno(file), &stat) == 0);
    char *text = calloc(1, (size_t)stat.st_size + 1);
    NEED(fread(text, 1, (size_t)stat.st_size, file) == (size_t)stat.st_size);
    fclose(file);
    return text;
}

static void carry_out_file(struct skep_engine *engine, const char *path) {
    static char failure[8300];
    char *text = read_file(path);
    cJSON *cases = cJSON_Parse(text), *json;
    NEED(cJSON_IsArray(cases));
    free(text);
    cJSON_ArrayForEach(json, cases) {
        const char *name = cJSON_GetStringValue(cJSON_GetObjectItem(json, "name"));
        bool good = carry_out_case(engine, json, failure, sizeof failure);
        printf("%s %s\n", good ? "ok" : "FAILED", name ? name : "(a case without a name)");
        if (!good) printf("    %s\n", failure);
        fflush(stdout);
        if (good) passed++;
        else failed++;
    }
    cJSON_Delete(cases);
}

int main(int argc, char **argv) {
    struct skep_engine *engine = open_store();
    for (int i = 1; i < argc; i++) carry_out_file(engine, argv[i]);
    skep_engine_free(engine);
    return closing_line();
}
