/**
 * A container engine that lives inside your program.
 *
 * ```js
 * import { Engine } from 'skep';
 *
 * const engine = await Engine.open();
 * const image = await engine.images.load('app.tar');
 * const { stdout } = await engine.run(image, ['python3', '-c', 'print(6*7)'], { memory: '256m' });
 * await engine.close();
 * ```
 *
 * Promises are settled by threads of the package's own: nothing here waits in the event loop, and
 * nothing takes a thread of libuv's pool.
 *
 * @packageDocumentation
 */

/// <reference lib="esnext.disposable" />
/// <reference types="node" />

import type { Readable, Writable } from 'node:stream';

/**
 * A container engine.
 *
 * Its first container starts a small process, the keeper, which holds all of them; it ends, and its
 * containers with it, when the engine is closed or this process ends in any way.
 */
export class Engine implements AsyncDisposable {
  private constructor();

  /**
   * Opens a store of images, and removes what programs that have crashed left in it. Several
   * programs may use one store, and one program several engines.
   *
   * @param store - Its directory, which is made if it is not there: `/var/lib/skep` by default.
   * @throws {@link InvalidDataError} for a directory that holds something else,
   * {@link UnsupportedError} on a network file system, {@link PermissionDeniedError} without rights.
   */
  static open(store?: string): Promise<Engine>;

  /** The images of the store. */
  readonly images: Images;

  /**
   * Runs a container to its end, and collects what it says, in memory.
   *
   * How it ended is a result, also if it is an exit code other than 0; but for a timeout and for
   * want of memory, which are errors.
   *
   * @param image - What it starts from: an image, its name or id, or a {@link Root}.
   * @param args - Its command; the image's without.
   * @throws {@link TimeoutError}, {@link OutOfMemoryError}, with `check` {@link ExitError};
   * `AbortError` if `signal` is aborted, once the container is gone; {@link InvalidInputError} for
   * an option that is wrong; {@link NotFoundError} for an image, a command, a user or the source of
   * a mount that is not there; {@link NotExecutableError}, {@link UnsupportedError},
   * {@link PermissionDeniedError}, {@link ResourceExhaustedError}.
   */
  run(
    image: string | Image | Root,
    args: readonly string[] | undefined,
    options: RunOptions<'buffer'> & { encoding: 'buffer' },
  ): Promise<RunResult<Buffer>>;
  run(
    image: string | Image | Root,
    args?: readonly string[],
    options?: RunOptions,
  ): Promise<RunResult<string>>;
  run(
    image: string | Image | Root,
    args?: readonly string[],
    options?: RunOptions<BufferEncoding | 'buffer'>,
  ): Promise<RunResult<string | Buffer>>;

  /**
   * Starts a container; resolves when its command runs. Its streams are pipes unless `options` say
   * otherwise.
   *
   * A container that nobody waits for keeps the event loop alive, as a child process does.
   *
   * @param image - As for {@link Engine.run}.
   * @param args - As for {@link Engine.run}.
   * @throws As {@link Engine.run}, but for those that tell how a container ended.
   */
  spawn(
    image: string | Image | Root,
    args?: readonly string[],
    options?: SpawnOptions,
  ): Promise<Child>;

  /**
   * Kills the containers that still run and waits until nothing is left of them; files that are kept
   * of others are removed, and what is done with images is cancelled ({@link CancelledError}).
   * Everything that is asked of the engine, its images and its children later fails with
   * {@link InvalidStateError}. A second call waits for the first.
   */
  close(): Promise<void>;

  /** {@link Engine.close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** What {@link Engine.run} and {@link Engine.spawn} take. */
export interface ContainerOptions {
  /** Replaces the image's entrypoint, and with it the image's command. */
  entrypoint?: readonly string[];
  /**
   * Environment variables, beside the image's or in place of those of that name. This process's own
   * are not inherited. What is undefined is left out.
   */
  env?: Readonly<Record<string, string | undefined>>;
  /** The directory to start in, an absolute path; made if it is not there. */
  workingDir?: string;
  /** Who the command runs as: `name`, `uid`, `name:group` or `uid:gid`. */
  user?: string;
  /** The first twelve digits of the container's id by default. */
  hostname?: string;
  /** Later ones go on top of, or into, earlier ones. */
  mounts?: readonly Mount[];
  /** Refuses writes to the root file system; false by default. */
  readOnly?: boolean;
  /** Lets set-user-ID programs raise privileges; false by default, where docker has it true. */
  allowNewPrivileges?: boolean;
  /**
   * Limits as setrlimit(2) has them, by name: `{ nofile: 1024, core: { soft: 0, hard: Infinity } }`.
   */
  rlimits?: Readonly<Record<string, number | { readonly soft: number; readonly hard: number }>>;
  /** Memory: a number of bytes, or docker's notation such as `'256m'`. At least 4 MiB. */
  memory?: number | string;
  /** Memory and swap together, or `-1` for no limit of swap: docker's `--memory-swap`. */
  memorySwap?: number | string;
  /** CPU time, in CPUs: `0.5` is half of one. From 0.01. */
  cpus?: number;
  /** Processes and threads at one time. */
  pids?: number;
  /** Kills the container after so many milliseconds, counted from its start. 0 is at once. */
  timeoutMs?: number;
  /** `'pipe'` for `spawn`; for `run` a pipe with `input`, and `'ignore'` without. */
  stdin?: StreamOption;
  /** `'pipe'` by default. */
  stdout?: StreamOption;
  /** `'pipe'` by default. */
  stderr?: StreamOption;
  /** Aborted, it kills the container. */
  signal?: AbortSignal;
}

/** What {@link Engine.spawn} takes. */
export interface SpawnOptions extends ContainerOptions {
  /**
   * Keeps what the container has written beyond its end, for {@link Child.commit},
   * {@link Child.diff} and {@link Child.export}: until the child is disposed of (`await using`), the
   * engine closed, or the garbage collector finds that nobody has it.
   */
  keepFiles?: boolean;
}

/** What {@link Engine.run} takes. */
export interface RunOptions<Encoding extends BufferEncoding | 'buffer' = BufferEncoding>
  extends ContainerOptions {
  /** What is written to standard input. What the command does not read is dropped. */
  input?: string | Uint8Array;
  /** What `stdout` and `stderr` are decoded from: `'utf8'` by default; `'buffer'` for Buffers. */
  encoding?: Encoding;
  /** Makes an exit code other than 0, or a signal, an {@link ExitError}. */
  check?: boolean;
}

/**
 * A pipe, this process's own stream, `/dev/null`, or an open file by its descriptor: each container
 * gets a duplicate.
 */
export type StreamOption = 'pipe' | 'inherit' | 'ignore' | number | { readonly fd: number };

/** What {@link Engine.run} resolves with. */
export interface RunResult<Output extends string | Buffer = string> {
  /** How it ended. */
  status: ExitStatus;
  /** Its exit code; null if a signal ended it. */
  code: number | null;
  /** All of its standard output. */
  stdout: Output;
  /** All of its standard error. */
  stderr: Output;
  /** What it used. */
  usage: Usage;
}

/** A running container. */
export class Child implements AsyncDisposable {
  private constructor();

  /** 32 hexadecimal digits. */
  readonly id: string;
  /** Its standard input, if that is a pipe; destroyed when it has ended. */
  readonly stdin: Writable | null;
  /**
   * Its standard output, if that is a pipe. What is not read holds the container up, and
   * keeps a file descriptor after its end, until it is read or destroyed.
   */
  readonly stdout: Readable | null;
  /** Its standard error, likewise. */
  readonly stderr: Readable | null;
  /** Settles when it has ended and nothing is left of it; as {@link Child.wait}. */
  readonly exit: Promise<ExitStatus>;
  /** How it ended; null while it runs. */
  readonly status: ExitStatus | null;

  /**
   * Waits for its end. How it ended is never an error.
   *
   * @throws {@link KeeperLostError} if the keeper has been killed, and the container with it.
   */
  wait(): Promise<ExitStatus>;
  /** Waits for so many milliseconds at most: null if it still runs then. */
  wait(options: { timeoutMs?: number }): Promise<ExitStatus | null>;

  /**
   * Sends a signal to its command: SIGKILL by default, which ends all of its processes. One that has
   * ended is left alone.
   *
   * The command is the init of its pid namespace: a signal that it has no handler for does nothing.
   *
   * @throws {@link InvalidInputError} for a number or a name that is no signal.
   */
  kill(signal?: NodeJS.Signals | number): void;

  /**
   * Asks it to end with its stop signal (the image's, or SIGTERM), and kills it if it has not after
   * `graceMs` milliseconds, 10,000 by default.
   */
  stop(options?: { graceMs?: number }): Promise<ExitStatus>;

  /** What it has used so far; in all, when it has ended. */
  usage(): Promise<Usage>;

  /**
   * Makes an image of the container's own and of what it has written, as `docker commit` does.
   *
   * It may run, or have ended with its files kept ({@link SpawnOptions.keepFiles}). One that runs is
   * not stopped meanwhile: each file is in the image as it is when it is read.
   *
   * @throws {@link InvalidInputError} if its root is no image, or for a bad reference,
   * {@link InvalidStateError} if its files are gone, {@link UnsupportedError} for what a layer
   * cannot hold, {@link ResourceExhaustedError} on a full disk or above `maxSize`; the store is as
   * before then. `AbortError`.
   */
  commit(options?: CommitOptions): Promise<Image>;

  /** What it has changed of its root, sorted by path. Its state is as for {@link Child.commit}. */
  diff(options?: Abortable): Promise<Change[]>;

  /**
   * Writes all files of its root as one tar archive, which replaces a file at `path`; as
   * {@link Image.export}. Its state is as for {@link Child.commit}.
   */
  export(path: string, options?: Abortable): Promise<void>;

  /**
   * Kills it, waits until nothing is left of it, its files neither, and destroys its streams: for
   * `await using`.
   */
  [Symbol.asyncDispose](): Promise<void>;
}

/** How a container ended. As text it reads `exit code 3` or `killed after its timeout`. */
export class ExitStatus {
  private constructor();

  /** Why: by itself, by a signal, because of its memory limit, or of its timeout. */
  readonly reason: 'exited' | 'signaled' | 'oom_killed' | 'timed_out';
  /** Its exit code; null if a signal ended it. */
  readonly code: number | null;
  /** The signal that ended it, if one did; a number only for a real-time signal. */
  readonly signal: NodeJS.Signals | number | null;
  /** What it used. */
  readonly usage: Usage;
  /** Whether it exited with code 0. */
  readonly success: boolean;
  toString(): string;
}

/** What a whole container used; null where the kernel does not count it. */
export interface Usage {
  /** Bytes. */
  readonly memoryPeak: number | null;
  readonly cpuTotalMs: number | null;
  readonly cpuUserMs: number | null;
  readonly cpuSystemMs: number | null;
  /** How many of its processes were killed for want of memory. */
  readonly oomKills: number | null;
  /** Processes and threads at one time. */
  readonly pidsPeak: number | null;
}

/** What may take long, and can be aborted. */
export interface Abortable {
  /**
   * Aborted, it ends the operation; when that has ended, the promise is rejected with an
   * `AbortError`. Nothing is half visible then.
   */
  signal?: AbortSignal;
}

/** The images of an engine's store. */
export class Images {
  private constructor();

  /**
   * Loads the one image of an archive (`docker save`, `podman save`, `skopeo copy`), of an OCI
   * layout's directory or its tar. It gets the names that it has there.
   *
   * @throws {@link NotFoundError}, {@link InvalidInputError} for several images,
   * {@link InvalidDataError}, {@link DigestMismatchError}, {@link UnsupportedError},
   * {@link ResourceExhaustedError}; the store is as before then.
   */
  load(path: string, options?: LoadOptions): Promise<Image>;

  /** As {@link Images.load}, for any number of images. */
  loadAll(path: string, options?: LoadOptions): Promise<Image[]>;

  /**
   * Makes an image of a root file system's tar, which may be compressed by gzip or zstd.
   *
   * @throws As {@link Images.load}.
   */
  import(tar: string, reference?: string, options?: LoadOptions): Promise<Image>;

  /**
   * Pulls an image from its registry, or a mirror of that, and names it `reference`. What the store
   * has is not fetched again; a pull that failed is resumed by the next. Every byte is checked
   * against its digest before anything is visible.
   *
   * @throws {@link InvalidInputError} for a bad reference; {@link NotFoundError};
   * {@link PermissionDeniedError} if the registry lets nobody in with these credentials, or the
   * policy refuses the image (its `operation` is `accept` then); {@link UnsupportedError} without an
   * image for the platform; {@link DigestMismatchError}, {@link InvalidDataError};
   * {@link TimeoutError} if the registry is silent; {@link ResourceExhaustedError};
   * {@link IoError} if it is not reached or fails; `AbortError`; whatever `onProgress` throws.
   */
  pull(reference: string, options?: PullOptions): Promise<Image>;

  /**
   * Pushes an image to the registry of `reference`, under that name. What the registry has is not
   * sent.
   *
   * @param image - An image, its name or id.
   * @returns The digest that it has there: its manifest's.
   * @throws As {@link Images.pull}; {@link InvalidInputError} for a reference with another digest.
   */
  push(image: string | Image, reference: string, options?: PushOptions): Promise<string>;

  /**
   * Saves images into one archive, which replaces a file at `path` when it is complete. A name saves
   * the image under that name alone, an id or an `Image` under all its names.
   *
   * @throws {@link NotFoundError}; {@link InvalidInputError} without any image;
   * {@link DigestMismatchError} or {@link InvalidDataError} for a damaged one;
   * {@link ResourceExhaustedError}.
   */
  save(
    images: string | Image | readonly (string | Image)[],
    path: string,
    options?: SaveOptions,
  ): Promise<void>;

  /**
   * Finds an image by a name or by its id: four of its digits or more will do.
   *
   * @throws {@link NotFoundError}; {@link InvalidInputError} if it is neither a name nor an id.
   */
  find(name: string): Promise<Image>;

  /** All images, in the order in which they came. */
  list(): Promise<ImageSummary[]>;

  /** Names an image `reference`. Another image of that name loses it. */
  tag(name: string, reference: string, options?: Abortable): Promise<void>;

  /**
   * Removes a name and, with its last one, the image. An id removes the image with all its names.
   *
   * @throws {@link NotFoundError}; {@link InUseError} while a container uses it.
   */
  remove(name: string, options?: Abortable): Promise<void>;

  /**
   * Removes what nobody needs: `'files'` that no image has, with `'nameless'` also images without a
   * name, with `'unused'` all images that no container uses. Safe at any moment.
   *
   * @param what - `'files'` by default.
   */
  prune(what?: 'files' | 'nameless' | 'unused', options?: Abortable): Promise<Pruned>;

  /** Measures what the images take of the disk, by looking at every file. */
  diskUsage(options?: Abortable): Promise<DiskUsage>;
}

/** What {@link Images.load}, {@link Images.loadAll} and {@link Images.import} take. */
export interface LoadOptions extends Abortable {
  /**
   * What an image, or an archive of images, may become at most: bytes (or docker's notation) of its
   * layers without compression, holes included. 50 times its blobs or 16 GiB, whichever is more, by
   * default. Beyond it is a {@link ResourceExhaustedError}. It holds for the image that comes of it, too.
   */
  maxSize?: number | string;
}

/** What {@link Images.pull} takes. */
export interface PullOptions extends LoadOptions {
  /** How registries are reached; by https, and with docker's or podman's credentials, by default. */
  registries?: Registries | Readonly<Record<string, Access>>;
  /** `'linux/arm64'`, for instance; this machine's by default. */
  platform?: string;
  /** How many blobs are fetched at once; 4 by default. */
  parallel?: number;
  /** False leaves the unpacking to the first start. */
  unpack?: boolean;
  /** Who must have signed it; anything is taken by default. */
  policy?: Policy;
  /**
   * Is told how far each layer is. While the event loop is busy, reports are left out, but for the
   * last of each layer. What it throws ends the pull and is what the promise is rejected with.
   */
  onProgress?: (progress: PullProgress) => void;
}

/** What {@link Images.push} takes. */
export interface PushOptions extends Abortable {
  /** As for {@link PullOptions.registries}. */
  registries?: Registries | Readonly<Record<string, Access>>;
  /** How many blobs are sent at once; 4 by default. */
  parallel?: number;
  /** Sends blobs in pieces of so many bytes (or docker's notation), for proxies that bound a request. */
  chunk?: number | string;
  /** Repositories of the same registry that may have blobs of it, such as `'library/debian'`. */
  mountFrom?: readonly string[];
  /** As {@link PullOptions.onProgress}, of layers and the config. */
  onProgress?: (progress: PushProgress) => void;
}

/** What {@link Images.save} takes. */
export interface SaveOptions extends Abortable {
  /** `'docker'`, which all versions of docker load, by default; `'oci'` keeps all digests. */
  format?: 'docker' | 'oci';
}

/** How far one layer of a pull is. */
export interface PullProgress {
  /** The digest of its blob. */
  readonly layer: string;
  /** Bytes of the blob. */
  readonly total: number;
  /** Those of them that are here. */
  readonly fetched: number;
  readonly unpacked: boolean;
}

/** How far one blob of a push is: a layer, or the config. */
export interface PushProgress {
  /** Its digest. */
  readonly blob: string;
  /** Its bytes. */
  readonly total: number;
  /** Those of them that were sent, in this attempt. */
  readonly sent: number;
  /** How the registry came to have it; null while it has not all of it. */
  readonly done: 'sent' | 'existed' | 'mounted' | null;
}

/**
 * The registries as this program reaches them. To keep one for many calls saves connections and
 * tokens.
 */
export class Registries {
  /**
   * @param access - By name as references have it: `docker.io`, `localhost:5000`. A mirror is one,
   * too.
   * @throws {@link InvalidInputError} for certificates or keys that are none.
   */
  constructor(access?: Readonly<Record<string, Access>>, options?: RegistriesOptions);

  /**
   * Asks whether `registry` is one and lets this program in.
   *
   * @throws {@link InvalidInputError} for a bad name, {@link NotFoundError} if it is something else,
   * {@link PermissionDeniedError} if it wants other credentials, {@link TimeoutError} if it is
   * silent, {@link IoError} if it is not reached; `AbortError`.
   */
  ping(registry: string, options?: Abortable): Promise<void>;

  /** What `reference` names at its registry now: a manifest or an index. */
  resolve(reference: string, options?: Abortable): Promise<Descriptor>;

  /** The tags of a repository, for instance `localhost:5000/app`, in the registry's order. */
  tags(repository: string, options?: Abortable): Promise<string[]>;

  /** What refers to the image that `reference` names, such as signatures; those of one type, if given. */
  referrers(
    reference: string,
    options?: Abortable & { artifactType?: string },
  ): Promise<Descriptor[]>;
}

/** What is said of all registries. */
export interface RegistriesOptions {
  /** docker's config.json or podman's auth.json, in place of the usual ones; with none, none. */
  credentialFiles?: readonly string[];
  /** How long a registry may be silent; 60,000 by default. */
  timeoutMs?: number;
  /** How often a request is made if a registry is overloaded, fails or is lost; 5 by default. */
  attempts?: number;
  /** The pause after the first of them, which doubles; 250 by default. */
  pauseMs?: number;
}

/** How one registry, or one mirror, is reached. */
export interface Access {
  /** By http, where anyone on the way may read and change what no digest names. */
  plainHttp?: boolean;
  /** `HOST[:PORT][/PREFIX]`, asked first, in this order, and by pulls only. */
  mirrors?: readonly string[];
  /** Shown when the registry asks for some. */
  credentials?: Credentials;
  /** The authorities that are trusted in place of the platform's, PEM. */
  ca?: string | Uint8Array;
  /** Shown when the registry asks for one, PEM. */
  clientCertificate?: { readonly cert: string | Uint8Array; readonly key: string | Uint8Array };
}

/** A user's name and password (or access token), or docker's `identitytoken` or `registrytoken`. */
export type Credentials =
  | { readonly user: string; readonly password: string }
  | { readonly identityToken: string }
  | { readonly registryToken: string };

/**
 * Who must have signed what is pulled. Signatures are those that cosign makes with a key, and skopeo
 * and podman with `--sign-by-sigstore-private-key`.
 */
export interface Policy {
  /** For what has no prefix of its own. */
  default: Requirement;
  /**
   * By the beginning of names, `registry.example/team` for instance: the longest counts, alone. A
   * prefix ends where a part of a name does.
   */
  prefixes?: Readonly<Record<string, Requirement>>;
}

/** What an image must fulfil: nothing, what cannot be fulfilled, or signatures. */
export type Requirement =
  | 'accept'
  | 'reject'
  | {
      /** Public keys, PEM. */
      readonly keys: readonly (string | Uint8Array)[];
      /** How many different ones of them must have signed it; 1 by default. */
      readonly atLeast?: number;
      /**
       * The name that it must have been signed under: `'signedTag'`, the default, is the repository
       * that is pulled from, and the tag if the signature names one; `'exact'` wants the tag;
       * `'repository'` takes any tag; `named` is another repository, for copies.
       */
      readonly identity?: 'signedTag' | 'exact' | 'repository' | { readonly named: string };
    };

/** A manifest, an index or a blob, as registries and manifests tell of it. */
export interface Descriptor {
  mediaType: string;
  digest: string;
  /** Bytes. */
  size: number;
  platform: string | null;
  /** What kind of artifact a referrer is. */
  artifactType: string | null;
  annotations: Record<string, string>;
}

/** What {@link Images.prune} has removed. */
export interface Pruned {
  /** Ids. */
  images: string[];
  /** How many blobs. */
  blobs: number;
  /** How many unpacked layers. */
  layers: number;
  /** Bytes of both on the disk. */
  bytes: number;
}

/** What images take of the disk, in bytes. */
export interface DiskUsage {
  images: ImageUsage[];
  /** Of all blobs. */
  blobs: number;
  /** Of all unpacked layers. */
  layers: number;
  /** Of blobs and layers that no image needs. */
  unneeded: number;
}

/** What one image takes of the disk, in bytes. */
export interface ImageUsage {
  id: string;
  references: string[];
  blobs: number;
  /** Of its unpacked layers. */
  layers: number;
  /** Of both, what other images have, too. */
  shared: number;
  /** Whether a container uses it. */
  inUse: boolean;
}

/** What became of one path. */
export interface Change {
  kind: 'added' | 'changed' | 'deleted';
  /** Absolute. What is no UTF-8 in it is U+FFFD. */
  path: string;
}

/** One step of how an image came to be. */
export interface HistoryStep {
  /** In RFC 3339. */
  created: string | null;
  createdBy: string | null;
  author: string | null;
  comment: string | null;
  /** The layer that it made, if it made one. */
  layer: Descriptor | null;
}

/** How a new image differs from the one that it is made of, beside its files. */
export interface CommitOptions extends Abortable {
  /** Its name, which another image loses. None by default. */
  reference?: string;
  /** What its containers run, in place of all that the former image says of it (`config.config`). */
  config?: Readonly<Record<string, unknown>>;
  author?: string;
  /** A line for its history. */
  comment?: string;
  /** The command that made it, for its history. */
  createdBy?: string;
  /**
   * The time that the new layer's files, the image and its history bear: the same files are the
   * same image then. Files keep theirs by default, and the image bears the present.
   */
  time?: Date | number;
  /** The most bytes (or docker's notation) that the new layer's files may have in all. */
  maxSize?: number | string;
}

/** An image of a store, as it was when it was found. */
export class Image {
  private constructor();

  /** The digest of its config. */
  readonly id: string;
  /** The digest of its manifest. */
  readonly digest: string;
  /** Its names. */
  readonly references: readonly string[];
  /** Bytes of its blobs. */
  readonly size: number;
  /** Its config, as OCI has it. */
  readonly config: Readonly<Record<string, unknown>>;

  /** All of it: the above, and its manifest. */
  inspect(): {
    id: string;
    digest: string;
    references: string[];
    size: number;
    config: Record<string, any>;
    manifest: Record<string, any>;
  };

  /**
   * How it came to be, bottom first: each line of its history with the layer that it made. Layers
   * that its history does not tell of come first.
   */
  history(): HistoryStep[];

  /**
   * The directories of its unpacked layers, bottom first; what is missing is unpacked. A start does
   * it itself: to call it ahead keeps the first one short.
   *
   * @throws {@link InvalidDataError} or {@link DigestMismatchError} for a damaged image,
   * {@link PermissionDeniedError}, {@link ResourceExhaustedError}, {@link NotFoundError} if it was
   * removed; `AbortError`.
   */
  layers(options?: Abortable): Promise<string[]>;

  /**
   * Writes all files of the image as one tar archive, which replaces a file at `path` when it is
   * complete: {@link Images.import} makes an image of it again, without the config.
   *
   * @throws As {@link Image.layers}; {@link InvalidInputError} if `path` is no file.
   */
  export(path: string, options?: Abortable): Promise<void>;

  /** What is other in its files than in those of `base`, sorted by path. */
  diff(base: Image, options?: Abortable): Promise<Change[]>;

  /** Makes an image of one layer that has all of this one's files. */
  squash(options?: CommitOptions): Promise<Image>;

  /** Its first name, or its id. */
  toString(): string;
}

/** One line of {@link Images.list}. */
export interface ImageSummary {
  id: string;
  references: string[];
  /** Bytes of its blobs. */
  size: number;
  /** When it was built, in RFC 3339, if its config says so. */
  created: string | null;
}

/** A mount into a container. */
export class Mount {
  private constructor();

  /**
   * A file or directory of the host, with the mounts below it; writable by default. It must be
   * there when the container starts.
   */
  static bind(source: string, destination: string, options?: { readOnly?: boolean }): Mount;

  /**
   * An empty file system in memory, of at most `size` bytes (or docker's notation), half of the
   * machine's memory by default. What is in it counts as the container's memory.
   */
  static tmpfs(
    destination: string,
    options?: { size?: number | string; readOnly?: boolean },
  ): Mount;

  readonly type: 'bind' | 'tmpfs';
  readonly source?: string;
  readonly destination: string;
  readonly readOnly: boolean;
  readonly size?: string;
}

/** A root file system that is no image. A container's writes go elsewhere, and end with it. */
export class Root {
  private constructor();

  /** The host's own, without what is mounted below it. */
  static host(): Root;
  /** A directory of the host. */
  static directory(path: string): Root;
  toString(): string;
}

/**
 * The base class of all errors. Messages read "cannot OPERATION SUBJECT: CAUSE; FIX".
 *
 * An aborted signal is none of them: as elsewhere in Node it is an `AbortError`, whose `code` is
 * `'ABORT_ERR'` and whose `cause` the signal's reason.
 */
export class SkepError extends Error {
  protected constructor();

  /** `ERR_SKEP_` and the kind: `ERR_SKEP_NOT_FOUND`. */
  readonly code: string;
  /** The kind, as in the other languages: `NotFound`. */
  readonly kind: string;
  /** What failed, as a verb: `load`. */
  readonly operation: string;
  /** What it was about. */
  readonly subject: string;
  /** The system's (positive) error number, where a system call failed. */
  readonly errno?: number;
}

/** The named thing (file, image, command, user) does not exist. */
export class NotFoundError extends SkepError {}
/** The named thing exists already. */
export class AlreadyExistsError extends SkepError {}
/** An argument or an option is wrong. */
export class InvalidInputError extends SkepError {}
/** Foreign bytes (an image, an archive) are malformed, truncated or hostile. */
export class InvalidDataError extends SkepError {}
/** Bytes do not have the digest or the size they were announced with. */
export class DigestMismatchError extends SkepError {}
/** The kernel, a file's mode, a registry or a policy forbids it. */
export class PermissionDeniedError extends SkepError {}
/** This kernel, control group set-up or file system cannot do it. */
export class UnsupportedError extends SkepError {}
/** The command exists and cannot be executed. */
export class NotExecutableError extends SkepError {}
/** The thing is in use, so that it cannot be changed or removed now. */
export class InUseError extends SkepError {}
/** The thing is not in a state that allows it: a closed engine, for instance. */
export class InvalidStateError extends SkepError {}
/** Out of file descriptors, processes, memory or disk space. */
export class ResourceExhaustedError extends SkepError {}
/** The keeper that held the container is gone. */
export class KeeperLostError extends SkepError {}
/** Any other failure of a system call. */
export class IoError extends SkepError {}
/** It was cancelled by {@link Engine.close}. */
export class CancelledError extends SkepError {}

/** A run that did not end as it should: what it came to. */
interface RunError extends SkepError {
  readonly status: ExitStatus;
  /** A Buffer where the run's `encoding` was `'buffer'`. */
  readonly stdout: string | Buffer;
  readonly stderr: string | Buffer;
  readonly usage: Usage;
}

/**
 * A run was killed after its timeout: `ERR_SKEP_TIMED_OUT`. Or a registry was silent for too long:
 * then there is nothing but the message.
 */
export class TimeoutError extends SkepError {}
export interface TimeoutError extends RunError {}
/** A run was killed because of its memory limit: `ERR_SKEP_OUT_OF_MEMORY`. */
export class OutOfMemoryError extends SkepError {}
export interface OutOfMemoryError extends RunError {}
/** A run with `check` did not exit with code 0: `ERR_SKEP_EXIT`. */
export class ExitError extends SkepError {}
export interface ExitError extends RunError {}
