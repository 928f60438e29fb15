//! Debian's docker-registry on loopback: one plain, and one with TLS and htpasswd.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};

use skep::image::registry::{Access, Registries};

use crate::scripted::quick;

/// The user and the password that the closed one knows.
pub(crate) const USER: &str = "bee";
pub(crate) const PASSWORD: &str = "skep-secret";
const HTPASSWD: &str = "bee:$2b$04$0mQ/OmVC8hxHpwxZKDi7teFuKCx1zsXZeG3mvxpqGsIz6OtzGJGLq\n";

/// A registry. Its process and its directory go when this process ends, however it does: a shell
/// waits for the end of its input.
pub(crate) struct Peer {
    name: String,
    directory: PathBuf,
    _shell: Child,
}

impl Peer {
    /// The plain one of this test program; `None` where there is no docker-registry.
    pub(crate) fn plain() -> Option<&'static Peer> {
        static PEER: OnceLock<Option<Peer>> = OnceLock::new();
        PEER.get_or_init(|| installed().then(|| Peer::start(false))).as_ref()
    }

    /// The one with TLS and htpasswd.
    pub(crate) fn closed() -> Option<&'static Peer> {
        static PEER: OnceLock<Option<Peer>> = OnceLock::new();
        PEER.get_or_init(|| installed().then(|| Peer::start(true))).as_ref()
    }

    fn start(closed: bool) -> Peer {
        let directory = tempfile::Builder::new().prefix("skep").tempdir().unwrap().keep();
        let at = |name: &str| directory.join(name).display().to_string();
        let mut config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http:\n  addr: 127.0.0.1:0\n",
            at("data")
        );
        if closed {
            make_certificates(&directory);
            std::fs::write(at("htpasswd"), HTPASSWD).unwrap();
            config += &format!(
                "  tls: {{certificate: {}, key: {}}}\nauth: {{htpasswd: {{realm: skep, path: {}}}}}\n",
                at("server.pem"),
                at("server.key"),
                at("htpasswd")
            );
        }
        std::fs::write(at("config.yml"), config).unwrap();
        let script = r#"docker-registry serve "$1/config.yml" 2>&1 & cat >/dev/null; kill $!; wait $!; rm -rf "$1""#;
        let mut shell = Command::new("sh")
            .args(["-c", script, "skep-registry"])
            .arg(&directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(shell.stdout.take().unwrap()).lines().map_while(Result::ok);
        let port = log.find_map(|line| {
            let (_, rest) = line.split_once("listening on 127.0.0.1:")?;
            Some(rest.chars().take_while(char::is_ascii_digit).collect::<String>())
        });
        let port = port.expect("docker-registry does not start");
        // Read on, or it stops at a full pipe.
        std::thread::spawn(move || log.for_each(drop));
        Peer { name: format!("localhost:{port}"), directory, _shell: shell }
    }

    /// Host and port.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How it is reached, without credentials.
    pub(crate) fn registries(&self) -> Registries {
        quick().access(&self.name, self.access())
    }

    pub(crate) fn access(&self) -> Access {
        match std::fs::read(self.directory.join("ca.pem")) {
            Ok(pem) => Access::new().certificate_authority(&pem).unwrap(),
            Err(_) => Access::new().plain_http(),
        }
    }

    /// Where its authority's certificate is, `ca.pem`.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }
}

fn installed() -> bool {
    have("docker-registry") && have("openssl")
}

/// Whether a program is installed; says so if not.
pub(crate) fn have(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|directory| directory.join(program).exists()) {
        return true;
    }
    assert!(std::env::var_os("SKEP_FORBID_SKIPS").is_none(), "{program} is not installed");
    eprintln!("skipped: {program} is not installed");
    false
}

/// Makes `ca.pem`, and `server.pem` with `server.key` for localhost.
pub(crate) fn make_certificates(directory: &Path) {
    let openssl = |arguments: &str| {
        let output = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(directory)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    openssl(&format!(
        "req -x509 {key} -subj /CN=skep-authority -keyout ca.key -out ca.pem \
         -addext basicConstraints=critical,CA:TRUE"
    ));
    openssl(&format!("req {key} -subj /CN=localhost -keyout server.key -out server.csr"));
    let names =
        "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n";
    std::fs::write(directory.join("names"), names).unwrap();
    openssl(
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names \
         -out server.pem",
    );
}

/// A server's side of the same certificates; it may want one of its clients, too.
pub(crate) fn server_config(directory: &Path, of_clients: bool) -> Arc<rustls::ServerConfig> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::server::WebPkiClientVerifier;
    let read = |name: &str| CertificateDer::from_pem_file(directory.join(name)).unwrap();
    let key = PrivateKeyDer::from_pem_file(directory.join("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = if of_clients {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(read("ca.pem")).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.with_client_cert_verifier(verifier.build().unwrap())
    } else {
        builder.with_no_client_auth()
    };
    Arc::new(builder.with_single_cert(vec![read("server.pem")], key).unwrap())
}
