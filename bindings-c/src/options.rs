//! What a command runs, and what it may use.
//!
//! Each function changes the command or, where its arguments are no such value at all, keeps the
//! error for the start. Whether a value makes sense is found out by core, at the start too.

use std::ffi::{c_char, c_int, c_void};
use std::os::fd::{BorrowedFd, OwnedFd};

use skep::{Bytes, Command, MemorySwap, Mount, Stdio};

use crate::argument::{Text, Texts, bytes};
use crate::command::skep_command;
use crate::error::skep_error;
use crate::panic::Call;
use crate::setting::set;

/// What a standard stream of a container is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub enum skep_stdio {
    /// Your program's own stream.
    SKEP_STDIO_INHERIT = 0,
    /// /dev/null: reads nothing, takes everything.
    SKEP_STDIO_NULL = 1,
    /// A pipe, whose other end the child or the collector has.
    SKEP_STDIO_PIPED = 2,
}

/// For skep_command_set_rlimit(): no limit.
pub const SKEP_UNLIMITED: u64 = u64::MAX;

fn configure(
    name: &'static str,
    command: Option<&mut skep_command>,
    change: impl FnOnce(Call, &mut Command) -> Result<(), skep_error>,
) -> c_int {
    set(name, command.map(|command| &mut command.setting), change)
}

/// Adds an argument. With none at all, the image's command runs. After an image's entrypoint these
/// are its arguments, as with docker.
#[unsafe(no_mangle)]
pub extern "C" fn skep_command_add_arg(command: Option<&mut skep_command>, arg: Text<'_>) -> c_int {
    configure("skep_command_add_arg", command, |call, command| {
        command.arg(arg.str(call, "arg")?);
        Ok(())
    })
}

/// Adds the arguments of a list that ends in NULL, as argv does.
#[unsafe(no_mangle)]
pub extern "C" fn skep_command_add_args(
    command: Option<&mut skep_command>,
    args: Texts<'_>,
) -> c_int {
    configure("skep_command_add_args", command, |call, command| {
        command.args(args.strings(call, "args")?);
        Ok(())
    })
}

/// Replaces the image's entrypoint, and with it the image's command, by a list that ends in NULL. It
/// may be empty.
#[unsafe(no_mangle)]
pub extern "C" fn skep_command_set_entrypoint(
    command: Option<&mut skep_command>,
    args: Texts<'_>,
) -> c_int {
    configure("skep_command_set_entrypoint", command, |call, command| {
        command.entrypoint(args.strings(call, "args")?);
        Ok(())
    })
}

/// Sets an environment variable, beside the image's or in place of its own of that name. Your
/// program's environment is not inherited; PATH, HOSTNAME and HOME have docker's values without.
#[unsafe(no_mangle)]
pub extern "C" fn skep_command_set_env(
    command: Option<&mut skep_command>,
    name: Text<'_>,
    value: Text<'_>,
) -> c_int {
    configure("skep_command_set_env", command, |call, command| {
        command.env(name.str(call, "name")?, value.str(call, "value")?);
        Ok(())
    })
}

/// The directory in the container to start in, an absolute path; made if it is not there. The
/// image's or "/" without.
#[unsafe(no_mangle)]
pub extern "C" fn skep_command_set_working_dir(
    command: Option<&mut skep_command>,
    path: Text<'_>,
) -> c_int {
    configure("skep_command_set_working_dir", command, |call, command| {
        command.working_dir(path.str(call, "path")?);
        Ok(())
    })
}

/// Who the command runs as: "name", "uid", "name:group" or "uid:gid", by the container's own
/// /etc/passwd and /etc/group. The image's or root without.
#[unsafe(no_mangle)]
pub extern "C" fn skep_command_set_user(
    command: Option<&mut skep_command>,
    user: Text<'_>,
) -> c_int {
    configure("skep_command_set_user", command, |call, command| {
        command.user(user.str(call, "user")?);
        Ok(())
    })
}

/// The host name inside; the first twelve digits of the container's id without.
#[unsafe(no_mangle)]
pub extern "C" fn skep_command_set_hostname(
    command: Option<&mut skep_command>,
    name: Text<'_>,
) -> c_int {
    configure("skep_command_set_hostname", command, |call, command| {
        command.hostname(name.str(call, "name")?);
        Ok(())
    })
}

/// Adds a mount of the host's file or directory `source` at `destination`, with the mounts below it;
/// `read_only` refuses writes through it. A source that is not there is an error of the start. Later
/// mounts go on top of, or into, earlier ones.
#[unsafe(no_mangle)]
pub extern "C" fn skep_command_add_bind(
    command: Option<&mut skep_command>,
    source: Text<'_>,
    destination: Text<'_>,
    read_only: bool,
) -> c_int {
    configure("skep_command_add_bind", command, |call, command| {
        let destination = destination.path(call, "destination")?;
        let mount = Mount::bind(source.path(call, "source")?, destination);
        command.mount(if read_only { mount.read_only() } else { mount });
        Ok(())
    })
}

/// Adds an empty file system in memory at `destination`, of at most `size` bytes; 0 is half of the
/// machine's memory. What is in it counts as the container's memory. `read_only` refuses writes.
#[unsafe(no_mangle)]
pub extern "C" fn skep_command_add_tmpfs(
    command: Option<&mut skep_command>,
    destination: Text<'_>,
    size: u64,
    read_only: bool,
) -> c_int {
    configure("skep_command_add_tmpfs", command, |call, command| {
        let mount = Mount::tmpfs(destination.path(call, "destination")?);
        let mount = if size == 0 { mount } else { mount.size(size) };
        command.mount(if read_only { mount.read_only() } else { mount });
        Ok(())
    })
}

/// Refuses writes to the root file system; off by default. Mounts are as they are.
#[unsafe(no_mangle)]
pub extern "C" fn skep_command_set_read_only(
    command: Option<&mut skep_command>,
    read_only: bool,
) -> c_int {
    configure("skep_command_set_read_only", command, |_, command| {
        command.read_only(read_only);
        Ok(())
    })
}

/// Keeps what the container wrote after its end, until the child is freed, for skep_child_commit(),
/// skep_child_diff() and skep_child_export(); off by default.
#[unsafe(no_mangle)]
pub extern "C" fn skep_command_set_keep_files(
    command: Option<&mut skep_command>,
    keep_files: bool,
) -> c_int {
    configure("skep_command_set_keep_files", command, |_, command| {
        command.keep_files(keep_files);
        Ok(())
    })
}

/// Lets set-user-ID programs and file capabilities raise privileges inside; off by default, where
/// docker has it on.
#[unsafe(no_mangle)]
pub extern "C" fn skep_command_set_allow_new_privileges(
    command: Option<&mut skep_command>,
    allow: bool,
) -> c_int {
    configure("skep_command_set_allow_new_privileges", command, |_, command| {
        command.allow_new_privileges(allow);
        Ok(())
    })
}

/// Limits a resource as setrlimit(2) does, in its units: "nofile" or "RLIMIT_NOFILE", in either
/// case. SKEP_UNLIMITED is no limit. A second call for a resource replaces the first.
#[unsafe(no_mangle)]
pub extern "C" fn skep_command_set_rlimit(
    command: Option<&mut skep_command>,
    resource: Text<'_>,
    soft: u64,
    hard: u64,
) -> c_int {
    configure("skep_command_set_rlimit", command, |call, command| {
        command.rlimit(skep::rlimit_resource(resource.str(call, "resource")?)?, soft, hard);
        Ok(())
    })
}

/// Limits memory to so many bytes, page cache and tmpfs included: at least 4 MiB; what passes it is
/// killed (SKEP_REASON_OOM_KILLED). Unlimited by default. skep_bytes_parse() reads "256m".
#[unsafe(no_mangle)]
pub extern "C" fn skep_command_set_memory(command: Option<&mut skep_command>, bytes: u64) -> c_int {
    configure("skep_command_set_memory", command, |_, command| {
        command.memory(Bytes::new(bytes));
        Ok(())
    })
}

/// Limits memory and swap together to so many bytes, as docker's --memory-swap: -1 is unlimited
/// swap, 0 (the default) as much swap as memory, and the memory limit itself no swap. It needs a
/// limit of memory beside it.
#[unsafe(no_mangle)]
pub extern "C" fn skep_command_set_memory_swap(
    command: Option<&mut skep_command>,
    bytes: i64,
) -> c_int {
    configure("skep_command_set_memory_swap", command, |_, command| {
        // Core's own reading of docker's notation, so that the words of its refusal are the same.
        command.memory_swap(bytes.to_string().parse::<MemorySwap>()?);
        Ok(())
    })
}

/// Limits CPU time to so many CPUs' worth, from 0.01 to 8192: 0.5 is half of one. Unlimited by
/// default.
#[unsafe(no_mangle)]
pub extern "C" fn skep_command_set_cpus(command: Option<&mut skep_command>, cpus: f64) -> c_int {
    configure("skep_command_set_cpus", command, |_, command| {
        command.cpus(cpus);
        Ok(())
    })
}

/// Limits the number of processes and threads at one time, at least 1. Unlimited by default.
#[unsafe(no_mangle)]
pub extern "C" fn skep_command_set_pids(command: Option<&mut skep_command>, limit: i64) -> c_int {
    configure("skep_command_set_pids", command, |_, command| {
        if limit < 0 {
            // In core's words for 0.
            let error = skep::Error::invalid_input("limit processes to", limit.to_string())
                .cause("the command is one itself");
            return Err(error.fix("give at least 1, or no limit").into());
        }
        // No kernel has as many.
        command.pids(u32::try_from(limit).unwrap_or(u32::MAX));
        Ok(())
    })
}

/// Kills everything in the container after so many milliseconds (SKEP_REASON_TIMED_OUT), counted from
/// its start, whether or not anyone waits for it. No limit by default.
#[unsafe(no_mangle)]
pub extern "C" fn skep_command_set_timeout_ms(
    command: Option<&mut skep_command>,
    timeout_ms: i64,
) -> c_int {
    configure("skep_command_set_timeout_ms", command, |call, command| {
        command.timeout(call.milliseconds(timeout_ms, "timeout_ms")?);
        Ok(())
    })
}

/// What skep_command_run() and skep_command_collect() write to standard input: a copy of the
/// `length` bytes at `bytes`. What the container does not read is dropped.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skep_command_set_input(
    command: Option<&mut skep_command>,
    bytes: *const c_void,
    length: usize,
) -> c_int {
    configure("skep_command_set_input", command, |call, command| {
        // SAFETY: there are as many bytes there (the caller's promise); they are copied here.
        command.input(unsafe { self::bytes(call, bytes.cast::<c_char>(), length) }?);
        Ok(())
    })
}

/// Standard input, one of `enum skep_stdio`: your program's own for skep_command_spawn() by default,
/// and empty for the others.
#[unsafe(no_mangle)]
pub extern "C" fn skep_command_set_stdin(
    command: Option<&mut skep_command>,
    stdio: c_int,
) -> c_int {
    configure("skep_command_set_stdin", command, |call, command| {
        command.stdin(known(call, stdio)?);
        Ok(())
    })
}

/// Standard output, one of `enum skep_stdio`: your program's own for skep_command_spawn() by
/// default, and a pipe for the others.
#[unsafe(no_mangle)]
pub extern "C" fn skep_command_set_stdout(
    command: Option<&mut skep_command>,
    stdio: c_int,
) -> c_int {
    configure("skep_command_set_stdout", command, |call, command| {
        command.stdout(known(call, stdio)?);
        Ok(())
    })
}

/// Standard error, as skep_command_set_stdout().
#[unsafe(no_mangle)]
pub extern "C" fn skep_command_set_stderr(
    command: Option<&mut skep_command>,
    stdio: c_int,
) -> c_int {
    configure("skep_command_set_stderr", command, |call, command| {
        command.stderr(known(call, stdio)?);
        Ok(())
    })
}

/// Standard input is an open file, pipe or socket of yours. It is duplicated at once and stays
/// yours; the duplicate is closed when the command is freed, or its standard input set again.
#[unsafe(no_mangle)]
pub extern "C" fn skep_command_set_stdin_fd(
    command: Option<&mut skep_command>,
    fd: c_int,
) -> c_int {
    configure("skep_command_set_stdin_fd", command, |call, command| {
        command.stdin(Stdio::file(duplicate(call, fd)?));
        Ok(())
    })
}

/// Standard output, as skep_command_set_stdin_fd(). The reader of a pipe sees its end when the
/// container has ended and the command is freed.
#[unsafe(no_mangle)]
pub extern "C" fn skep_command_set_stdout_fd(
    command: Option<&mut skep_command>,
    fd: c_int,
) -> c_int {
    configure("skep_command_set_stdout_fd", command, |call, command| {
        command.stdout(Stdio::file(duplicate(call, fd)?));
        Ok(())
    })
}

/// Standard error, as skep_command_set_stdout_fd().
#[unsafe(no_mangle)]
pub extern "C" fn skep_command_set_stderr_fd(
    command: Option<&mut skep_command>,
    fd: c_int,
) -> c_int {
    configure("skep_command_set_stderr_fd", command, |call, command| {
        command.stderr(Stdio::file(duplicate(call, fd)?));
        Ok(())
    })
}

fn known(call: Call, stdio: c_int) -> Result<Stdio, skep_error> {
    const INHERIT: c_int = skep_stdio::SKEP_STDIO_INHERIT as c_int;
    const NULL: c_int = skep_stdio::SKEP_STDIO_NULL as c_int;
    const PIPED: c_int = skep_stdio::SKEP_STDIO_PIPED as c_int;
    match stdio {
        INHERIT => Ok(Stdio::inherit()),
        NULL => Ok(Stdio::null()),
        PIPED => Ok(Stdio::piped()),
        _ => Err(call.refuse(format!("its argument stdio is {stdio}, no skep_stdio"))),
    }
}

fn duplicate(call: Call, fd: c_int) -> Result<OwnedFd, skep_error> {
    if fd < 0 {
        return Err(call.refuse("its argument fd is negative".into()));
    }
    // SAFETY: not -1; if it is open it is for as long as this call takes (the caller's promise), and
    // if not, the kernel says so.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    fd.try_clone_to_owned().map_err(|error| {
        call.refuse(format!("its argument fd cannot be duplicated: {error}")).with_cause(&error)
    })
}
