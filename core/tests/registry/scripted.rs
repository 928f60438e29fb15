//! A small HTTP server that answers as a test says, right or wrong, and keeps what it was asked.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use skep::image::Digest;
use skep::image::registry::{Access, Registries};

use crate::image::{Made, OCI_MANIFEST};

/// What was asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The method and the target, for a list of what was asked.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }
}

/// What is answered.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Whole,
    /// Closed after so many bytes of the body.
    Cut(usize),
    /// Nothing more after so many bytes of the body, until the client has enough of it.
    Hang(usize),
    /// Not a byte, until the client has enough of it.
    Silent,
    /// Headers for as long as the client reads them.
    Headers,
    /// A body for as long as the client reads it.
    Body,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Reply { status, headers: Vec::new(), body: body.into(), end: End::Whole }
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn redirect(to: &str) -> Self {
        Reply::new(307, "").header("Location", to)
    }

    pub(crate) fn cut(self, at: usize) -> Self {
        Reply { end: End::Cut(at), ..self }
    }

    pub(crate) fn hang(self, at: usize) -> Self {
        Reply { end: End::Hang(at), ..self }
    }

    pub(crate) fn silent() -> Self {
        Reply { end: End::Silent, ..Reply::new(200, "") }
    }

    pub(crate) fn endless_headers() -> Self {
        Reply { end: End::Headers, ..Reply::new(200, "") }
    }

    pub(crate) fn endless_body() -> Self {
        Reply { end: End::Body, ..Reply::new(200, "") }
    }

    pub(crate) fn is_ok(&self) -> bool {
        self.status < 300
    }

    fn write(&self, stream: &mut (impl Read + Write)) -> std::io::Result<()> {
        if self.end == End::Silent {
            return std::io::copy(stream, &mut std::io::sink()).map(drop);
        }
        write!(stream, "HTTP/1.1 {} Scripted\r\nConnection: close\r\n", self.status)?;
        for (name, value) in &self.headers {
            write!(stream, "{name}: {value}\r\n")?;
        }
        if self.end == End::Headers {
            loop {
                write!(stream, "X-More: {}\r\n", "x".repeat(1000))?;
            }
        }
        if self.end == End::Body {
            write!(stream, "\r\n")?;
            loop {
                stream.write_all(&[b' '; 4096])?;
            }
        }
        if !self.headers.iter().any(|(name, _)| name == "Content-Length") {
            write!(stream, "Content-Length: {}\r\n", self.body.len())?;
        }
        write!(stream, "\r\n")?;
        match self.end {
            End::Cut(at) => stream.write_all(&self.body[..at]),
            End::Hang(at) => {
                stream.write_all(&self.body[..at])?;
                stream.flush()?;
                // Ends when the client closes.
                std::io::copy(stream, &mut std::io::sink()).map(drop)
            }
            _ => stream.write_all(&self.body),
        }?;
        stream.flush()
    }
}

type Script = dyn Fn(&Asked) -> Reply + Send + Sync;

/// See the module. Ends when it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    stop: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Server::serve(TcpListener::bind("127.0.0.1:0").unwrap(), script, None)
    }

    /// On IPv6's loopback; `None` where there is none.
    pub(crate) fn start_6(
        script: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Option<Self> {
        let listener = TcpListener::bind("[::1]:0").ok()?;
        Some(Server::serve(listener, script, None))
    }

    pub(crate) fn start_tls(
        tls: Arc<rustls::ServerConfig>,
        script: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Server::serve(TcpListener::bind("127.0.0.1:0").unwrap(), script, Some(tls))
    }

    fn serve(
        listener: TcpListener,
        script: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let (asked, stop) = (Arc::<Mutex<Vec<Asked>>>::default(), Arc::<AtomicBool>::default());
        let script: Arc<Script> = Arc::new(script);
        let (log, stopped) = (asked.clone(), stop.clone());
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (stream, script, log) = (stream.unwrap(), script.clone(), log.clone());
                let tls = tls.clone();
                std::thread::spawn(move || match tls {
                    None => answer(stream, &log, &*script),
                    Some(tls) => {
                        let connection = rustls::ServerConnection::new(tls).unwrap();
                        answer(rustls::StreamOwned::new(connection, stream), &log, &*script);
                    }
                });
            }
        });
        Server { address, asked, stop, accepting: Some(accepting) }
    }

    /// Host and port.
    pub(crate) fn name(&self) -> String {
        self.address.to_string()
    }

    /// How it is reached: by plain http, at once again after a failure, without any file.
    pub(crate) fn registries(&self) -> Registries {
        quick().access(self.name(), Access::new().plain_http())
    }

    /// All that was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The lines of all that was asked so far and begins with `start`.
    pub(crate) fn lines(&self, start: &str) -> Vec<String> {
        let asked = self.asked();
        asked.iter().map(Asked::line).filter(|line| line.starts_with(start)).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

/// Registries that are tried again at once, with no credentials but those given.
pub(crate) fn quick() -> Registries {
    Registries::new().credential_files([]).attempts(3, std::time::Duration::ZERO)
}

fn answer(mut stream: impl Read + Write, log: &Mutex<Vec<Asked>>, script: &Script) {
    let Some(asked) = read(&mut stream) else { return };
    log.lock().unwrap().push(asked.clone());
    // A client that has enough closes.
    let _ = script(&asked).write(&mut stream);
}

fn read(stream: &mut impl Read) -> Option<Asked> {
    let mut input = BufReader::new(stream);
    let mut line = || {
        let mut line = String::new();
        input.read_line(&mut line).ok()?;
        Some(line.trim_end().to_owned())
    };
    let first = line()?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let mut headers = HashMap::new();
    while let Some((name, value)) = line()?.split_once(':') {
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    input.read_exact(&mut body).ok()?;
    Some(Asked { method, target, headers, body })
}

/// What a registry with `made` as `app:1` answers, ranges included.
pub(crate) fn registry(made: &Made, asked: &Asked) -> Reply {
    let manifest = |made: &Made| {
        Reply::new(200, made.manifest.clone())
            .header("Content-Type", OCI_MANIFEST)
            .header("Docker-Content-Digest", made.digest().to_string())
    };
    let target = asked.target.strip_prefix("/v2/app/").unwrap_or_default();
    if target == "manifests/1" || target == format!("manifests/{}", made.digest()) {
        return manifest(made);
    }
    let digest = target.strip_prefix("blobs/").and_then(|text| Digest::parse(text).ok());
    let blob = digest.and_then(|digest| made.blobs().find(|blob| Digest::of(blob) == digest));
    let Some(blob) = blob else { return Reply::new(404, "") };
    let from = asked.header("range").and_then(|range| range.strip_prefix("bytes="));
    match from.and_then(|from| from.strip_suffix('-')?.parse::<usize>().ok()) {
        Some(from) if from < blob.len() => {
            let range = format!("bytes {from}-{}/{}", blob.len() - 1, blob.len());
            Reply::new(206, &blob[from..]).header("Content-Range", range)
        }
        Some(_) => Reply::new(416, ""),
        None => Reply::new(200, blob.clone()),
    }
}
