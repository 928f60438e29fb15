//! Imports go down the layers only, and siblings do not know each other (ARCHITECTURE.md).

use std::path::{Path, PathBuf};

/// A module, or a folder of them, and the layer it is in. The first that matches counts.
const LAYERS: [(&str, u32); 19] = [
    ("lib.rs", 7),
    ("engine.rs", 6),
    ("container", 4),
    ("image/reference.rs", 2),
    ("image/manifest.rs", 2),
    ("image/config.rs", 2),
    ("image/digest.rs", 2),
    ("image", 3),
    ("rootfs", 3),
    ("cgroup", 3),
    ("network", 3),
    ("process", 3),
    ("store.rs", 3),
    ("spec", 2),
    ("cancel.rs", 2),
    ("sys", 1),
    ("error.rs", 0),
    ("id.rs", 0),
    ("oci", 5),
];

fn layer(module: &str) -> Option<(&'static str, u32)> {
    LAYERS.into_iter().find(|(name, _)| {
        module == *name
            || module.starts_with(&format!("{name}/"))
            || module == name.trim_end_matches(".rs")
    })
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// The modules that a source names with `crate::`, tests at its end left out.
fn imports(text: &str) -> impl Iterator<Item = String> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines
        .flat_map(|line| line.split("crate::").skip(1))
        .map(|rest| {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
            rest[..end.unwrap_or(rest.len())].trim_end_matches(':').replace("::", "/")
        })
        .collect::<Vec<_>>()
        .into_iter()
}

#[test]
fn imports_go_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 20, "the sources were not found");
    let mut wrong = Vec::new();
    for file in files {
        let name = file.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        let (module, own) = layer(&name).unwrap_or_else(|| panic!("{name} has no layer"));
        for import in imports(&std::fs::read_to_string(&file).unwrap()) {
            // What lib.rs re-exports from error.rs has no module in its path.
            let Some((imported, layer)) = layer(&import) else { continue };
            let itself = module.trim_end_matches(".rs") == imported.trim_end_matches(".rs");
            let same_folder = name.split('/').next() == import.split('/').next();
            if layer >= own && !itself && !same_folder {
                wrong.push(format!("{name} (layer {own}) imports {import} (layer {layer})"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
