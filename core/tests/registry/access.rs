//! Who is shown credentials, and who is not; mirrors.

use std::time::Duration;

use serde_json::json;
use skep::ErrorKind;
use skep::image::Digest;
use skep::image::registry::{Access, Credentials, PullOptions, PushOptions, Registries};

use crate::image::{Made, Store};
use crate::peer::{have, make_certificates, server_config};
use crate::scripted::{Asked, Reply, Server, quick, registry};

/// `user:password` in base64.
const BASIC: &str = "Basic dXNlcjpwYXNzd29yZA==";

fn made() -> Made {
    Made::new("access", &[1000])
}

fn credentials() -> Access {
    Access::new().plain_http().credentials(Credentials::password("user", "password"))
}

fn pull(server: &Server, registries: &Registries) -> skep::Result<skep::Image> {
    let options = PullOptions::new().registries(registries).unpack(false);
    Store::new().images.pull(&format!("{}/app:1", server.name()), &options)
}

fn authorizations(server: &Server) -> Vec<Option<String>> {
    server.asked().iter().map(|a| a.header("authorization").map(str::to_owned)).collect()
}

fn closed(challenge: &str) -> Reply {
    Reply::new(401, "").header("WWW-Authenticate", challenge)
}

#[test]
fn a_password_is_shown_when_it_is_asked_for() {
    let made = made();
    let server = Server::start(move |asked| match asked.header("authorization") {
        Some(BASIC) => registry(&made, asked),
        _ => closed(r#"Basic realm="skep""#),
    });
    pull(&server, &quick().access(server.name(), credentials())).unwrap();
    let shown = authorizations(&server);
    assert_eq!(shown[0], None, "first, nothing is shown");
    assert!(shown[1..].iter().all(|shown| shown.as_deref() == Some(BASIC)), "{shown:?}");

    let error = pull(&server, &server.registries()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("log in with docker or podman"), "{error}");
}

#[test]
fn what_lets_in_is_not_displayed() {
    let server = Server::start(|asked| match asked.header("authorization") {
        Some(BASIC) => Reply::new(200, "{}"),
        _ => closed(r#"Basic realm="skep""#),
    });
    let registries = quick().access(server.name(), credentials());
    registries.ping(&server.name()).unwrap();
    let options = PullOptions::new().registries(&registries);
    let secret = BASIC.strip_prefix("Basic ").unwrap();
    for shown in [format!("{registries:?}"), format!("{options:#?}")] {
        assert!(shown.contains("Credentials(..)") && !shown.contains(secret), "{shown}");
    }
}

/// A registry that wants a token, and the server that gives it: it counts in its tokens.
fn with_tokens() -> (Server, Server) {
    let given = std::sync::atomic::AtomicU32::new(0);
    let tokens = Server::start(move |asked| {
        if asked.header("authorization") != Some(BASIC) && asked.method == "GET" {
            return Reply::new(401, "");
        }
        let number = given.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Reply::new(200, json!({"access_token": format!("t{number}")}).to_string())
    });
    let realm = format!("http://{}/token", tokens.name());
    let made = made();
    let server = Server::start(move |asked| {
        // The first token is for the manifest only, as if it were too old by then.
        let manifest = asked.target.contains("manifests");
        match asked.header("authorization") {
            Some("Bearer t0") if manifest => registry(&made, asked),
            Some("Bearer t1") => registry(&made, asked),
            _ => closed(&format!(r#"Bearer realm="{realm}",service="here",scope="whatever""#)),
        }
    });
    (server, tokens)
}

#[test]
fn a_token_is_fetched_once_and_again_when_it_is_too_old() {
    let (server, tokens) = with_tokens();
    let registries = quick().access(server.name(), credentials());
    pull(&server, &registries).unwrap();
    let lines = tokens.lines("");
    let line = "GET /token?service=here&scope=repository:app:pull&account=user";
    assert_eq!(lines, [line, line]);
    pull(&server, &registries).unwrap();
    assert_eq!(tokens.asked().len(), 2, "tokens are kept");
    let shown: Vec<_> = authorizations(&server).into_iter().flatten().collect();
    assert!(shown.iter().all(|shown| shown.starts_with("Bearer ")), "{shown:?}");
    assert_eq!(
        pull(&server, &server.registries()).unwrap_err().kind(),
        ErrorKind::PermissionDenied
    );
}

#[test]
fn a_refresh_token_is_posted() {
    let (server, tokens) = with_tokens();
    let access = Access::new().plain_http().credentials(Credentials::identity_token("r&t"));
    pull(&server, &quick().access(server.name(), access)).unwrap();
    let asked = tokens.asked();
    assert_eq!(asked[0].line(), "POST /token");
    assert_eq!(
        String::from_utf8_lossy(&asked[0].body),
        "grant_type=refresh_token&client_id=skep&service=here&scope=repository:app:pull\
         &refresh_token=r%26t"
    );
}

#[test]
fn a_bad_token_server_is_told() {
    for (answer, kind) in [
        ("{}", ErrorKind::InvalidData),
        ("<html>", ErrorKind::InvalidData),
        (r#"{"token":"a\nb"}"#, ErrorKind::InvalidData),
    ] {
        let tokens = Server::start(move |_| Reply::new(200, answer));
        let challenge = format!(r#"Bearer realm="http://{}/""#, tokens.name());
        let server = Server::start(move |_| closed(&challenge));
        let error = pull(&server, &server.registries()).unwrap_err();
        assert_eq!(error.kind(), kind, "{answer}: {error}");
    }
    let server = Server::start(|_| closed("Bearer"));
    assert_eq!(pull(&server, &server.registries()).unwrap_err().kind(), ErrorKind::InvalidData);
    let server = Server::start(|_| closed("Negotiate"));
    let error = pull(&server, &server.registries()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
}

/// A registry that wants a password, and sends who asks for a blob to `elsewhere`.
fn redirecting(elsewhere: String) -> Server {
    let made = made();
    Server::start(move |asked| match asked.header("authorization") {
        Some(BASIC) if asked.target.contains("/blobs/") && !asked.target.contains("here") => {
            Reply::redirect(&format!("{elsewhere}{}", asked.target))
        }
        Some(BASIC) => {
            let target = asked.target.replace("/here", "");
            registry(&made, &Asked { target, ..asked.clone() })
        }
        _ => closed(r#"Basic realm="skep""#),
    })
}

#[test]
fn another_host_or_port_is_shown_no_credentials() {
    let made = made();
    let elsewhere = Server::start(move |asked| registry(&made, asked));
    let port = elsewhere.name().rsplit_once(':').unwrap().1.to_owned();
    for host in ["127.0.0.1", "localhost"] {
        let server = redirecting(format!("http://{host}:{port}"));
        pull(&server, &quick().access(server.name(), credentials())).unwrap();
    }
    let shown = authorizations(&elsewhere);
    assert_eq!((shown.len(), shown.iter().flatten().count()), (4, 0));

    let server = redirecting("/here".to_owned());
    pull(&server, &quick().access(server.name(), credentials())).unwrap();
    assert_eq!(server.lines("GET /here/v2/app/blobs").len(), 2, "the same origin is");
}

#[test]
fn a_challenge_from_elsewhere_is_not_answered() {
    let elsewhere = Server::start(|_| closed(r#"Basic realm="phish""#));
    let server = redirecting(format!("http://{}", elsewhere.name()));
    // Even one that the settings know: it was not asked by its own name.
    let registries =
        quick().access(server.name(), credentials()).access(elsewhere.name(), credentials());
    let error = pull(&server, &registries).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert_eq!(authorizations(&elsewhere).iter().flatten().count(), 0);
}

#[test]
fn redirects_end() {
    let made = made();
    let server = Server::start(move |asked| match asked.target.contains("/blobs/") {
        true => Reply::redirect(&asked.target),
        false => registry(&made, asked),
    });
    let error = pull(&server, &server.registries()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    let server = Server::start(|_| Reply::new(302, ""));
    assert_eq!(pull(&server, &server.registries()).unwrap_err().kind(), ErrorKind::InvalidData);
}

#[test]
fn from_https_to_http_go_blobs_only_and_without_credentials() {
    if !have("openssl") {
        return;
    }
    let directory = tempfile::Builder::new().prefix("skep").tempdir().unwrap();
    make_certificates(directory.path());
    let pem = std::fs::read(directory.path().join("ca.pem")).unwrap();
    let made = made();
    let plainly = made.clone();
    let plain = Server::start(move |asked| registry(&plainly, asked));
    let secure = |redirected: &'static str| {
        let (made, to) = (made.clone(), format!("http://{}", plain.name()));
        Server::start_tls(server_config(directory.path(), false), move |asked| {
            match asked.header("authorization") {
                Some(BASIC) if asked.target.contains(redirected) => {
                    Reply::redirect(&format!("{to}{}", asked.target))
                }
                Some(BASIC) => registry(&made, asked),
                _ => closed(r#"Basic realm="skep""#),
            }
        })
    };
    let registries = |server: &Server| {
        let access = Access::new().credentials(Credentials::password("user", "password"));
        quick().access(server.name(), access.certificate_authority(&pem).unwrap())
    };
    let server = secure("/blobs/");
    pull(&server, &registries(&server)).unwrap();
    let shown = authorizations(&plain);
    assert_eq!((shown.len(), shown.iter().flatten().count()), (2, 0));
    let server = secure("/manifests/");
    let error = pull(&server, &registries(&server)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("plain http"), "{error}");
    assert_eq!(plain.asked().len(), 2);
}

#[test]
fn neither_an_upload_nor_a_list_goes_on_by_plain_http() {
    if !have("openssl") {
        return;
    }
    let directory = tempfile::Builder::new().prefix("skep").tempdir().unwrap();
    make_certificates(directory.path());
    let pem = std::fs::read(directory.path().join("ca.pem")).unwrap();
    let plain = Server::start(|_| Reply::new(201, r#"{"tags": ["forged"]}"#));
    let to = format!("http://{}/next", plain.name());
    let server =
        Server::start_tls(server_config(directory.path(), false), move |asked| {
            match asked.method.as_str() {
                "HEAD" => Reply::new(404, ""),
                "GET" => Reply::new(200, r#"{"tags": ["1"]}"#)
                    .header("Link", format!(r#"<{to}>; rel="next""#)),
                "PATCH" => Reply::new(202, "").header("Location", &to),
                "POST" if asked.target.starts_with("/v2/direct/") => {
                    Reply::new(202, "").header("Location", &to)
                }
                "POST" => Reply::new(202, "").header("Location", "/up"),
                _ => Reply::new(201, ""),
            }
        });
    let access = Access::new().certificate_authority(&pem).unwrap();
    let registries = quick().access(server.name(), access);
    let store = Store::new();
    let image = store.images.load(made().archive(store.root(), "x:1")).unwrap();
    let push = |repository: &str| {
        let options = PushOptions::new().registries(&registries).chunk(100);
        store.images.push(&image, &format!("{}/{repository}:1", server.name()), &options)
    };
    for error in [
        push("direct").unwrap_err(),
        push("later").unwrap_err(),
        registries.tags(&format!("{}/app", server.name())).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        assert!(error.to_string().contains("plain http"), "{error}");
    }
    assert_eq!(plain.asked().len(), 0);
}

#[test]
fn a_client_certificate_is_shown() {
    if !have("openssl") {
        return;
    }
    let directory = tempfile::Builder::new().prefix("skep").tempdir().unwrap();
    make_certificates(directory.path());
    let read = |name: &str| std::fs::read(directory.path().join(name)).unwrap();
    let server = Server::start_tls(server_config(directory.path(), true), |_| Reply::new(200, ""));
    let access = Access::new().certificate_authority(&read("ca.pem")).unwrap();
    let error = quick().access(server.name(), access.clone()).ping(&server.name()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    let key = read("server.key");
    let shown = access.clone().client_certificate(&read("server.pem"), &key).unwrap();
    quick().access(server.name(), shown).ping(&server.name()).unwrap();
    let error = access.client_certificate(&read("ca.pem"), &key).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "another's key");
}

/// Tells the copy of this program which registry to ask.
const ASKER: &str = "SKEP_TEST_ASKER";

/// Not a test of its own: a process without children, which it still is when a helper has answered.
#[test]
fn asker_process() {
    let Ok(server) = std::env::var(ASKER) else { return };
    let config = std::path::PathBuf::from(std::env::var_os("DOCKER_CONFIG").unwrap());
    let registries = quick()
        .credential_files([config.join("config.json")])
        .access(&*server, Access::new().plain_http());
    registries.ping(&server).unwrap();
    let waited = nix::sys::wait::waitpid(None, Some(nix::sys::wait::WaitPidFlag::WNOHANG));
    assert_eq!(waited, Err(nix::errno::Errno::ECHILD));
}

#[test]
fn a_helper_is_asked_and_no_child_of_the_host() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::start(|asked| match asked.header("authorization") {
        Some(BASIC) => Reply::new(200, "{}"),
        _ => closed(r#"Basic realm="skep""#),
    });
    let directory = tempfile::Builder::new().prefix("skep").tempdir().unwrap();
    let helper = directory.path().join("docker-credential-test");
    let script = "#!/bin/sh\necho '{\"Username\":\"user\",\"Secret\":\"password\"}'\n";
    std::fs::write(&helper, script).unwrap();
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(directory.path().join("config.json"), r#"{"credsStore":"test"}"#).unwrap();
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "access::asker_process", "--nocapture"])
        .env(ASKER, server.name())
        .env("DOCKER_CONFIG", directory.path())
        .env("PATH", directory.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(server.asked().len(), 2);
}

/// Tells the copy of this program that it is one.
const PROXIED: &str = "SKEP_TEST_PROXIED";

/// Not a test of its own: a process whose environment has a proxy of a kind that is not spoken.
#[test]
fn proxied_process() {
    if std::env::var_os(PROXIED).is_none() {
        return;
    }
    let error = quick().ping("registry.invalid").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("SOCKS") && !error.to_string().contains("secret"));
    // By NO_PROXY and on this machine, none is asked.
    let error = quick().ping("direct.invalid").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    let server = Server::start(|_| Reply::new(200, "{}"));
    server.registries().ping(&server.name()).unwrap();
}

#[test]
fn a_proxy_that_cannot_be_used_is_not_passed_by() {
    for proxy in ["socks5://user:secret@127.0.0.1:9", "socks5h://127.0.0.1:9"] {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "access::proxied_process", "--nocapture"])
            .env(PROXIED, "")
            .env("ALL_PROXY", proxy)
            .env("NO_PROXY", "direct.invalid")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_registry_may_be_an_ipv6_address() {
    let made = made();
    let Some(server) = Server::start_6(move |asked| registry(&made, asked)) else {
        eprintln!("skipped: there is no IPv6");
        return;
    };
    assert!(server.name().starts_with("[::1]:"));
    pull(&server, &server.registries()).unwrap();
}

#[test]
fn mirrors_are_asked_first_and_the_registry_last() {
    let (here, there) = (made(), made());
    let mirror = Server::start(move |asked| {
        let target = asked.target.replace("/v2/proxy/", "/v2/");
        match asked.target.contains("/proxy/") {
            true => registry(&here, &Asked { target, ..asked.clone() }),
            false => Reply::new(404, ""),
        }
    });
    let server = Server::start(move |asked| registry(&there, asked));
    let through = |mirror_name: String| {
        let access = Access::new().plain_http().mirror(mirror_name);
        server
            .registries()
            .access(mirror.name(), Access::new().plain_http())
            .access(server.name(), access)
    };
    pull(&server, &through(format!("{}/proxy", mirror.name()))).unwrap();
    assert_eq!((mirror.asked().len(), server.asked().len()), (3, 0));
    pull(&server, &through(mirror.name())).unwrap();
    assert_eq!((mirror.asked().len(), server.asked().len()), (4, 3));
}

#[test]
fn what_a_mirror_has_spoilt_is_fetched_from_the_registry() {
    let (here, there) = (made(), made());
    let mirror = Server::start(move |asked| match asked.target.contains("/blobs/") {
        true => Reply::new(200, vec![b'x'; here.layers[0].len()]).cut(500),
        false => registry(&here, asked),
    });
    let server = Server::start(move |asked| registry(&there, asked));
    let access = Access::new().plain_http().mirror(mirror.name());
    let registries = mirror.registries().access(server.name(), access).attempts(1, Duration::ZERO);
    pull(&server, &registries).unwrap();
    let layer = format!("GET /v2/app/blobs/{}", Digest::of(&made().layers[0]));
    assert_eq!((mirror.lines(&layer).len(), server.lines(&layer).len()), (1, 2));
}

#[test]
fn a_mounted_blob_is_not_sent() {
    let server = Server::start(|asked| match asked.method.as_str() {
        "HEAD" => Reply::new(404, ""),
        "POST" if asked.target.contains("mount=") => Reply::new(201, ""),
        "PUT" if asked.target == "/v2/app/manifests/1" => Reply::new(201, ""),
        _ => Reply::new(500, ""),
    });
    let store = Store::new();
    let made = made();
    let named = format!("{}/base:1", server.name());
    let image = store.images.load(made.archive(store.root(), &named)).unwrap();
    let options = PushOptions::new().registries(&server.registries());
    let to = format!("{}/app:1", server.name());
    assert_eq!(store.images.push(&image, &to, &options).unwrap(), *image.digest());
    let mounts = server.lines("POST");
    assert_eq!(mounts.len(), 2);
    assert!(mounts.iter().all(|line| line.ends_with("&from=base")), "{mounts:?}");
}

#[test]
fn an_upload_that_breaks_is_begun_again() {
    let times = std::sync::atomic::AtomicU32::new(0);
    let server = Server::start(move |asked| match asked.method.as_str() {
        "HEAD" => Reply::new(404, ""),
        "POST" => Reply::new(202, "").header("Location", "/up/1?state=x"),
        "PUT" if asked.target.contains("/up/") => {
            match times.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
                0 => Reply::new(503, ""),
                _ => Reply::new(201, ""),
            }
        }
        _ => Reply::new(201, ""),
    });
    let store = Store::new();
    let made = made();
    let image = store.images.load(made.archive(store.root(), "x:1")).unwrap();
    let options = PushOptions::new().registries(&server.registries()).parallel(1);
    store.images.push(&image, &format!("{}/app:1", server.name()), &options).unwrap();
    let puts = server.lines("PUT /up/1?state=x&digest=sha256:");
    assert_eq!(puts.len(), 3, "{puts:?}");
    let asked = server.asked();
    let bodies: Vec<_> =
        asked.iter().filter(|a| a.target.contains("/up/")).map(|a| a.body.clone()).collect();
    assert_eq!(bodies, [&made.layers[0], &made.layers[0], &made.config].map(Clone::clone));
}
