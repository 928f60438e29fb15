//! Rounds that run in another process: a host of a given size, or one in a private mount namespace.
//!
//! The bench executes itself with `inside BYTES`. The copy touches that much memory, then runs one
//! round for each line it reads, which names the round and its arguments, with tabs between; it
//! answers with a [`Sample`], or `error: ...`. What a round makes ready it makes once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hint::black_box;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::stats::Sample;

/// A round that times itself.
pub(crate) type Round = Box<dyn FnMut() -> io::Result<Sample>>;

/// The copy's end of the conversation; `words` is what follows `inside`.
pub(crate) fn serve(
    words: &[String],
    resolve: impl Fn(&[&str]) -> io::Result<Round>,
) -> io::Result<()> {
    let [bytes] = words else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let bytes: usize = bytes.parse().map_err(io::Error::other)?;
    let touched = black_box(vec![1_u8; bytes]);
    let mut rounds = HashMap::new();
    for line in io::stdin().lines() {
        match round(&mut rounds, line?, &resolve) {
            Ok(sample) => println!("{sample}"),
            Err(error) => println!("error: {}", error.to_string().replace('\n', " ")),
        }
    }
    drop(black_box(touched));
    Ok(())
}

fn round(
    rounds: &mut HashMap<String, Round>,
    line: String,
    resolve: impl Fn(&[&str]) -> io::Result<Round>,
) -> io::Result<Sample> {
    match rounds.entry(line) {
        Entry::Occupied(mut known) => known.get_mut()(),
        Entry::Vacant(new) => {
            let words: Vec<&str> = new.key().split('\t').collect();
            let round = resolve(&words)?;
            new.insert(round)()
        }
    }
}

/// A copy of this program that runs rounds when told.
pub(crate) struct Remote {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Remote {
    /// A host that has touched `bytes` of memory before its first round.
    pub(crate) fn with_touched_memory(bytes: usize) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("inside").arg(bytes.to_string());
        Remote::spawn(command)
    }

    /// A host in a private mount namespace without `/sys/fs/cgroup/unified`.
    pub(crate) fn without_unified_cgroups() -> io::Result<Self> {
        let script = "if mountpoint -q /sys/fs/cgroup/unified; then \
                      umount /sys/fs/cgroup/unified; fi; exec \"$@\"";
        let mut command = Command::new("unshare");
        command
            .args(["-m", "sh", "-c", script, "sh"])
            .arg(std::env::current_exe()?)
            .args(["inside", "0"]);
        Remote::spawn(command)
    }

    /// Any program that follows the protocol.
    pub(crate) fn spawn(mut command: Command) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take();
        let Some(stdout) = child.stdout.take().map(BufReader::new) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        Ok(Remote { child, stdin, stdout })
    }

    /// Runs one round there: a name that the program's table of rounds knows, with its arguments.
    pub(crate) fn round(&mut self, round: &[&str]) -> io::Result<Sample> {
        let mut line = String::new();
        if let Some(stdin) = &mut self.stdin {
            stdin.write_all(format!("{}\n", round.join("\t")).as_bytes())?;
        }
        if self.stdout.read_line(&mut line)? == 0 {
            return Err(io::Error::other("the helper process ended"));
        }
        line.trim().parse().map_err(io::Error::other)
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.stdin = None; // it ends at end of file
        let _ = self.child.wait();
    }
}
