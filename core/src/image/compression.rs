//! Compressed streams, told by their first bytes and not by what they are said to be.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

use super::budget::Budget;
use super::manifest::{OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD};

/// Bytes asked of the kernel at once.
const BUFFER: usize = 128 << 10;

/// The largest window of a zstd stream, as a power of two: 8 MiB, which is as much as RFC 8878,
/// section 3.1.1.1.2, asks of decoders and allows encoders, and what `zstd -19` needs. A hostile
/// stream would have 128 MiB allocated for each layer.
const WINDOW_LOG: u32 = 23;

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
            // A skippable frame, which pzstd has in front.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
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

/// What a possibly compressed stream says, within a budget.
pub(crate) struct Decoder<R: Read> {
    form: Form<R>,
    budget: Budget,
}

enum Form<R: Read> {
    Plain(BufReader<R>),
    Gzip(Box<MultiGzDecoder<BufReader<R>>>),
    Zstd(Box<zstd::Decoder<'static, BufReader<R>>>),
}

impl<R: Read> Decoder<R> {
    pub(crate) fn new(input: R) -> io::Result<Self> {
        let mut input = BufReader::with_capacity(BUFFER, input);
        // A short first read would hide the magic number: who reads a pipe sees to that.
        let start = input.fill_buf()?;
        if start.starts_with(b"\xfd7zXZ\0") || start.starts_with(b"BZh") {
            let cause = "it is compressed by xz or bzip2, and only gzip and zstd are supported";
            return Err(io::Error::new(io::ErrorKind::Unsupported, cause));
        }
        let form = match Compression::of(start) {
            Compression::Plain => Form::Plain(input),
            // Several members in a row are one stream (RFC 1952 section 2.2; pigz, stargz).
            Compression::Gzip => Form::Gzip(Box::new(MultiGzDecoder::new(input))),
            Compression::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(input)?;
                decoder.window_log_max(WINDOW_LOG)?;
                Form::Zstd(Box::new(decoder))
            }
        };
        Ok(Decoder { form, budget: Budget::default() })
    }

    /// Takes what it says from `budget`.
    pub(crate) fn within(self, budget: &Budget) -> Self {
        Decoder { budget: budget.clone(), ..self }
    }

    /// The input, however far it was read.
    pub(crate) fn into_inner(self) -> BufReader<R> {
        match self.form {
            Form::Plain(input) => input,
            Form::Gzip(decoder) => decoder.into_inner(),
            Form::Zstd(decoder) => decoder.finish(),
        }
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = match &mut self.form {
            Form::Plain(input) => input.read(buffer)?,
            Form::Gzip(decoder) => decoder.read(buffer)?,
            Form::Zstd(decoder) => decoder.read(buffer)?,
        };
        self.budget.read(n)
    }
}
