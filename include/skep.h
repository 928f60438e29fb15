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
 * an option (of a command, a pull, a push, a commit, a policy, of registries) return a code too, and keep the
 * error for its use. What cannot fail returns its value.
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
 * engines, images, lists, children, outputs and errors are for any thread; commands, other options
 * while they are set, and collectors while they advance, for one at a time. An object is freed when
 * nobody uses it any more.
 *
 * Cancelling. skep_engine_cancellable() gives another handle of an engine, whose long operations end
 * with SKEP_CANCELLED once skep_cancel_cancel() is called, by any thread.
 *
 * Your program is left alone: no signal handler, no SIGCHLD, nothing for your waitpid(-1), no
 * thread that a call leaves behind, no output, no file descriptor without close-on-exec, and nothing
 * to be set up or torn down. In a forked copy of it, starting containers and using those of the
 * original fails with SKEP_INVALID_STATE, and freeing is fine. Containers end with their objects, and
 * with your program, even if that is killed.
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
     * The kernel, a file's mode, a registry or a policy forbids it.
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
 * A form in which images are saved.
 */
enum skep_archive_format {
    /**
     * `manifest.json` and plain layers: what all versions of docker load.
     */
    SKEP_ARCHIVE_DOCKER = 0,
    /**
     * An OCI image layout in an archive. Every blob is kept as it is, and with it all digests.
     */
    SKEP_ARCHIVE_OCI = 1,
};

/**
 * What skep_engine_prune_images() removes.
 */
enum skep_prune {
    /**
     * Files that no image needs.
     */
    SKEP_PRUNE_FILES = 0,
    /**
     * Images without a name that nobody uses, and such files: docker's `image prune`.
     */
    SKEP_PRUNE_NAMELESS = 1,
    /**
     * All images that nobody uses, and such files: docker's `image prune --all`.
     */
    SKEP_PRUNE_UNUSED = 2,
};

/**
 * Which name an image must have been signed under.
 */
enum skep_identity {
    /**
     * The repository that is pulled from; and the same tag, if the signature names one and the image
     * is pulled by one. cosign signs no tag, skopeo and podman do.
     */
    SKEP_IDENTITY_SIGNED_TAG = 0,
    /**
     * The repository and the tag that are pulled, or the repository if it is pulled by its digest.
     */
    SKEP_IDENTITY_EXACT = 1,
    /**
     * The repository that is pulled from, with any tag: an older image of it can be passed off as a
     * newer one.
     */
    SKEP_IDENTITY_REPOSITORY = 2,
    /**
     * A repository that you name, with any tag: for copies of what was signed elsewhere.
     */
    SKEP_IDENTITY_NAMED = 3,
};

/**
 * How a registry came to have a blob.
 */
enum skep_pushed {
    /**
     * It has not all of it yet.
     */
    SKEP_PUSHED_NOT = 0,
    /**
     * It was sent.
     */
    SKEP_PUSHED_SENT = 1,
    /**
     * The repository had it.
     */
    SKEP_PUSHED_EXISTED = 2,
    /**
     * Another repository of the registry had it.
     */
    SKEP_PUSHED_MOUNTED = 3,
    /**
     * In a way that is newer than this interface.
     */
    SKEP_PUSHED_OTHERWISE = 4,
};

/**
 * What became of a path.
 */
enum skep_change_kind {
    /**
     * It was not there. In a directory that was not there, so is everything.
     */
    SKEP_CHANGE_ADDED = 1,
    /**
     * Its type, owner, mode, xattrs, contents or, unless it is a directory, date is another.
     */
    SKEP_CHANGE_CHANGED = 2,
    /**
     * It is there no more, and neither is what was in it.
     */
    SKEP_CHANGE_DELETED = 3,
};

/**
 * Ends operations that take long: those through the engines, images and registries that were made
 * with it. Any number of threads may use it at once.
 */
struct skep_cancel;

/**
 * One path that is other in one root file system than in another.
 */
struct skep_change;

/**
 * All that is other, by path. It never changes: any thread may read it.
 */
struct skep_change_list;

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
 * What an image made by a commit is called, and how it differs from the one it is made of, beside its
 * files. For one thread at a time while options are set; any number of threads may commit with it.
 *
 * The functions that set options return a code and may be called without looking at it: the first
 * that failed fails every later commit, with its error.
 */
struct skep_commit;

/**
 * What a registry has under a name, or for an image. It never changes: any thread may read it.
 */
struct skep_descriptor;

/**
 * Several of them. It never changes: any thread may read it.
 */
struct skep_descriptor_list;

/**
 * What the images of a store take of the disk: bytes that the file system has given out. It never
 * changes: any thread may read it.
 */
struct skep_disk_usage;

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
 * What one image takes of the disk.
 */
struct skep_image_usage;

/**
 * Keeps an image in its store. For any thread.
 */
struct skep_lease;

/**
 * How a container ended and all it has said. It never changes: any thread may read it.
 */
struct skep_output;

/**
 * What is taken from which registry: a new one takes nothing.
 *
 * `prefix` is a registry, or a part of one, as complete references write it: "docker.io/library",
 * "localhost:5000/team"; NULL is whatever has no prefix of its own. A prefix ends where a part of the
 * name does, and of those that fit, the longest counts, alone. It is the name that is asked for that
 * counts, and not the mirror that answers. What is said of a prefix replaces what was.
 *
 * Options are set by one thread at a time. Their functions return a code and may be called without
 * looking at it: the first that failed fails every later pull, with its error.
 */
struct skep_policy;

/**
 * What was removed. It never changes: any thread may read it.
 */
struct skep_pruned;

/**
 * How images are pulled. For one thread at a time while options are set; any number of threads may
 * pull with it.
 *
 * The functions that set options return a code and may be called without looking at it: the first
 * that failed fails every later pull, with its error.
 */
struct skep_pull_options;

/**
 * How images are pushed; otherwise as skep_pull_options.
 */
struct skep_push_options;

/**
 * The registries as your program reaches them: with which credentials, certificates and mirrors.
 *
 * By default they are asked by https, with the platform's certificates, anonymously first, and then
 * with the credentials that docker's or podman's files have for them. Proxies are those of the
 * environment (HTTPS_PROXY, NO_PROXY).
 *
 * It keeps connections and tokens: use one for many calls. Any number of threads may ask at once;
 * options are set by one thread at a time, before. Their functions return a code and may be called
 * without looking at it: the first that failed fails every later use, with its error. `registry` is
 * the name of one, or of a mirror, as references write it: "docker.io", "localhost:5000".
 */
struct skep_registries;

/**
 * One step of how an image came to be. It never changes: any thread may read it.
 */
struct skep_step;

/**
 * Several strings. It never changes: any thread may read it.
 */
struct skep_text_list;

/**
 * How far one layer of a pull is. Later versions may have more fields at its end: read it where it
 * is.
 */
struct skep_pull_progress {
    /**
     * The digest of the layer's blob, "sha256:...".
     */
    const char *layer;
    /**
     * The blob's bytes.
     */
    uint64_t total;
    /**
     * Those of them that are here.
     */
    uint64_t fetched;
    /**
     * Whether the layer is unpacked.
     */
    bool unpacked;
};

/**
 * How far one blob of a push is: a layer, or the configuration. Later versions may have more fields
 * at its end: read it where it is.
 */
struct skep_push_progress {
    /**
     * The blob's digest, "sha256:...".
     */
    const char *blob;
    /**
     * The blob's bytes.
     */
    uint64_t total;
    /**
     * Those of them that were sent: in this attempt, for after a break it begins again.
     */
    uint64_t sent;
    /**
     * How the registry came to have it: one of `enum skep_pushed`.
     */
    int done;
};

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
 * Makes another handle of an engine, through which an image, or an archive of images, becomes at
 * most `bytes`: what its layers are uncompressed, holes of sparse files included.
 *
 * It holds for what is loaded, imported, pulled and saved through it, and for the unpacking of images
 * that are found or made there. Beyond it, these fail with SKEP_RESOURCE_EXHAUSTED and leave the store
 * as it was. Without, an image may become 50 times as large as its blobs, or 16 GiB if that is more.
 */
int skep_engine_max_size(const struct skep_engine *engine,
                         uint64_t bytes,
                         struct skep_engine **bounded,
                         struct skep_error **error);

/**
 * Frees an engine. NULL is fine.
 *
 * Images, commands and containers that were made from it go on, and keep what they need of it:
 * no order of freeing is wrong.
 */
void skep_engine_free(struct skep_engine *engine);

/**
 * Makes one that is not cancelled.
 */
int skep_cancel_new(struct skep_cancel **cancel, struct skep_error **error);

/**
 * Makes what was made with it fail with SKEP_CANCELLED, now and later: operations under way usually
 * within a few milliseconds. What is all but done may still succeed. It is for good, and to cancel
 * again does nothing; nor does NULL.
 *
 * Any thread may call it, one that is told of progress too; a signal handler may not: it takes a
 * lock. The resolution of a host's name and the kernel's writing to the disk are not interrupted.
 */
void skep_cancel_cancel(const struct skep_cancel *cancel);

/**
 * Whether it is cancelled; false for NULL.
 */
bool skep_cancel_is_cancelled(const struct skep_cancel *cancel);

/**
 * Frees it. NULL is fine. What was made with it goes on, and cannot be cancelled any more.
 */
void skep_cancel_free(struct skep_cancel *cancel);

/**
 * Makes another handle of an engine, whose operations on images `cancel` ends: be they waiting for a
 * registry, for another process or for a slow pipe. So it does with those on images that are found,
 * loaded or pulled through it, on containers of these, and with the unpacking at a start. Containers
 * themselves are not ended.
 *
 * Nothing is half visible after it; a pull leaves what it has fetched for the next.
 */
int skep_engine_cancellable(const struct skep_engine *engine,
                            const struct skep_cancel *cancel,
                            struct skep_engine **cancellable,
                            struct skep_error **error);

/**
 * Makes another handle of an image, whose operations `cancel` ends, and nothing else.
 */
int skep_image_cancellable(const struct skep_image *image,
                           const struct skep_cancel *cancel,
                           struct skep_image **cancellable,
                           struct skep_error **error);

/**
 * Makes another handle of registries, on the same connections, whose questions `cancel` ends. Pulls
 * and pushes are ended by their engine's.
 *
 * Errors: the first that an option's function returned.
 */
int skep_registries_cancellable(const struct skep_registries *registries,
                                const struct skep_cancel *cancel,
                                struct skep_registries **cancellable,
                                struct skep_error **error);

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
 * How many steps an image's history has; 0 for NULL.
 */
size_t skep_image_history_length(const struct skep_image *image);

/**
 * Step number `index` of an image's history, from 0, which is the bottom; NULL behind the last. It is
 * the image's, and not to be freed.
 */
const struct skep_step *skep_image_history_at(const struct skep_image *image,
                                              size_t index);

/**
 * When it was made, in RFC 3339. NULL if the history does not say, and for NULL, as with the functions
 * below; valid as long as the image.
 */
const char *skep_step_created(const struct skep_step *step);

/**
 * The command that made it.
 */
const char *skep_step_created_by(const struct skep_step *step);

/**
 * Who made it.
 */
const char *skep_step_author(const struct skep_step *step);

/**
 * Anything else that is said of it.
 */
const char *skep_step_comment(const struct skep_step *step);

/**
 * The digest of the layer that it made, "sha256:..."; NULL if it made none.
 */
const char *skep_step_layer(const struct skep_step *step);

/**
 * Bytes of that layer's blob; 0 without one.
 */
uint64_t skep_step_layer_size(const struct skep_step *step);

/**
 * Saves the images of a list of names and ids, which ends in NULL, into one archive, which replaces a
 * file at `path`. `format` is one of `enum skep_archive_format`.
 *
 * A name saves the image under that name alone, an id under all its names. skep_engine_load_images()
 * of the archive gives the same images, by id. It is readable by its owner only, deterministic, and at
 * `path` when it is complete: after an error the former file is there.
 *
 * Errors: SKEP_NOT_FOUND if there is no such image, or no directory for the archive;
 * SKEP_INVALID_INPUT without any names, or if `path` is something else than a file;
 * SKEP_DIGEST_MISMATCH or SKEP_INVALID_DATA if an image is damaged; SKEP_RESOURCE_EXHAUSTED on a full
 * disk; SKEP_CANCELLED.
 */
int skep_engine_save_images(const struct skep_engine *engine,
                            const char *const *names,
                            const char *path,
                            int format,
                            struct skep_error **error);

/**
 * Removes what is not needed: files that no image has, and images if `what`, one of
 * `enum skep_prune`, says so. Images that containers or leases use stay, whatever process has those.
 *
 * Safe at any moment: images that are loaded, committed or unpacked meanwhile are complete.
 *
 * Errors: SKEP_INVALID_DATA if the store's index is damaged; those of reading and removing. What was
 * removed before stays removed.
 */
int skep_engine_prune_images(const struct skep_engine *engine,
                             int what,
                             struct skep_pruned **pruned,
                             struct skep_error **error);

/**
 * How many images were removed; 0 for NULL, as with the numbers below.
 */
size_t skep_pruned_length(const struct skep_pruned *pruned);

/**
 * The id of removed image number `index`, from 0; NULL behind the last. Valid as long as the object.
 */
const char *skep_pruned_image(const struct skep_pruned *pruned,
                              size_t index);

/**
 * How many blobs were removed.
 */
uint64_t skep_pruned_blobs(const struct skep_pruned *pruned);

/**
 * How many unpacked layers were removed.
 */
uint64_t skep_pruned_layers(const struct skep_pruned *pruned);

/**
 * The bytes of both on the disk.
 */
uint64_t skep_pruned_bytes(const struct skep_pruned *pruned);

/**
 * Frees it. NULL is fine.
 */
void skep_pruned_free(struct skep_pruned *pruned);

/**
 * Measures what the images take of the disk. Every file of every unpacked layer is looked at. What is
 * damaged counts as unneeded.
 *
 * Errors: SKEP_INVALID_DATA if the store's index is damaged; those of reading.
 */
int skep_engine_disk_usage(const struct skep_engine *engine,
                           struct skep_disk_usage **usage,
                           struct skep_error **error);

/**
 * Bytes of all blobs; 0 for NULL, as with the numbers below.
 */
uint64_t skep_disk_usage_blobs(const struct skep_disk_usage *usage);

/**
 * Bytes of all unpacked layers.
 */
uint64_t skep_disk_usage_layers(const struct skep_disk_usage *usage);

/**
 * Bytes of both that no image needs: what SKEP_PRUNE_FILES gives back.
 */
uint64_t skep_disk_usage_unneeded(const struct skep_disk_usage *usage);

/**
 * How many images there are.
 */
size_t skep_disk_usage_length(const struct skep_disk_usage *usage);

/**
 * What image number `index` takes, from 0; NULL behind the last. It is the usage's, and not to be
 * freed.
 */
const struct skep_image_usage *skep_disk_usage_at(const struct skep_disk_usage *usage,
                                                  size_t index);

/**
 * Frees it. NULL is fine.
 */
void skep_disk_usage_free(struct skep_disk_usage *usage);

/**
 * The image's id, "sha256:..."; NULL for NULL. Valid as long as the whole usage.
 */
const char *skep_image_usage_id(const struct skep_image_usage *usage);

/**
 * Its name number `index`, from 0; NULL behind the last. Valid as long as the whole usage.
 */
const char *skep_image_usage_reference(const struct skep_image_usage *usage, size_t index);

/**
 * Bytes of its blobs; 0 for NULL, as with the numbers below. What several images have counts for each
 * of them.
 */
uint64_t skep_image_usage_blobs(const struct skep_image_usage *usage);

/**
 * Bytes of its unpacked layers.
 */
uint64_t skep_image_usage_layers(const struct skep_image_usage *usage);

/**
 * Bytes of both that other images have, too: the rest is what removing it gives back.
 */
uint64_t skep_image_usage_shared(const struct skep_image_usage *usage);

/**
 * Whether a container or a lease uses it; false for NULL.
 */
bool skep_image_usage_in_use(const struct skep_image_usage *usage);

/**
 * Makes the defaults.
 */
int skep_registries_new(struct skep_registries **registries, struct skep_error **error);

/**
 * Speaks plain http with `registry`: anyone on the way may read and change what is not named by a
 * digest.
 */
int skep_registries_allow_plain_http(struct skep_registries *registries, const char *registry);

/**
 * Pulls from this mirror of `registry` first, then from those added later, then from the registry
 * itself. `mirror` is `HOST[:PORT][/PREFIX]`; how it is reached is set under `HOST[:PORT]`.
 */
int skep_registries_add_mirror(struct skep_registries *registries,
                               const char *registry,
                               const char *mirror);

/**
 * Shows a user's name and password, or an access token in its place, when `registry` asks for
 * credentials. This and the next two replace each other.
 */
int skep_registries_set_password(struct skep_registries *registries,
                                 const char *registry,
                                 const char *user,
                                 const char *password);

/**
 * Asks the token server of `registry` with this refresh token, docker's `identitytoken`.
 */
int skep_registries_set_identity_token(struct skep_registries *registries,
                                       const char *registry,
                                       const char *token);

/**
 * Shows `registry` this bearer token, docker's `registrytoken`.
 */
int skep_registries_set_registry_token(struct skep_registries *registries,
                                       const char *registry,
                                       const char *token);

/**
 * Trusts the authorities in `length` bytes of PEM for `registry`, and not the platform's.
 *
 * Errors: SKEP_INVALID_INPUT if there is no certificate in it.
 */
int skep_registries_set_certificate_authority(struct skep_registries *registries,
                                              const char *registry,
                                              const void *pem,
                                              size_t length);

/**
 * Shows `registry` the first certificate in `certificates`, with the others, which vouch for it, when
 * it asks for one. `key` has its key; both are PEM.
 *
 * Errors: SKEP_INVALID_INPUT if there is no certificate or key, or they do not belong together.
 */
int skep_registries_set_client_certificate(struct skep_registries *registries,
                                           const char *registry,
                                           const void *certificates,
                                           size_t certificates_length,
                                           const void *key,
                                           size_t key_length);

/**
 * Looks for credentials in the files of this list, which ends in NULL, and in no others: docker's
 * config.json or podman's auth.json. With an empty one, only those that were set here are used.
 */
int skep_registries_set_credential_files(struct skep_registries *registries,
                                         const char *const *paths);

/**
 * How often one request is made, at least once, when a registry is overloaded, fails or is lost on
 * the way: 5 times by default; and the pause after the first time, 250 ms by default, which doubles.
 */
int skep_registries_set_attempts(struct skep_registries *registries,
                                 uint32_t attempts,
                                 int64_t first_pause_ms);

/**
 * How long a registry may be silent: to connect, to answer, between two pieces of a body. 60 seconds
 * by default. To resolve a name takes as long as the system takes.
 */
int skep_registries_set_timeout_ms(struct skep_registries *registries,
                                   int64_t timeout_ms);

/**
 * Asks whether `registry` is one and lets your program in.
 *
 * Errors: the first that an option's function returned; SKEP_INVALID_INPUT for a bad name;
 * SKEP_NOT_FOUND if it is something else; SKEP_PERMISSION_DENIED if it wants other credentials;
 * SKEP_TIMED_OUT if it is silent; SKEP_IO if it is not reached; SKEP_CANCELLED.
 */
int skep_registries_ping(const struct skep_registries *registries,
                         const char *registry,
                         struct skep_error **error);

/**
 * What `reference` names at its registry now: a manifest or an index.
 *
 * Errors: as skep_registries_ping(), and as skep_engine_pull_image() for what comes.
 */
int skep_registries_resolve(const struct skep_registries *registries,
                            const char *reference,
                            struct skep_descriptor **descriptor,
                            struct skep_error **error);

/**
 * The tags of `repository`, such as "localhost:5000/app", in the registry's order.
 *
 * Errors: as skep_registries_ping(); SKEP_NOT_FOUND if there is no such repository;
 * SKEP_INVALID_DATA for a malformed answer.
 */
int skep_registries_tags(const struct skep_registries *registries,
                         const char *repository,
                         struct skep_text_list **tags,
                         struct skep_error **error);

/**
 * What refers to the image or artifact that `reference` names, such as signatures: those of
 * `artifact_type` only, if that is not NULL.
 *
 * Errors: as skep_registries_tags().
 */
int skep_registries_referrers(const struct skep_registries *registries,
                              const char *reference,
                              const char *artifact_type,
                              struct skep_descriptor_list **referrers,
                              struct skep_error **error);

/**
 * Frees it. NULL is fine. Options of pulls and pushes that have it keep what they need of it.
 */
void skep_registries_free(struct skep_registries *registries);

/**
 * Makes one that takes nothing.
 */
int skep_policy_new(struct skep_policy **policy, struct skep_error **error);

/**
 * Takes any image, signed or not.
 *
 * Errors, as with the next two: SKEP_INVALID_INPUT if `prefix` begins with no registry's name, or has
 * a tag or digest.
 */
int skep_policy_accept(struct skep_policy *policy,
                       const char *prefix);

/**
 * Takes no image, and asks no registry.
 */
int skep_policy_reject(struct skep_policy *policy, const char *prefix);

/**
 * Takes images that the holders of at least `at_least` different ones of `keys` have signed: with
 * cosign and a key, or with skopeo's or podman's --sign-by-sigstore-private-key.
 *
 * `keys` is a list, which ends in NULL, of public keys in PEM, the text of cosign.pub for instance:
 * ECDSA with P-256 or P-384, Ed25519, or RSA from 2048 bits. `identity` is one of
 * `enum skep_identity`; `name` is the repository of SKEP_IDENTITY_NAMED, and NULL with the others.
 *
 * Errors: SKEP_INVALID_INPUT for what is no such key, for an `at_least` of 0 or above the number of
 * different keys, or for a bad name.
 */
int skep_policy_require(struct skep_policy *policy,
                        const char *prefix,
                        const char *const *keys,
                        size_t at_least,
                        int identity,
                        const char *name);

/**
 * Frees it. NULL is fine. Options of pulls that have it keep what they need of it.
 */
void skep_policy_free(struct skep_policy *policy);

/**
 * Pulls an image from its registry, or a mirror of that, into the store, and names it `reference`.
 * What the store has already is not fetched again. `options` may be NULL: for this machine's
 * platform, by https, four blobs at once, then unpacked.
 *
 * Every byte is checked against its digest before anything is visible. A pull that fails, or is
 * killed, leaves what it has fetched for the next. It ends all threads that it starts, which block all
 * signals, before it returns.
 *
 * Errors: the first that an option's function returned; SKEP_INVALID_INPUT for a bad reference;
 * SKEP_NOT_FOUND if the registry has no such image; SKEP_PERMISSION_DENIED if it lets nobody in with
 * these credentials, or the policy refuses the image, which skep_error_operation() calls "accept";
 * SKEP_UNSUPPORTED if there is none for the platform; SKEP_DIGEST_MISMATCH or
 * SKEP_INVALID_DATA if what comes is not what was announced; SKEP_TIMED_OUT if the registry is silent;
 * SKEP_RESOURCE_EXHAUSTED if it wants to be left alone or the disk is full; SKEP_IO if it is not
 * reached or fails; SKEP_CANCELLED, see skep_engine_cancellable().
 */
int skep_engine_pull_image(const struct skep_engine *engine,
                           const char *reference,
                           const struct skep_pull_options *options,
                           struct skep_image **image,
                           struct skep_error **error);

/**
 * Pushes an image to the registry of `reference`, under that name; its digest there is
 * skep_image_digest(). What the registry has is not sent. `options` may be NULL: by https, four blobs
 * at once. It ends all threads that it starts before it returns.
 *
 * Errors: as skep_engine_pull_image(); SKEP_INVALID_INPUT for a bad reference, or one with another
 * digest; SKEP_NOT_FOUND if the image was removed; SKEP_PERMISSION_DENIED if one may not push there.
 * The registry may have blobs more then, and no other image under that name.
 */
int skep_engine_push_image(const struct skep_engine *engine,
                           const struct skep_image *image,
                           const char *reference,
                           const struct skep_push_options *options,
                           struct skep_error **error);

/**
 * Makes options of a pull, all as they are by default.
 */
int skep_pull_options_new(struct skep_pull_options **options, struct skep_error **error);

/**
 * Reaches registries as `registries` says now. They may be freed before the options.
 */
int skep_pull_options_set_registries(struct skep_pull_options *options,
                                     const struct skep_registries *registries);

/**
 * Pulls what `policy`, as it is now, accepts; without one, anything. It may be freed before the
 * options.
 *
 * It is enforced before a blob of the image is fetched: what it refuses leaves nothing in the store.
 * What the store has already is not looked at again when it is used.
 *
 * Errors: the first that a function of the policy returned.
 */
int skep_pull_options_set_policy(struct skep_pull_options *options,
                                 const struct skep_policy *policy);

/**
 * Pulls the image for a platform, OS/ARCHITECTURE[/VARIANT] such as "linux/arm64": this machine's by
 * default.
 */
int skep_pull_options_set_platform(struct skep_pull_options *options,
                                   const char *platform);

/**
 * Fetches so many blobs at once, at least one; 4 by default.
 */
int skep_pull_options_set_parallel(struct skep_pull_options *options, size_t blobs);

/**
 * Whether layers are unpacked at once, as they are by default, or at their first use.
 */
int skep_pull_options_set_unpack(struct skep_pull_options *options, bool unpack);

/**
 * Calls `report` with `user` at each step of each layer: when it begins, every 256 KiB, when it is
 * here, and when it is unpacked.
 *
 * Several threads call it, those of the pull and the one that called for it, one at a time, and wait
 * until it returns. What it is given is valid until then. It may cancel the pull, and must neither
 * throw nor longjmp(3), nor wait for the pull. `user`, which may be NULL, is yours, and in use as long
 * as a pull with these options is under way.
 */
int skep_pull_options_set_progress(struct skep_pull_options *options,
                                   void (*report)(void *user,
                                                  const struct skep_pull_progress *progress),
                                   void *user);

/**
 * Frees options. NULL is fine.
 */
void skep_pull_options_free(struct skep_pull_options *options);

/**
 * Makes options of a push, all as they are by default.
 */
int skep_push_options_new(struct skep_push_options **options, struct skep_error **error);

/**
 * Reaches registries as `registries` says now. They may be freed before the options.
 */
int skep_push_options_set_registries(struct skep_push_options *options,
                                     const struct skep_registries *registries);

/**
 * Sends so many blobs at once, at least one; 4 by default.
 */
int skep_push_options_set_parallel(struct skep_push_options *options, size_t blobs);

/**
 * Sends blobs in pieces of so many bytes, for registries and proxies that bound a request; in one
 * piece by default.
 */
int skep_push_options_set_chunk(struct skep_push_options *options, uint64_t bytes);

/**
 * Looks for blobs in this repository of the same registry too, such as "library/debian", before they
 * are sent. Those that the image has a name in are looked in anyway.
 */
int skep_push_options_add_mount_from(struct skep_push_options *options,
                                     const char *repository);

/**
 * Calls `report` with `user` at each step of each blob: when it begins, every 256 KiB that are sent,
 * and when the registry has it. The manifest, which comes last, is not among them. Otherwise as
 * skep_pull_options_set_progress().
 */
int skep_push_options_set_progress(struct skep_push_options *options,
                                   void (*report)(void *user,
                                                  const struct skep_push_progress *progress),
                                   void *user);

/**
 * Frees options. NULL is fine.
 */
void skep_push_options_free(struct skep_push_options *options);

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
 * Keeps what the container wrote after its end, until the child is freed, for skep_child_commit(),
 * skep_child_diff() and skep_child_export(); off by default.
 */
int skep_command_set_keep_files(struct skep_command *command, bool keep_files);

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
 * The directories of an image's unpacked layers, bottom first. What is missing is unpacked: a start
 * does so itself, and to do it ahead keeps the first start short. To use them, hold a lease.
 *
 * Errors: SKEP_DIGEST_MISMATCH if a layer is not what the configuration says; SKEP_INVALID_DATA if it
 * is malformed or hostile; SKEP_PERMISSION_DENIED without the rights; SKEP_RESOURCE_EXHAUSTED on a full
 * disk; SKEP_NOT_FOUND if the image was removed; SKEP_CANCELLED.
 */
int skep_image_layers(const struct skep_image *image,
                      struct skep_text_list **paths,
                      struct skep_error **error);

/**
 * Keeps an image from being removed, by any process, until the lease is freed. Containers have their
 * own.
 *
 * Errors: SKEP_NOT_FOUND if it was removed since it was found.
 */
int skep_image_lease(const struct skep_image *image,
                     struct skep_lease **lease,
                     struct skep_error **error);

/**
 * Frees a lease: the image may be removed. NULL is fine.
 */
void skep_lease_free(struct skep_lease *lease);

/**
 * Writes all files of an image as one tar archive, which replaces a file at `path`, as docker's
 * `export` does: skep_engine_import_image() makes an image of it, without the configuration. It is
 * readable by its owner only, deterministic, and at `path` when it is complete.
 *
 * Errors: those of skep_image_layers(); SKEP_INVALID_INPUT for an image without layers, or if `path` is
 * something else than a file; SKEP_UNSUPPORTED for what no archive can hold. The former file stays then.
 */
int skep_image_export(const struct skep_image *image,
                      const char *path,
                      struct skep_error **error);

/**
 * Writes all files of a container's root as skep_image_export() does; file systems that are mounted in
 * it are left out. Its state is as for skep_child_commit().
 *
 * Errors: SKEP_INVALID_STATE if its files are gone; those of skep_image_export().
 */
int skep_child_export(const struct skep_child *child,
                      const char *path,
                      struct skep_error **error);

/**
 * What is other in an image's files than in those of `base`. Of a directory that was deleted only
 * itself is among it, of one that was added everything in it.
 *
 * Errors: those of skep_image_layers(); SKEP_INVALID_INPUT if either has no layers.
 */
int skep_image_diff(const struct skep_image *image,
                    const struct skep_image *base,
                    struct skep_change_list **changes,
                    struct skep_error **error);

/**
 * What a container has changed of its root, as docker's `diff`. Its state is as for
 * skep_child_commit().
 *
 * Errors: SKEP_INVALID_STATE if its files are gone; those of reading them.
 */
int skep_child_diff(const struct skep_child *child,
                    struct skep_change_list **changes,
                    struct skep_error **error);

/**
 * The absolute path, which may be any bytes. Valid as long as the list; NULL for NULL.
 */
const char *skep_change_path(const struct skep_change *change);

/**
 * What became of it: one of `enum skep_change_kind`; 0 for NULL.
 */
int skep_change_what(const struct skep_change *change);

/**
 * How many there are; 0 for NULL.
 */
size_t skep_change_list_length(const struct skep_change_list *list);

/**
 * Change number `index`, from 0; NULL behind the last. It is the list's, and not to be freed.
 */
const struct skep_change *skep_change_list_at(const struct skep_change_list *list, size_t index);

/**
 * Frees a list and its changes. NULL is fine.
 */
void skep_change_list_free(struct skep_change_list *list);

/**
 * Makes a commit without a name that changes nothing but files.
 */
int skep_commit_new(struct skep_commit **commit, struct skep_error **error);

/**
 * The image's name. Another image of that name loses it.
 */
int skep_commit_set_reference(struct skep_commit *commit, const char *reference);

/**
 * What a container of the image runs, in the place of all that the former image says of it: a JSON
 * object as an image's configuration has it under `config`, with Cmd, Entrypoint, Env, User,
 * WorkingDir, Labels and so on.
 */
int skep_commit_set_config(struct skep_commit *commit, const char *json);

/**
 * Who made it.
 */
int skep_commit_set_author(struct skep_commit *commit, const char *author);

/**
 * A line for its history.
 */
int skep_commit_set_comment(struct skep_commit *commit, const char *comment);

/**
 * The command that made it, for its history.
 */
int skep_commit_set_created_by(struct skep_commit *commit, const char *command);

/**
 * The time, in seconds since 1970, that all files of the new layer, the image and its history bear:
 * the same tree is the same image then. By default files keep theirs, and the image bears the present.
 */
int skep_commit_set_time_s(struct skep_commit *commit,
                           int64_t seconds);

/**
 * The most bytes that the files of the new layer may have in all, holes included: a hostile container
 * can have a file of any size without having written it. Any number by default.
 */
int skep_commit_set_max_size(struct skep_commit *commit,
                             uint64_t bytes);

/**
 * Frees it. NULL is fine.
 */
void skep_commit_free(struct skep_commit *commit);

/**
 * Makes an image of a container's own and of what it has written, as `docker commit` does. `commit`
 * may be NULL: without a name.
 *
 * The container may run, have ended and not been waited for, or have its files kept by
 * skep_command_set_keep_files(). One that runs is not stopped meanwhile: each file is in the image as
 * it is when it is read.
 *
 * Errors: the first that an option's function returned; SKEP_INVALID_INPUT if its root is a directory,
 * or for a bad reference; SKEP_INVALID_STATE if its files are gone; SKEP_NOT_FOUND if its image was
 * removed; SKEP_UNSUPPORTED for what a layer cannot hold; SKEP_RESOURCE_EXHAUSTED on a full disk, or
 * above the commit's limit; SKEP_CANCELLED. The store is as before then.
 */
int skep_child_commit(const struct skep_child *child,
                      const struct skep_commit *commit,
                      struct skep_image **made,
                      struct skep_error **error);

/**
 * Makes an image of this one and of the host's directory `upper`, which overlayfs wrote on top of its
 * layers. Otherwise as skep_child_commit(), which is what containers have.
 */
int skep_image_commit(const struct skep_image *image,
                      const char *upper,
                      const struct skep_commit *commit,
                      struct skep_image **made,
                      struct skep_error **error);

/**
 * Makes an image of one layer that has all of this one's files. Its history says how they came.
 * `commit` may be NULL: without a name.
 *
 * Errors: as skep_child_commit(), and those of skep_image_layers().
 */
int skep_image_squash(const struct skep_image *image,
                      const struct skep_commit *commit,
                      struct skep_image **made,
                      struct skep_error **error);

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

/**
 * How many there are; 0 for NULL.
 */
size_t skep_text_list_length(const struct skep_text_list *list);

/**
 * String number `index`, from 0; NULL behind the last. Valid as long as the list.
 */
const char *skep_text_list_at(const struct skep_text_list *list, size_t index);

/**
 * Frees a list and its strings. NULL is fine.
 */
void skep_text_list_free(struct skep_text_list *list);

/**
 * The digest of its bytes, "sha256:...". Valid as long as the descriptor; NULL for NULL, as with the
 * functions below.
 */
const char *skep_descriptor_digest(const struct skep_descriptor *descriptor);

/**
 * Its media type, such as "application/vnd.oci.image.manifest.v1+json". Valid as long as the
 * descriptor.
 */
const char *skep_descriptor_media_type(const struct skep_descriptor *descriptor);

/**
 * The number of its bytes; 0 for NULL.
 */
uint64_t skep_descriptor_size(const struct skep_descriptor *descriptor);

/**
 * All of it as a JSON object, as the registry has it: `artifactType` and `annotations` too. Valid as
 * long as the descriptor.
 */
const char *skep_descriptor_inspect(const struct skep_descriptor *descriptor);

/**
 * Frees a descriptor. NULL is fine.
 */
void skep_descriptor_free(struct skep_descriptor *descriptor);

/**
 * How many there are; 0 for NULL.
 */
size_t skep_descriptor_list_length(const struct skep_descriptor_list *list);

/**
 * Descriptor number `index`, from 0; NULL behind the last. It is the list's, and not to be freed.
 */
const struct skep_descriptor *skep_descriptor_list_at(const struct skep_descriptor_list *list,
                                                      size_t index);

/**
 * Frees a list and its descriptors. NULL is fine.
 */
void skep_descriptor_list_free(struct skep_descriptor_list *list);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SKEP_H */
