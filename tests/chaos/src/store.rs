//! Where checkpoints are: a folder, or a bucket on an S3 server that the engine reaches through a proxy.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Stdio;

use tempfile::TempDir;

use crate::Result;
use crate::broker::service;
use crate::proxy::Proxy;

/// One for all runs: what is done to it is done by the proxies before it.
pub(crate) struct S3Server {
    folder: TempDir,
    address: SocketAddr,
}

impl S3Server {
    pub(crate) fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let status = service("s3.sh").arg("start").arg(folder.path()).stdout(Stdio::null()).status()?;
        if !status.success() {
            return Err("the S3 server did not start".into());
        }
        let endpoint = std::fs::read_to_string(folder.path().join("endpoint"))?;
        let address = endpoint.trim().trim_start_matches("http://").parse()?;
        Ok(Self { folder, address })
    }

    /// A way to the server that can be harmed.
    pub(crate) fn proxy(&self) -> Result<Proxy> {
        Ok(Proxy::start(self.address)?)
    }

    /// A new bucket; `proxy` is the way that the engine takes to it.
    pub(crate) fn bucket(&self, name: &str, proxy: &Proxy) -> Result<Place> {
        let mut connection = TcpStream::connect(self.address)?;
        write!(
            connection,
            "PUT /{name} HTTP/1.0\r\nHost: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            self.address
        )?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        if answer.split(' ').nth(1) != Some("200") {
            return Err(format!("the bucket {name} was not made: {answer}").into());
        }
        Ok(Place::Bucket { name: name.to_owned(), direct: self.address, proxied: proxy.address() })
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        let _ = service("s3.sh").arg("stop").arg(self.folder.path()).status();
    }
}

/// Where one run's checkpoint is.
pub(crate) enum Place {
    Disk(PathBuf),
    Bucket { name: String, direct: SocketAddr, proxied: SocketAddr },
}

/// Who asks for the checkpoint.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The engine, through the proxy.
    Harmed,
    /// The oracle.
    Direct,
}

impl Place {
    /// The value of `--checkpoint`.
    pub(crate) fn location(&self) -> String {
        match self {
            Self::Disk(folder) => folder.display().to_string(),
            Self::Bucket { name, .. } => format!("s3://{name}/query"),
        }
    }

    /// What the command needs in its environment to get there.
    pub(crate) fn environment(&self, way: Way) -> Vec<(&'static str, String)> {
        let Self::Bucket { direct, proxied, .. } = self else { return Vec::new() };
        let address = if way == Way::Direct { direct } else { proxied };
        vec![
            ("AWS_ENDPOINT", format!("http://{address}")),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ]
    }
}
