//! How a container ended, and what it used.

use napi_derive::napi;
use skep::ExitReason;

/// [`skep::ExitStatus`] as an object. `text` is how it reads.
#[napi(object, object_from_js = false, use_nullable = true)]
pub(crate) struct ExitStatus {
    pub reason: &'static str,
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub usage: Usage,
    pub text: String,
}

/// [`skep::Usage`] as an object: bytes and milliseconds.
#[napi(object, object_from_js = false, use_nullable = true)]
pub(crate) struct Usage {
    pub memory_peak: Option<f64>,
    pub cpu_total_ms: Option<f64>,
    pub cpu_user_ms: Option<f64>,
    pub cpu_system_ms: Option<f64>,
    pub oom_kills: Option<f64>,
    pub pids_peak: Option<f64>,
}

impl From<skep::ExitStatus> for ExitStatus {
    fn from(status: skep::ExitStatus) -> ExitStatus {
        ExitStatus {
            reason: match status.reason() {
                ExitReason::Exited(_) => "exited",
                ExitReason::OomKilled => "oom_killed",
                ExitReason::TimedOut => "timed_out",
                // And what core may come to know.
                _ => "signaled",
            },
            code: status.code(),
            signal: status.signal(),
            usage: status.usage().into(),
            text: status.to_string(),
        }
    }
}

impl From<skep::Usage> for Usage {
    fn from(usage: skep::Usage) -> Usage {
        // Exact below 2^53.
        let number = |value: u64| value as f64;
        let ms = |time: std::time::Duration| time.as_micros() as f64 / 1e3;
        Usage {
            memory_peak: usage.memory_peak.map(|bytes| number(bytes.get())),
            cpu_total_ms: usage.cpu.map(|cpu| ms(cpu.total)),
            cpu_user_ms: usage.cpu.map(|cpu| ms(cpu.user)),
            cpu_system_ms: usage.cpu.map(|cpu| ms(cpu.system)),
            oom_kills: usage.oom_kills.map(number),
            pids_peak: usage.pids_peak.map(number),
        }
    }
}
