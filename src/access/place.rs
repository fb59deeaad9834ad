//! Which places lie in which, by their parts and not by their text. Pure.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use url::Url;

/// What an entry of the list allows, or what is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A file or folder: absolute, without links and `..`.
    Folder(PathBuf),
    Remote(Remote),
    Broker(Broker),
}

/// A URL of files or of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remote {
    scheme: String,
    /// Azure's container stands there.
    user: String,
    host: String,
    port: Option<u16>,
    segments: Vec<String>,
}

/// Where a broker listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broker {
    host: String,
    port: u16,
}

/// A location as it is written; of a path only the disk knows where it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Path(PathBuf),
    Remote(Remote),
    Brokers(Vec<Broker>),
}

impl Place {
    /// Whether `other` is this or lies in it.
    pub(super) fn contains(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Folder(folder), Self::Folder(path)) => path.starts_with(folder),
            (Self::Remote(allowed), Self::Remote(asked)) => allowed.contains(asked),
            (Self::Broker(allowed), Self::Broker(asked)) => allowed == asked,
            _ => false,
        }
    }
}

impl Remote {
    fn contains(&self, other: &Self) -> bool {
        (&self.scheme, &self.user, &self.host, self.port)
            == (&other.scheme, &other.user, &other.host, other.port)
            && other.segments.starts_with(&self.segments)
    }

    fn of(url: &Url) -> Result<Self, &'static str> {
        if url.password().is_some() {
            return Err("it holds a password: give credentials as options or in the environment");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("it has a '?' or '#': in a name write %3F or %23");
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or("it names no host or bucket")?;
        let mut segments = Vec::new();
        for segment in url.path_segments().into_iter().flatten().filter(|segment| !segment.is_empty()) {
            let name = decoded(segment).ok_or("a part of it is no text")?;
            // Parsing has resolved those that stand there openly.
            if name == "." || name == ".." || name.contains(['/', '\\', '\0']) {
                return Err("a part of its path is '..' or holds a '/'");
            }
            segments.push(name);
        }
        Ok(Self {
            scheme: url.scheme().to_owned(),
            user: url.username().to_owned(),
            host: host.to_owned(),
            port: url.port_or_known_default(),
            segments,
        })
    }
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// What `location` means to all that read one, or why it does not mean the same to all.
///
/// # Errors
/// The reason, in words.
pub(super) fn parse(location: &str) -> Result<Asked, &'static str> {
    if location.is_empty() {
        return Err("it is empty");
    }
    if location.trim() != location || location.chars().any(char::is_control) {
        return Err("it begins or ends with a space, or holds a control character");
    }
    if Path::new(location).is_absolute() {
        return Ok(Asked::Path(location.into()));
    }
    let Some((scheme, rest)) = location.split_once(':').filter(|(before, _)| !before.contains('/')) else {
        return Ok(Asked::Path(location.into()));
    };
    let is_file = scheme.eq_ignore_ascii_case("file");
    if scheme.len() < 2 || !(rest.starts_with("//") || is_file) {
        return Err(
            "it is neither a URL nor clearly a path: write scheme://…, or a path that begins with / or ./",
        );
    }
    if scheme.eq_ignore_ascii_case("kafka") {
        let list = rest.trim_start_matches('/');
        return brokers(list.split('/').next().unwrap_or_default()).map(Asked::Brokers);
    }
    let url = Url::parse(location).map_err(|_| "it is not a URL")?;
    if is_file {
        if url.query().is_some() || url.fragment().is_some() {
            return Err("it has a '?' or '#': in a name write %3F or %23");
        }
        let path = url.to_file_path().map_err(|()| "it names a host: write file:///absolute/path")?;
        let is_plain = |part: Component<'_>| part != Component::ParentDir;
        return match path.components().all(is_plain) {
            true => Ok(Asked::Path(path)),
            false => Err("a part of its path is '..' or holds a '/'"),
        };
    }
    Remote::of(&url).map(Asked::Remote)
}

/// Brokers, separated by commas, as Kafka's clients take them.
///
/// # Errors
/// The reason, in words.
pub(super) fn brokers(list: &str) -> Result<Vec<Broker>, &'static str> {
    let parse = |text: &str| {
        let text = text.trim();
        // librdkafka takes a protocol before the address.
        let address = text.split_once("://").map_or(text, |(_, address)| address);
        if address.contains('@') {
            return Err("a broker has no login there: set kafka.sasl.username and kafka.sasl.password");
        }
        if address.contains(['/', ' ', '?', '#']) {
            return Err("a broker is written host:port");
        }
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
            _ => (address, None),
        };
        let port = port.map_or(Ok(9092), str::parse).map_err(|_| "a broker is written host:port")?;
        let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
        Ok(Broker { host, port })
    };
    list.split(',').filter(|text| !text.trim().is_empty()).map(parse).collect()
}

/// The folder that a reader looks for files in if the path is a pattern.
pub(super) fn before_pattern(path: &Path) -> Option<PathBuf> {
    let is_pattern = |part: &Component<'_>| part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
    path.components()
        .any(|part| is_pattern(&part))
        .then(|| path.components().take_while(|part| !is_pattern(part)).collect::<PathBuf>())
        .map(|folder| if folder.as_os_str().is_empty() { ".".into() } else { folder })
}

/// An absolute path by its text alone, where it has a `..`.
pub(super) fn without_parent_steps(path: &Path) -> Option<PathBuf> {
    path.components().any(|part| part == Component::ParentDir).then(|| {
        path.components().fold(PathBuf::new(), |mut clean, part| {
            if part == Component::ParentDir {
                clean.pop();
            } else {
                clean.push(part);
            }
            clean
        })
    })
}

/// `%41` as `A`, once.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = (*first == b'%').then(|| after.get(..2)).flatten();
        let byte = hex
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        (bytes, rest) = match byte {
            Some(byte) => (pushed(bytes, byte), &after[2..]),
            None => (pushed(bytes, *first), after),
        };
    }
    String::from_utf8(bytes).ok()
}

fn pushed(mut bytes: Vec<u8>, byte: u8) -> Vec<u8> {
    bytes.push(byte);
    bytes
}
