//! Compressed streams, told by their first bytes and not by what they are said to be.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

use super::manifest::{OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD};

/// Bytes asked of the kernel at once.
const BUFFER: usize = 128 << 10;

/// The largest window that zstd may ask for, 16 MiB: twice what RFC 8878 has every decoder support,
/// and memory that an image would choose.
const MAX_WINDOW_LOG: u32 = 24;

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    Plain,
    Gzip,
    Zstd,
}

impl Compression {
    /// Tells it from the first bytes of a stream: RFC 1952 section 2.3.1, RFC 8878 section 3.1.1.
    pub(crate) fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
            _ => Compression::Plain,
        }
    }

    /// Tells it from the first bytes of a file.
    pub(crate) fn of_file(path: &std::path::Path) -> io::Result<Self> {
        let mut start = Vec::new();
        std::fs::File::open(path)?.take(4).read_to_end(&mut start)?;
        Ok(Compression::of(&start))
    }

    /// The OCI media type of a layer compressed so.
    pub(crate) fn layer_media_type(self) -> &'static str {
        match self {
            Compression::Plain => OCI_LAYER,
            Compression::Gzip => OCI_LAYER_GZIP,
            Compression::Zstd => OCI_LAYER_ZSTD,
        }
    }
}

/// What a possibly compressed stream says.
pub(crate) enum Decoder<R: Read> {
    Plain(BufReader<R>),
    Gzip(Box<MultiGzDecoder<BufReader<R>>>),
    Zstd(Box<zstd::Decoder<'static, BufReader<R>>>),
}

impl<R: Read> Decoder<R> {
    pub(crate) fn new(input: R) -> io::Result<Self> {
        let mut input = BufReader::with_capacity(BUFFER, input);
        // A short first read is possible (a pipe) and would hide the magic number; files, which
        // is all there is today, give it at once.
        let start = input.fill_buf()?;
        if start.starts_with(b"\xfd7zXZ\0") || start.starts_with(b"BZh") {
            let cause = "it is compressed by xz or bzip2, and only gzip and zstd are supported";
            return Err(io::Error::new(io::ErrorKind::Unsupported, cause));
        }
        Ok(match Compression::of(start) {
            Compression::Plain => Decoder::Plain(input),
            // Several members in a row are one stream (RFC 1952 section 2.2; pigz, stargz).
            Compression::Gzip => Decoder::Gzip(Box::new(MultiGzDecoder::new(input))),
            Compression::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(input)?;
                decoder.window_log_max(MAX_WINDOW_LOG)?;
                Decoder::Zstd(Box::new(decoder))
            }
        })
    }

    /// The input, however far it was read.
    pub(crate) fn into_inner(self) -> BufReader<R> {
        match self {
            Decoder::Plain(input) => input,
            Decoder::Gzip(decoder) => decoder.into_inner(),
            Decoder::Zstd(decoder) => decoder.finish(),
        }
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Decoder::Plain(input) => input.read(buffer),
            Decoder::Gzip(decoder) => decoder.read(buffer),
            Decoder::Zstd(decoder) => decoder.read(buffer),
        }
    }
}
