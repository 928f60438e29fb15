//! The options of a container, as `lib/options.js` hands them over: of the right types.

use std::time::Duration;

use napi::Either;
use napi::bindgen_prelude::Buffer;
use napi_derive::napi;
use skep::{Command, Error, Result};

use crate::stdio::Given;

/// [`skep::Command`] as an object.
#[napi(object, object_to_js = false)]
pub struct Spec {
    pub args: Vec<String>,
    pub entrypoint: Option<Vec<String>>,
    pub env: Option<Vec<(String, String)>>,
    pub working_dir: Option<String>,
    pub user: Option<String>,
    pub hostname: Option<String>,
    pub mounts: Option<Vec<Mount>>,
    pub read_only: Option<bool>,
    pub allow_new_privileges: Option<bool>,
    pub rlimits: Option<Vec<Rlimit>>,
    pub memory: Option<String>,
    pub memory_swap: Option<String>,
    pub cpus: Option<f64>,
    pub pids: Option<f64>,
    pub timeout_ms: Option<f64>,
    pub input: Option<Buffer>,
    pub stdin: Option<Either<String, i32>>,
    pub stdout: Option<Either<String, i32>>,
    pub stderr: Option<Either<String, i32>>,
    pub keep_files: Option<bool>,
}

/// A bind if it has a source, a tmpfs otherwise.
#[napi(object, object_to_js = false)]
pub struct Mount {
    pub source: Option<String>,
    pub destination: String,
    pub read_only: bool,
    pub size: Option<String>,
}

/// Limits of one resource; infinity is none.
#[napi(object, object_to_js = false)]
pub struct Rlimit {
    pub resource: String,
    pub soft: f64,
    pub hard: f64,
}

impl Spec {
    /// What standard input is to be, copied: JavaScript may go on writing to its own.
    pub(crate) fn take_input(&mut self) -> Option<Vec<u8>> {
        self.input.take().map(|input| input.to_vec())
    }

    pub(crate) fn take_streams(&mut self) -> [Given; 3] {
        [self.stdin.take(), self.stdout.take(), self.stderr.take()]
    }

    /// Sets all of it but what has been taken.
    pub(crate) fn configure(self, command: &mut Command) -> Result<()> {
        command.args(self.args).envs(self.env.unwrap_or_default());
        self.entrypoint.map(|entrypoint| command.entrypoint(entrypoint));
        self.working_dir.map(|path| command.working_dir(path));
        self.user.map(|user| command.user(user));
        self.hostname.map(|name| command.hostname(name));
        self.read_only.map(|read_only| command.read_only(read_only));
        self.allow_new_privileges.map(|allow| command.allow_new_privileges(allow));
        self.keep_files.map(|keep| command.keep_files(keep));
        self.cpus.map(|cpus| command.cpus(cpus));
        for mount in self.mounts.into_iter().flatten() {
            command.mount(mount.parse()?);
        }
        for limit in self.rlimits.into_iter().flatten() {
            let resource = skep::rlimit_resource(&limit.resource)?;
            command.rlimit(resource, limit.value(limit.soft)?, limit.value(limit.hard)?);
        }
        if let Some(memory) = self.memory {
            command.memory(memory.parse()?);
        }
        if let Some(swap) = self.memory_swap {
            command.memory_swap(swap.parse()?);
        }
        if let Some(pids) = self.pids {
            command.pids(processes(pids)?);
        }
        if let Some(ms) = self.timeout_ms {
            command.timeout(milliseconds(ms)?);
        }
        Ok(())
    }
}

impl Mount {
    fn parse(self) -> Result<skep::Mount> {
        let mut mount = match self.source {
            Some(source) => skep::Mount::bind(source, self.destination),
            None => skep::Mount::tmpfs(self.destination),
        };
        if let Some(size) = self.size {
            mount = mount.size(size.parse::<skep::Bytes>()?.get());
        }
        Ok(if self.read_only { mount.read_only() } else { mount })
    }
}

impl Rlimit {
    fn value(&self, number: f64) -> Result<u64> {
        if number == f64::INFINITY {
            return Ok(u64::MAX);
        }
        whole(number, u64::MAX as f64).ok_or_else(|| {
            Error::invalid_input("limit", format!("{} to {number}", self.resource))
                .cause("it must be a whole number from 0")
                .fix("give Infinity for no limit")
        })
    }
}

fn processes(number: f64) -> Result<u32> {
    whole(number, u32::MAX.into()).map(|number| number as u32).ok_or_else(|| {
        Error::invalid_input("limit processes to", number.to_string())
            .cause("it must be a whole number below 2^32")
            .fix("give at least 1, or no limit")
    })
}

pub(crate) fn milliseconds(number: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(number / 1e3).map_err(|_| {
        Error::invalid_input("limit the time to", format!("{number} ms"))
            .cause("it must be a number of milliseconds from 0")
            .fix("give a time, or no limit")
    })
}

/// `number`, if it is a whole one from 0 to `most`.
fn whole(number: f64, most: f64) -> Option<u64> {
    (number.fract() == 0.0 && (0.0..=most).contains(&number)).then_some(number as u64)
}
