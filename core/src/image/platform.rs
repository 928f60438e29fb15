//! Platforms: which of an index's manifests is for which machine.
//!
//! A processor's variants are levels of one ladder (`arm/v6` below `arm/v7`, `amd64/v2` below
//! `amd64/v3`): a machine runs its own and all below, and is given the highest it runs.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::manifest::Descriptor;
use crate::{Error, ErrorKind, Result};

/// The operating system and processor an image is for.
///
/// ```
/// let platform: skep::image::Platform = "linux/arm/v7".parse()?;
/// assert_eq!(platform.variant.as_deref(), Some("v7"));
/// assert_eq!(platform.to_string(), "linux/arm/v7");
/// # Ok::<(), skep::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`, for whatever skep can run.
    pub os: String,
    /// The processor as Go names it: `amd64`, `arm64`.
    pub architecture: String,
    /// The processor's variant: `v7`, `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Fields that skep does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

impl Platform {
    /// This machine's.
    pub fn host() -> Self {
        let variant = match host_architecture() {
            "amd64" => host_level(),
            "arm64" => Some(8),
            "arm" => Some(7),
            _ => None,
        };
        Platform {
            os: "linux".to_owned(),
            architecture: host_architecture().to_owned(),
            variant: variant.map(|level| format!("v{level}")),
            extra: BTreeMap::new(),
        }
    }

    /// Whether this machine runs it.
    pub(crate) fn is_host(&self) -> bool {
        self.level_for(&Platform::host()).is_some()
    }

    /// How well it suits a machine of `wanted`: higher is better, `None` is not at all.
    fn level_for(&self, wanted: &Platform) -> Option<u32> {
        if (&self.os, &self.architecture) != (&wanted.os, &wanted.architecture) {
            return None;
        }
        match (self.level(), wanted.level()) {
            (Some(level), Some(most)) => (level <= most).then_some(level),
            // A variant that is no level is itself or nothing.
            _ => (self.variant == wanted.variant).then_some(0),
        }
    }

    /// The variant as a number; what a processor has at least, if it is not given.
    fn level(&self) -> Option<u32> {
        match self.variant.as_deref().filter(|variant| !variant.is_empty()) {
            Some(variant) => variant.strip_prefix('v')?.parse().ok(),
            None => Some(match self.architecture.as_str() {
                "arm64" => 8,
                "arm" => 7,
                _ => 1,
            }),
        }
    }
}

impl FromStr for Platform {
    type Err = Error;

    /// Parses `OS/ARCHITECTURE[/VARIANT]`.
    fn from_str(text: &str) -> Result<Self> {
        let mut parts = text.split('/').map(str::to_owned);
        let mut part = || parts.next().filter(|part| !part.is_empty());
        match (part(), part(), part(), parts.next()) {
            (Some(os), Some(architecture), variant, None) if text.split('/').all(is_word) => {
                Ok(Platform { os, architecture, variant, extra: BTreeMap::new() })
            }
            _ => Err(Error::new(ErrorKind::InvalidInput, "parse platform", format!("{text:?}"))
                .cause("it has another form")
                .fix("write OS/ARCHITECTURE[/VARIANT], for instance linux/arm64")),
        }
    }
}

fn is_word(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'))
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

/// This machine's processor as Go names it.
pub(crate) fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        other => other,
    }
}

/// The level of an x86-64 processor, by the features that tell the levels apart.
///
/// Source: <https://gitlab.com/x86-psABIs/x86-64-ABI>
#[cfg(target_arch = "x86_64")]
fn host_level() -> Option<u32> {
    use std::arch::is_x86_feature_detected as has;
    let v2 = has!("sse4.2") && has!("popcnt") && has!("ssse3") && has!("cmpxchg16b");
    let v3 = v2 && has!("avx2") && has!("bmi1") && has!("bmi2") && has!("fma");
    let v3 = v3 && has!("lzcnt") && has!("f16c") && has!("movbe");
    let v4 = v3 && has!("avx512f") && has!("avx512bw") && has!("avx512cd");
    let v4 = v4 && has!("avx512dq") && has!("avx512vl");
    Some(1 + u32::from(v2) + u32::from(v3) + u32::from(v4))
}

#[cfg(not(target_arch = "x86_64"))]
fn host_level() -> Option<u32> {
    None
}

/// The manifest for `wanted`: of those whose platform suits it the highest, and the first of them;
/// else the first that does not say.
pub(crate) fn choose<'a>(
    wanted: &Platform,
    manifests: impl IntoIterator<Item = &'a Descriptor> + Clone,
) -> Option<&'a Descriptor> {
    let mut best: Option<(u32, &Descriptor)> = None;
    for descriptor in manifests.clone() {
        let level = descriptor.platform.as_ref().and_then(|platform| platform.level_for(wanted));
        if let Some(level) = level.filter(|level| best.is_none_or(|(most, _)| *level > most)) {
            best = Some((level, descriptor));
        }
    }
    let silent = || manifests.into_iter().find(|d| d.platform.is_none());
    best.map(|(_, descriptor)| descriptor).or_else(silent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Digest;

    fn index(platforms: &[&str]) -> Vec<Descriptor> {
        let of = |(i, platform): (usize, &&str)| Descriptor {
            platform: (!platform.is_empty()).then(|| platform.parse().unwrap()),
            ..Descriptor::new("", Digest::of(b""), i as u64)
        };
        platforms.iter().enumerate().map(of).collect()
    }

    #[test]
    fn the_highest_that_the_machine_runs_is_chosen() {
        for (wanted, platforms, chosen) in [
            ("linux/arm/v7", &["linux/arm/v5", "linux/arm/v7", "linux/arm/v6"][..], Some(1)),
            ("linux/arm/v6", &["linux/arm/v7", "linux/arm/v5", "linux/arm/v6"], Some(2)),
            ("linux/arm/v5", &["linux/arm/v7", "linux/arm/v6"], None),
            ("linux/arm", &["linux/arm/v8", "linux/arm/v7"], Some(1)),
            ("linux/arm64", &["linux/amd64", "linux/arm64/v8"], Some(1)),
            ("linux/arm64/v8", &["linux/arm64", "linux/arm64/v8"], Some(0)),
            ("linux/amd64", &["linux/amd64/v3", "linux/amd64"], Some(1)),
            ("linux/amd64/v3", &["linux/amd64", "linux/amd64/v3", "linux/amd64/v4"], Some(1)),
            ("linux/amd64", &["windows/amd64", "unknown/unknown"], None),
            ("linux/amd64", &["linux/arm64", ""], Some(1)),
            ("linux/mips/soft", &["linux/mips", "linux/mips/soft"], Some(1)),
            ("linux/amd64", &["linux/amd64", "linux/amd64"], Some(0)),
        ] {
            let index = index(platforms);
            let found = choose(&wanted.parse().unwrap(), &index).map(|d| d.size);
            assert_eq!(found, chosen, "{wanted} of {platforms:?}");
        }
    }

    #[test]
    fn what_is_no_platform_is_refused() {
        for text in ["", "linux", "linux/", "/amd64", "linux/a/b/c", "linux/arm/", "a b/c", "a//b"]
        {
            let error = text.parse::<Platform>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text:?}");
        }
    }

    #[test]
    fn this_machine_runs_its_own_platform() {
        assert!(Platform::host().is_host());
        assert!(format!("linux/{}", host_architecture()).parse::<Platform>().unwrap().is_host());
    }
}
