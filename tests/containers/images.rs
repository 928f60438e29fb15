//! Containers of images: Debian with Python, and one of many layers.

use std::io::Write;
use std::path::Path;

use skep_tests::TestEngine;
use tar::{Builder, Header};

/// A tar of files with their modes, contents and nothing else.
fn layer(files: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (name, mode, content) in files {
        append(&mut tar, name, *mode, content);
    }
    tar.into_inner().unwrap()
}

fn append(tar: &mut Builder<impl Write>, name: &str, mode: u32, content: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_mode(mode);
    header.set_size(content.len() as u64);
    header.set_cksum();
    tar.append_data(&mut header, name, content).unwrap();
}

/// A docker-archive of `layers`, lowest first, as `docker save` writes it.
fn docker_archive(path: &Path, layers: &[Vec<u8>]) {
    let digest = |bytes: &[u8]| {
        use sha2::Digest;
        let hash = sha2::Sha256::digest(bytes);
        hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let mut tar = Builder::new(std::fs::File::create(path).unwrap());
    let mut names = Vec::new();
    let mut diff_ids = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        let name = format!("{index}/layer.tar");
        append(&mut tar, &name, 0o644, layer);
        names.push(format!("{name:?}"));
        diff_ids.push(format!("\"sha256:{}\"", digest(layer)));
    }
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"Cmd":["/bin/busybox","cat","/top"]}},
            "rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
        diff_ids.join(",")
    );
    append(&mut tar, "config.json", 0o644, config.as_bytes());
    let manifest = format!(
        r#"[{{"Config":"config.json","RepoTags":["localhost/many:1"],"Layers":[{}]}}]"#,
        names.join(",")
    );
    append(&mut tar, "manifest.json", 0o644, manifest.as_bytes());
    tar.finish().unwrap();
}

#[test]
fn a_hundred_and_thirty_layers() {
    let test = TestEngine::new();
    // Static: Debian's busybox-static here, the guest's own there.
    let busybox = std::fs::read("/bin/busybox").expect("busybox-static");
    let mut layers = vec![layer(&[("bin/busybox", 0o755, &busybox), ("gone", 0o644, b"")])];
    for index in 1..130 {
        let number = index.to_string();
        let name = format!("layers/{index}");
        layers.push(layer(&[(&name, 0o644, b""), ("top", 0o644, number.as_bytes())]));
    }
    layers.push(layer(&[(".wh.gone", 0o644, b"")]));
    let archive = test.store().join("../many.tar");
    let archive = archive.parent().unwrap().join(format!("skep-many-{}.tar", std::process::id()));
    docker_archive(&archive, &layers);
    let loaded = test.engine.images().load(&archive);
    std::fs::remove_file(&archive).unwrap();
    let image = loaded.unwrap();

    let out = test.engine.command(&image).output().unwrap();
    assert_eq!((out.status.code(), out.stdout.as_slice()), (Some(0), &b"129"[..]));
    let out = test
        .engine
        .command(&image)
        .args(["/bin/busybox", "sh", "-c", "busybox ls layers | busybox wc -l; test ! -e gone"])
        .env("PATH", "/bin")
        .output()
        .unwrap();
    assert_eq!((out.status.code(), out.stdout.as_slice()), (Some(0), &b"129\n"[..]), "{out:?}");
}

/// Roots are used again only if nothing was written to them; see `core/src/container/roots.rs`. On a
/// file system with one timestamp a second, too (ext4 with inodes of 128 bytes).
#[test]
fn what_one_container_writes_no_other_sees() {
    let test = TestEngine::new();
    let busybox = std::fs::read("/bin/busybox").expect("busybox-static");
    let archive = test.store().with_extension("tar");
    docker_archive(&archive, &[layer(&[("bin/busybox", 0o755, &busybox)])]);
    let loaded = test.engine.images().load(&archive);
    std::fs::remove_file(&archive).unwrap();
    let image = loaded.unwrap();
    let run = |script: &str| {
        let mut command = test.engine.command(&image);
        let out = command.args(["/bin/busybox", "sh", "-c", script]).env("PATH", "/bin").output();
        String::from_utf8(out.unwrap().stdout).unwrap()
    };
    for round in 0..20 {
        assert_eq!(run("test -e /left && echo seen"), "", "{round}");
        assert_eq!(run("echo x > /left"), "");
    }
}
