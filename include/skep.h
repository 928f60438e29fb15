/*
 * skep: a container engine that lives inside your program. Its C interface.
 *
 * This file is generated from bindings-c/src by cbindgen; do not edit it.
 *
 *     struct skep_engine *engine;
 *     struct skep_command *command;
 *     struct skep_output *output;
 *     struct skep_error *error;
 *
 *     if (skep_engine_open(NULL, &engine, &error) != SKEP_OK) ...
 *     if (skep_command_new_host(engine, &command, &error) != SKEP_OK) ...
 *     skep_command_add_arg(command, "hostname");
 *     skep_command_set_memory(command, 256u << 20);
 *     if (skep_command_run(command, &output, &error) != SKEP_OK) ...
 *     printf("%s", skep_output_stdout(output).data);
 *
 * Results. What can fail returns an int: SKEP_OK, that is 0, or another of `enum skep_code`, and
 * takes `error` as its last parameter: where the error is written, or NULL. An error is written
 * only by a failure, and is then yours to skep_error_free(); all other outputs are written only by a
 * success. They come last, before `error`, and may not be NULL unless it says so. Functions that set
 * an option of a command return a code too, and keep the error for its start. What cannot fail
 * returns its value.
 *
 * NULL. An object, string or output that is NULL and should not be is SKEP_INVALID_INPUT, never a
 * crash; the functions that return a value say what they return for it. Freeing NULL does nothing.
 *
 * Ownership. What a function writes to a `struct skep_... **` is yours, to be given to the function
 * of that type which ends in _free, once. Objects may be freed in any order. Arguments are borrowed
 * for the call only: strings and bytes are copied. What is returned by a function belongs to the
 * object it came from, is valid as long as that, and is never to be freed.
 *
 * Strings end in a NUL byte and are UTF-8, but for paths of the host, which may be any bytes. Bytes
 * are a pointer and a length. Sizes are in bytes; times are in the unit that their name ends in.
 *
 * Threads. Where a function takes an object as const, any number of threads may call it at once with
 * the same object; where not, one at a time, which need not be the one that made the object. So
 * engines, images, lists, children, outputs and errors are for any thread; commands, and collectors
 * while they advance, for one at a time. An object is freed when nobody uses it any more.
 *
 * Your program is left alone: no signal handler, no SIGCHLD, nothing for your waitpid(-1), no
 * thread, no output, no file descriptor without close-on-exec, and nothing to be set up or torn
 * down. In a forked copy of it, starting containers and using those of the original fails with
 * SKEP_INVALID_STATE, and freeing is fine. Containers end with their objects, and with your program,
 * even if that is killed.
 *
 * Containers need root; limits need control groups, v1 or v2.
 */


#ifndef SKEP_H
#define SKEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * The version of the interface that this header describes, the number in `libskep.so.0`. It
 * changes when a program that was compiled before would not work any more: functions, numbers and
 * fields are added without that, and never taken away or given another meaning.
 */
#define SKEP_ABI_VERSION 0

/**
 * For skep_command_set_rlimit(): no limit.
 */
#define SKEP_UNLIMITED UINT64_MAX

/**
 * What a number of skep_usage is where this kernel does not count it.
 */
#define SKEP_NOT_COUNTED UINT64_MAX

/**
 * What kind of failure an error is: what functions return.
 *
 * A number is never given another meaning, and later versions may have more of them.
 */
enum skep_code {
    /**
     * It was done.
     */
    SKEP_OK = 0,
    /**
     * The named thing (file, image, command, user) does not exist.
     */
    SKEP_NOT_FOUND = 1,
    /**
     * The named thing exists already.
     */
    SKEP_ALREADY_EXISTS = 2,
    /**
     * An argument is wrong; for example, it is NULL.
     */
    SKEP_INVALID_INPUT = 3,
    /**
     * Foreign bytes (image, archive, configuration) are malformed, truncated or hostile.
     */
    SKEP_INVALID_DATA = 4,
    /**
     * Bytes do not have the digest or the size they were announced with.
     */
    SKEP_DIGEST_MISMATCH = 5,
    /**
     * The kernel or a file's mode forbids it.
     */
    SKEP_PERMISSION_DENIED = 6,
    /**
     * This kernel, control group set-up or file system cannot do it.
     */
    SKEP_UNSUPPORTED = 7,
    /**
     * The command exists and cannot be executed.
     */
    SKEP_NOT_EXECUTABLE = 8,
    /**
     * The thing is in use, so it cannot be changed or removed now.
     */
    SKEP_IN_USE = 9,
    /**
     * The thing is not in a state that allows the operation.
     */
    SKEP_INVALID_STATE = 10,
    /**
     * A time limit of an operation passed. How a container ends is no error; see skep_exit_status.
     */
    SKEP_TIMED_OUT = 11,
    /**
     * Out of file descriptors, processes, memory or disk space.
     */
    SKEP_RESOURCE_EXHAUSTED = 12,
    /**
     * The process that held the engine's containers was killed, and they with it.
     */
    SKEP_KEEPER_LOST = 13,
    /**
     * Any other failure of a system call; see skep_error_errno().
     */
    SKEP_IO = 14,
    /**
     * A defect of skep. Its message asks you to report it; the objects may be used, or freed.
     */
    SKEP_PANIC = 15,
    /**
     * A kind of error that is newer than this interface; skep_error_name() tells its name.
     */
    SKEP_OTHER = 16,
    /**
     * The caller cancelled it.
     */
    SKEP_CANCELLED = 17,
};

/**
 * What a standard stream of a container is connected to.
 */
enum skep_stdio {
    /**
     * Your program's own stream.
     */
    SKEP_STDIO_INHERIT = 0,
    /**
     * /dev/null: reads nothing, takes everything.
     */
    SKEP_STDIO_NULL = 1,
    /**
     * A pipe, whose other end the child or the collector has.
     */
    SKEP_STDIO_PIPED = 2,
};

/**
 * Why a container's command ended. Later versions may have more reasons.
 */
enum skep_exit_reason {
    /**
     * It has not: a wait without a wait, or one whose time was over.
     */
    SKEP_REASON_RUNNING = 0,
    /**
     * It exited by itself.
     */
    SKEP_REASON_EXITED = 1,
    /**
     * A signal ended it.
     */
    SKEP_REASON_SIGNALED = 2,
    /**
     * The kernel killed it because the container's memory limit was reached.
     */
    SKEP_REASON_OOM_KILLED = 3,
    /**
     * The command's timeout passed, and everything in the container was killed.
     */
    SKEP_REASON_TIMED_OUT = 4,
};

/**
 * A running container. Freeing it kills the container and removes what it has written; so does the
 * end of your program, however it ends.
 *
 * Any number of threads may use it at once: one may wait while another signals. Only freeing it has
 * to be the last.
 */
struct skep_child;

/**
 * A running container whose input is being written and whose output is being read:
 * skep_command_run() in steps. For one thread at a time.
 *
 * Freeing it kills the container, as freeing a child does.
 */
struct skep_collector;

/**
 * A container to be started: what runs in it, and what it may use.
 *
 * Every option has a safe default: new namespaces, docker's capabilities, masks and seccomp filter,
 * no_new_privs, no network but loopback, no limits.
 *
 * For one thread at a time. It can be started again and again, and changed in between; each start
 * is a new container. Nothing of it is used by the containers it has started.
 *
 * The functions that set options return a code and may be called without looking at it: the first
 * that failed fails every later start, with its error.
 */
struct skep_command;

/**
 * A container engine inside your program, on a store of images.
 *
 * Any number of threads may use it at once. It starts no thread. Its first container starts a small
 * process, the keeper, which holds all of them and ends with the last object that was made from the
 * engine, or with your program, however that ends.
 */
struct skep_engine;

/**
 * Why a function failed. It reads "cannot OPERATION SUBJECT: CAUSE; FIX".
 *
 * Written by a function that fails to its parameter `error`, if that is not NULL, for you to
 * skep_error_free(). It never changes: any thread may read it.
 */
struct skep_error;

/**
 * An image of a store, as it was when it was found. It never changes: any thread may read it.
 */
struct skep_image;

/**
 * Several images. It never changes: any thread may read it.
 */
struct skep_image_list;

/**
 * How a container ended and all it has said. It never changes: any thread may read it.
 */
struct skep_output;

/**
 * What a whole container used; SKEP_NOT_COUNTED where this kernel does not count it.
 */
struct skep_usage {
    /**
     * The most memory at one time, in bytes, page cache included.
     */
    uint64_t memory_peak;
    /**
     * CPU time, in microseconds; the sum of the two below.
     */
    uint64_t cpu_total_us;
    /**
     * The part of it in programs, in microseconds, as far as the kernel's sampling saw it.
     */
    uint64_t cpu_user_us;
    /**
     * The part of it in the kernel, in microseconds.
     */
    uint64_t cpu_system_us;
    /**
     * Processes that the kernel killed for want of memory.
     */
    uint64_t oom_kills;
    /**
     * The most processes and threads at one time.
     */
    uint64_t pids_peak;
    /**
     * SKEP_NOT_COUNTED; counts of later versions.
     */
    uint64_t reserved[2];
};

/**
 * How a container ended. A non-zero exit code is a result, and no error.
 */
struct skep_exit_status {
    /**
     * Why it ended: one of `enum skep_exit_reason`.
     */
    int reason;
    /**
     * The exit code, if it exited by itself; -1 otherwise.
     */
    int code;
    /**
     * The signal that ended it, SIGKILL for a timeout and for want of memory; 0 if it exited by
     * itself.
     */
    int signal;
    /**
     * 0.
     */
    int reserved;
    /**
     * What the container used. `oom_kills` may be above 0 where the command exited by itself:
     * another process was killed.
     */
    struct skep_usage usage;
};

/**
 * Bytes that an object keeps, valid as long as that.
 */
struct skep_slice {
    /**
     * The first of them. A NUL byte that is not counted stands behind the last, so that text can be
     * printed as a string; never NULL.
     */
    const char *data;
    /**
     * How many there are.
     */
    size_t length;
};

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The version of the interface that the library has; compare it with SKEP_ABI_VERSION where the
 * library is loaded with dlopen(3).
 */
uint32_t skep_abi_version(void);

/**
 * The library's version, such as "0.1.0". Static.
 */
const char *skep_version(void);

/**
 * The code of an error, as it was returned with it. SKEP_OK for NULL.
 */
int skep_error_code(const struct skep_error *error);

/**
 * The name of its kind, the same in all languages: "NotFound". Valid as long as the error; "" for
 * NULL, as with the functions below.
 */
const char *skep_error_name(const struct skep_error *error);

/**
 * All of it as one sentence: "cannot find image web:1: ...". Valid as long as the error.
 */
const char *skep_error_message(const struct skep_error *error);

/**
 * The operation that failed, as a verb: "mount", "start", "load". Valid as long as the error.
 */
const char *skep_error_operation(const struct skep_error *error);

/**
 * What the operation was about, as you named it. Valid as long as the error.
 */
const char *skep_error_subject(const struct skep_error *error);

/**
 * The system's error number (`errno`), where a system call failed; 0 elsewhere.
 */
int skep_error_errno(const struct skep_error *error);

/**
 * Frees an error. NULL is fine.
 */
void skep_error_free(struct skep_error *error);

/**
 * Opens an engine on the store at `path`, which is made if it is not there; NULL is
 * "/var/lib/skep". What crashed programs have left in the store is removed.
 *
 * Several programs may use one store, and one program several engines.
 *
 * Errors: SKEP_INVALID_DATA for a directory that holds something else, or a store of another
 * version; SKEP_UNSUPPORTED on a network file system; SKEP_PERMISSION_DENIED without the rights.
 */
int skep_engine_open(const char *path, struct skep_engine **engine, struct skep_error **error);

/**
 * Frees an engine. NULL is fine.
 *
 * Images, commands and containers that were made from it go on, and keep what they need of it:
 * no order of freeing is wrong.
 */
void skep_engine_free(struct skep_engine *engine);

/**
 * Loads the only image of the archive or directory at `path`: what `docker save`, `podman save` and
 * `skopeo copy` write to `docker-archive:`, `oci-archive:` or `oci:`. An archive may be compressed
 * by gzip or zstd. The image gets the names it has there; they are taken from other images.
 *
 * Errors: SKEP_NOT_FOUND without such a file; SKEP_INVALID_INPUT if there are several images, which
 * skep_engine_load_images() takes; SKEP_INVALID_DATA and SKEP_DIGEST_MISMATCH if it is damaged;
 * SKEP_UNSUPPORTED for another architecture; SKEP_RESOURCE_EXHAUSTED on a full disk. The store is as
 * before then.
 */
int skep_engine_load_image(const struct skep_engine *engine,
                           const char *path,
                           struct skep_image **image,
                           struct skep_error **error);

/**
 * Loads all images of the archive or directory at `path`; otherwise as skep_engine_load_image().
 */
int skep_engine_load_images(const struct skep_engine *engine,
                            const char *path,
                            struct skep_image_list **list,
                            struct skep_error **error);

/**
 * Makes an image of a root file system's tar archive, which may be compressed by gzip or zstd, and
 * names it `reference`, if that is not NULL. Its configuration is empty but for the platform.
 *
 * Errors: SKEP_NOT_FOUND without such a file; SKEP_INVALID_INPUT for a bad reference;
 * SKEP_INVALID_DATA if the archive is malformed, truncated or empty; SKEP_RESOURCE_EXHAUSTED on a
 * full disk. The store is as before then.
 */
int skep_engine_import_image(const struct skep_engine *engine,
                             const char *tar,
                             const char *reference,
                             struct skep_image **image,
                             struct skep_error **error);

/**
 * Finds an image by a reference, such as "localhost/app:1", or by its id: "sha256:..." or at least
 * four of the digits from the front.
 *
 * Errors: SKEP_NOT_FOUND; SKEP_INVALID_INPUT for what is neither, or begins several ids;
 * SKEP_INVALID_DATA, SKEP_DIGEST_MISMATCH and SKEP_UNSUPPORTED if it is damaged or no image.
 */
int skep_engine_find_image(const struct skep_engine *engine,
                           const char *name,
                           struct skep_image **image,
                           struct skep_error **error);

/**
 * Lists all images of the store, in the order in which they came. What is damaged is left out.
 *
 * Errors: SKEP_INVALID_DATA if the store's index is damaged.
 */
int skep_engine_list_images(const struct skep_engine *engine,
                            struct skep_image_list **list,
                            struct skep_error **error);

/**
 * Names the image that skep_engine_find_image() finds as `name` `reference` too. Another image of
 * that name loses it, and stays.
 *
 * Errors: SKEP_NOT_FOUND; SKEP_INVALID_INPUT if either is malformed, or `reference` has a digest.
 */
int skep_engine_tag_image(const struct skep_engine *engine,
                          const char *name,
                          const char *reference,
                          struct skep_error **error);

/**
 * Removes a name and, if it was the image's last, the image. An id removes the image with all its
 * names.
 *
 * Errors: SKEP_NOT_FOUND; SKEP_IN_USE while a container of it runs, and then nothing was removed.
 */
int skep_engine_remove_image(const struct skep_engine *engine,
                             const char *name,
                             struct skep_error **error);

/**
 * The image's id, "sha256:...": the digest of its configuration. Valid as long as the image; NULL
 * for NULL, as with the functions below.
 */
const char *skep_image_id(const struct skep_image *image);

/**
 * The digest of its manifest, "sha256:...". Valid as long as the image.
 */
const char *skep_image_digest(const struct skep_image *image);

/**
 * Its name number `index`, from 0, such as "docker.io/library/debian:12"; NULL behind the last: an
 * image may have none. Valid as long as the image.
 */
const char *skep_image_reference(const struct skep_image *image, size_t index);

/**
 * When it was built, in RFC 3339, or NULL if its configuration does not say. Valid as long as the
 * image.
 */
const char *skep_image_created(const struct skep_image *image);

/**
 * Bytes of what the store keeps for it, which may be shared with other images; 0 for NULL.
 */
uint64_t skep_image_size(const struct skep_image *image);

/**
 * All of it as a JSON object: `id`, `digest`, `references`, `size`, and as the image has them
 * `config` and `manifest`. Valid as long as the image.
 */
const char *skep_image_inspect(const struct skep_image *image);

/**
 * Frees an image. NULL is fine. The image stays in the store, and commands that were made from it
 * are as they were.
 */
void skep_image_free(struct skep_image *image);

/**
 * How many images there are; 0 for NULL.
 */
size_t skep_image_list_length(const struct skep_image_list *list);

/**
 * Image number `index`, from 0; NULL behind the last. It is the list's, and not to be freed.
 */
const struct skep_image *skep_image_list_at(const struct skep_image_list *list, size_t index);

/**
 * Frees a list and its images. NULL is fine.
 */
void skep_image_list_free(struct skep_image_list *list);

/**
 * Makes a command for a container of an image. Both stay yours, and may be freed before it.
 */
int skep_command_new(const struct skep_engine *engine,
                     const struct skep_image *image,
                     struct skep_command **command,
                     struct skep_error **error);

/**
 * Makes a command for a container whose root file system is the host's directory `path`. What the
 * container writes goes elsewhere, and is gone with it. Whether the directory is there is found out
 * at the start.
 */
int skep_command_new_directory(const struct skep_engine *engine,
                               const char *path,
                               struct skep_command **command,
                               struct skep_error **error);

/**
 * Makes a command for a container whose root file system is the host's own, without the file
 * systems mounted below it: programs and libraries are there, and no image is needed. As
 * skep_command_new_directory() of "/".
 */
int skep_command_new_host(const struct skep_engine *engine,
                          struct skep_command **command,
                          struct skep_error **error);

/**
 * Runs a container to its end and collects what it says, in memory. Waits for it; to be able to
 * kill it from elsewhere, set a timeout, or use skep_command_spawn() or skep_command_collect().
 *
 * Standard input is what skep_command_set_input() has set, or else empty; standard output and error
 * are collected. How it ended is in the output: a timeout or want of memory is no error.
 *
 * Errors: as skep_command_spawn().
 */
int skep_command_run(struct skep_command *command,
                     struct skep_output **output,
                     struct skep_error **error);

/**
 * Starts a container, and returns when its command runs. Standard input, output and error are your
 * program's own, where nothing else is set.
 *
 * Errors: the first that an option's function returned; SKEP_INVALID_INPUT for a value that is
 * wrong; SKEP_NOT_FOUND for a command, user, mount source or root that is not there;
 * SKEP_NOT_EXECUTABLE for a command that is no program; SKEP_UNSUPPORTED for a limit that this
 * machine cannot enforce; SKEP_PERMISSION_DENIED without the rights; SKEP_RESOURCE_EXHAUSTED at
 * limits of the host; SKEP_INVALID_STATE in a forked copy of the program that opened the engine.
 * Nothing is left of the container then.
 */
int skep_command_spawn(struct skep_command *command,
                       struct skep_child **child,
                       struct skep_error **error);

/**
 * Starts a container as skep_command_run() does, and leaves it to you when its output is collected:
 * for programs with an event loop.
 *
 * Errors: as skep_command_spawn().
 */
int skep_command_collect(struct skep_command *command,
                         struct skep_collector **collector,
                         struct skep_error **error);

/**
 * Frees a command. NULL is fine. Containers that it has started go on.
 */
void skep_command_free(struct skep_command *command);

/**
 * Adds an argument. With none at all, the image's command runs. After an image's entrypoint these
 * are its arguments, as with docker.
 */
int skep_command_add_arg(struct skep_command *command, const char *arg);

/**
 * Adds the arguments of a list that ends in NULL, as argv does.
 */
int skep_command_add_args(struct skep_command *command, const char *const *args);

/**
 * Replaces the image's entrypoint, and with it the image's command, by a list that ends in NULL. It
 * may be empty.
 */
int skep_command_set_entrypoint(struct skep_command *command, const char *const *args);

/**
 * Sets an environment variable, beside the image's or in place of its own of that name. Your
 * program's environment is not inherited; PATH, HOSTNAME and HOME have docker's values without.
 */
int skep_command_set_env(struct skep_command *command, const char *name, const char *value);

/**
 * The directory in the container to start in, an absolute path; made if it is not there. The
 * image's or "/" without.
 */
int skep_command_set_working_dir(struct skep_command *command, const char *path);

/**
 * Who the command runs as: "name", "uid", "name:group" or "uid:gid", by the container's own
 * /etc/passwd and /etc/group. The image's or root without.
 */
int skep_command_set_user(struct skep_command *command, const char *user);

/**
 * The host name inside; the first twelve digits of the container's id without.
 */
int skep_command_set_hostname(struct skep_command *command, const char *name);

/**
 * Adds a mount of the host's file or directory `source` at `destination`, with the mounts below it;
 * `read_only` refuses writes through it. A source that is not there is an error of the start. Later
 * mounts go on top of, or into, earlier ones.
 */
int skep_command_add_bind(struct skep_command *command,
                          const char *source,
                          const char *destination,
                          bool read_only);

/**
 * Adds an empty file system in memory at `destination`, of at most `size` bytes; 0 is half of the
 * machine's memory. What is in it counts as the container's memory. `read_only` refuses writes.
 */
int skep_command_add_tmpfs(struct skep_command *command,
                           const char *destination,
                           uint64_t size,
                           bool read_only);

/**
 * Refuses writes to the root file system; off by default. Mounts are as they are.
 */
int skep_command_set_read_only(struct skep_command *command, bool read_only);

/**
 * Lets set-user-ID programs and file capabilities raise privileges inside; off by default, where
 * docker has it on.
 */
int skep_command_set_allow_new_privileges(struct skep_command *command, bool allow);

/**
 * Limits a resource as setrlimit(2) does, in its units: "nofile" or "RLIMIT_NOFILE", in either
 * case. SKEP_UNLIMITED is no limit. A second call for a resource replaces the first.
 */
int skep_command_set_rlimit(struct skep_command *command,
                            const char *resource,
                            uint64_t soft,
                            uint64_t hard);

/**
 * Limits memory to so many bytes, page cache and tmpfs included: at least 4 MiB; what passes it is
 * killed (SKEP_REASON_OOM_KILLED). Unlimited by default. skep_bytes_parse() reads "256m".
 */
int skep_command_set_memory(struct skep_command *command, uint64_t bytes);

/**
 * Limits memory and swap together to so many bytes, as docker's --memory-swap: -1 is unlimited
 * swap, 0 (the default) as much swap as memory, and the memory limit itself no swap. It needs a
 * limit of memory beside it.
 */
int skep_command_set_memory_swap(struct skep_command *command, int64_t bytes);

/**
 * Limits CPU time to so many CPUs' worth, from 0.01 to 8192: 0.5 is half of one. Unlimited by
 * default.
 */
int skep_command_set_cpus(struct skep_command *command, double cpus);

/**
 * Limits the number of processes and threads at one time, at least 1. Unlimited by default.
 */
int skep_command_set_pids(struct skep_command *command, int64_t limit);

/**
 * Kills everything in the container after so many milliseconds (SKEP_REASON_TIMED_OUT), counted from
 * its start, whether or not anyone waits for it. No limit by default.
 */
int skep_command_set_timeout_ms(struct skep_command *command,
                                int64_t timeout_ms);

/**
 * What skep_command_run() and skep_command_collect() write to standard input: a copy of the
 * `length` bytes at `bytes`. What the container does not read is dropped.
 */
int skep_command_set_input(struct skep_command *command, const void *bytes, size_t length);

/**
 * Standard input, one of `enum skep_stdio`: your program's own for skep_command_spawn() by default,
 * and empty for the others.
 */
int skep_command_set_stdin(struct skep_command *command, int stdio);

/**
 * Standard output, one of `enum skep_stdio`: your program's own for skep_command_spawn() by
 * default, and a pipe for the others.
 */
int skep_command_set_stdout(struct skep_command *command, int stdio);

/**
 * Standard error, as skep_command_set_stdout().
 */
int skep_command_set_stderr(struct skep_command *command, int stdio);

/**
 * Standard input is an open file, pipe or socket of yours. It is duplicated at once and stays
 * yours; the duplicate is closed when the command is freed, or its standard input set again.
 */
int skep_command_set_stdin_fd(struct skep_command *command, int fd);

/**
 * Standard output, as skep_command_set_stdin_fd(). The reader of a pipe sees its end when the
 * container has ended and the command is freed.
 */
int skep_command_set_stdout_fd(struct skep_command *command, int fd);

/**
 * Standard error, as skep_command_set_stdout_fd().
 */
int skep_command_set_stderr_fd(struct skep_command *command, int fd);

/**
 * Reads an amount of memory in docker's notation: a decimal number and one of b, k, m, g, t, p, in
 * either case, with "b" or "ib" after it or not; always powers of 1024. "1.5g" is 1610612736.
 *
 * Errors: SKEP_INVALID_INPUT for anything else, and for 2^63 bytes or more.
 */
int skep_bytes_parse(const char *text, uint64_t *bytes, struct skep_error **error);

/**
 * The container's id: 32 hexadecimal digits. Valid as long as the child; NULL for NULL.
 */
const char *skep_child_id(const struct skep_child *child);

/**
 * Waits for the container's end, then removes what is left of it. Standard input is not closed: a
 * command that reads it to its end wants skep_child_close_stdin() first. May be called again, with
 * the same status.
 *
 * A signal to your program does not end the wait.
 *
 * Errors: SKEP_KEEPER_LOST if the keeper was killed, and the container with it;
 * SKEP_RESOURCE_EXHAUSTED as skep_child_exit_fd(), and so with signals, for a child that was started
 * when files were scarce; SKEP_INVALID_STATE in a forked copy of the program that started it, as
 * with the functions below but for those of the pipes: these are the copy's too, as all its
 * descriptors.
 */
int skep_child_wait(const struct skep_child *child,
                    struct skep_exit_status *status,
                    struct skep_error **error);

/**
 * As skep_child_wait(), for so many milliseconds at most. If the container still runs then, the
 * status has the reason SKEP_REASON_RUNNING; that is no error.
 */
int skep_child_wait_timeout_ms(const struct skep_child *child,
                               int64_t timeout_ms,
                               struct skep_exit_status *status,
                               struct skep_error **error);

/**
 * As skep_child_wait_timeout_ms(), without waiting.
 */
int skep_child_try_wait(const struct skep_child *child,
                        struct skep_exit_status *status,
                        struct skep_error **error);

/**
 * Sends a signal to the container's command. One that has ended is left alone.
 *
 * The command is the init of its pid namespace: a signal that it has no handler for does nothing,
 * except SIGKILL, which ends every process in the container.
 *
 * Errors: SKEP_INVALID_INPUT for a number that is no signal.
 */
int skep_child_signal(const struct skep_child *child, int number, struct skep_error **error);

/**
 * Kills everything in the container, with SIGKILL. Wait for its end, or free the child.
 */
int skep_child_kill(const struct skep_child *child, struct skep_error **error);

/**
 * Asks the container to end with its stop signal (the image's, or SIGTERM), waits `grace_ms`
 * milliseconds at most, kills it if it still runs then, and waits for its end. Docker's grace is
 * 10000. One that has ended already only tells how.
 *
 * Errors: as skep_child_wait().
 */
int skep_child_stop(const struct skep_child *child,
                    int64_t grace_ms,
                    struct skep_exit_status *status,
                    struct skep_error **error);

/**
 * The signal that skep_child_stop() asks it to end with: the image's, or SIGTERM. For a program with
 * an event loop, which cannot wait in there. 0 for NULL.
 */
int skep_child_stop_signal(const struct skep_child *child);

/**
 * What the container has used so far; what it used in all, once its end was waited for.
 *
 * Errors: those of reading the files of its control group.
 */
int skep_child_usage(const struct skep_child *child,
                     struct skep_usage *usage,
                     struct skep_error **error);

/**
 * A file descriptor that becomes readable when the container has ended: for poll(2), epoll(7) and
 * event loops. It is the child's: do not read from it or close it, and take it out of what you wait
 * with before you free the child.
 *
 * Errors: SKEP_RESOURCE_EXHAUSTED if your program may not open one more file.
 */
int skep_child_exit_fd(const struct skep_child *child, int *fd, struct skep_error **error);

/**
 * The pipe into the container's standard input, if SKEP_STDIO_PIPED was set for it; -1 if not, or
 * if it was taken or closed, and for NULL. It is the child's: do not close it.
 *
 * It blocks, until you set O_NONBLOCK. A write(2) after the container has closed its end raises
 * SIGPIPE in your program, unless you ignore that signal; skep_child_write_stdin() does not.
 */
int skep_child_stdin_fd(const struct skep_child *child);

/**
 * The pipe out of its standard output, as skep_child_stdin_fd(). At its end, read(2) returns 0:
 * when all processes that have the other end have closed it.
 */
int skep_child_stdout_fd(const struct skep_child *child);

/**
 * The pipe out of its standard error, as skep_child_stdout_fd().
 */
int skep_child_stderr_fd(const struct skep_child *child);

/**
 * As skep_child_stdin_fd(), and makes the pipe yours: to be closed by you, before or after the
 * child is freed.
 */
int skep_child_take_stdin(const struct skep_child *child);

/**
 * As skep_child_stdout_fd(), and makes the pipe yours, for fdopen(3) or an event loop.
 */
int skep_child_take_stdout(const struct skep_child *child);

/**
 * As skep_child_stderr_fd(), and makes the pipe yours.
 */
int skep_child_take_stderr(const struct skep_child *child);

/**
 * Writes the `length` bytes at `bytes` to the container's standard input, and waits until the pipe
 * has taken them; if you have made it non-blocking, until it is full. Never raises SIGPIPE.
 *
 * `written` is how many it has taken, fewer than `length` only where the pipe is non-blocking; it
 * may be NULL. One thread at a time: a second one that writes to, takes or closes standard input
 * waits for the first.
 *
 * Errors: SKEP_INVALID_STATE if standard input is not a pipe, or was taken or closed; SKEP_IO with
 * EPIPE if the container has closed its end.
 */
int skep_child_write_stdin(const struct skep_child *child,
                           const void *bytes,
                           size_t length,
                           size_t *written,
                           struct skep_error **error);

/**
 * Closes the pipe into the container's standard input, which reads end of file then. Nothing if
 * there is none, or it was taken or closed already.
 */
void skep_child_close_stdin(const struct skep_child *child);

/**
 * Frees a child: kills the container, if it still runs, removes what is left of it, and closes the
 * pipes that were not taken. NULL is fine. In a forked copy of the program that started it, only the
 * pipes are closed.
 */
void skep_child_free(struct skep_child *child);

/**
 * The id of its container: 32 hexadecimal digits. Valid as long as the collector; NULL for NULL.
 */
const char *skep_collector_id(const struct skep_collector *collector);

/**
 * A file descriptor that is readable whenever skep_collector_advance() has something to do: for
 * poll(2), epoll(7) and event loops. It is the collector's: do not read from it or close it, and
 * take it out of what you wait with before you free the collector. -1 after skep_collector_wait(),
 * and for NULL.
 */
int skep_collector_fd(const struct skep_collector *collector);

/**
 * Writes and reads what can be without waiting, at most 1 MiB through each pipe. `output` is NULL
 * as long as the container runs, and what it said and how it ended when it has ended.
 *
 * Errors: SKEP_KEEPER_LOST if the keeper was killed, and the container with it; SKEP_INVALID_STATE
 * once the output was given, and in a forked copy of the program that started it.
 */
int skep_collector_advance(struct skep_collector *collector,
                           struct skep_output **output,
                           struct skep_error **error);

/**
 * Waits for the container's end, and gives what it said and how it ended. The collector is still
 * yours to free.
 *
 * Errors: as skep_collector_advance().
 */
int skep_collector_wait(struct skep_collector *collector,
                        struct skep_output **output,
                        struct skep_error **error);

/**
 * Sends a signal to the container's command, as skep_child_signal(). One that has ended is left
 * alone.
 */
int skep_collector_signal(const struct skep_collector *collector,
                          int number,
                          struct skep_error **error);

/**
 * Kills everything in the container, with SIGKILL; go on with skep_collector_advance() to its end.
 */
int skep_collector_kill(const struct skep_collector *collector, struct skep_error **error);

/**
 * What the container has used so far.
 *
 * Errors: those of reading the files of its control group.
 */
int skep_collector_usage(const struct skep_collector *collector,
                         struct skep_usage *usage,
                         struct skep_error **error);

/**
 * Frees a collector: kills the container, if it still runs, and removes what is left of it. NULL is
 * fine.
 */
void skep_collector_free(struct skep_collector *collector);

/**
 * How it ended. Valid as long as the output; NULL for NULL.
 */
const struct skep_exit_status *skep_output_status(const struct skep_output *output);

/**
 * All of its standard output, if that was a pipe, as it is by default. Empty for NULL.
 */
struct skep_slice skep_output_stdout(const struct skep_output *output);

/**
 * All of its standard error, if that was a pipe, as it is by default. Empty for NULL.
 */
struct skep_slice skep_output_stderr(const struct skep_output *output);

/**
 * Frees an output. NULL is fine.
 */
void skep_output_free(struct skep_output *output);

/**
 * Whether the command exited by itself with code 0. False for NULL.
 */
bool skep_exit_status_success(const struct skep_exit_status *status);

/**
 * Writes `status` in words, such as "exit code 3", "signal 15 (SIGTERM)" or "killed for want of
 * memory", to `buffer`, with a NUL byte at its end, as snprintf(3) does: at most `size` bytes, none
 * if that is 0 or `buffer` is NULL. Returns the length of the whole text, without the NUL byte;
 * 64 bytes are enough. Nothing (0, and an empty string) for NULL.
 */
size_t skep_exit_status_text(const struct skep_exit_status *status, char *buffer, size_t size);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SKEP_H */
