//! A real S3 server, as tests see it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use epochflow::checkpoint::{Checkpoint, CheckpointStore};
use epochflow::testing::FaultyStore;
use object_store::aws::AmazonS3Builder;

use super::kafka::unique;

/// A bucket of its own.
pub(crate) struct Bucket {
    endpoint: String,
    name: String,
}

impl Bucket {
    pub(crate) fn new() -> Self {
        let endpoint = std::env::var("EPOCHFLOW_TEST_S3").expect(
            "this test needs an S3 server: run tests/run, or set EPOCHFLOW_TEST_S3 to http://host:port",
        );
        let bucket = Self { endpoint, name: unique("epochflow") };
        bucket.create();
        bucket
    }

    /// By hand, since object stores have no such call.
    fn create(&self) {
        let address = self.endpoint.strip_prefix("http://").unwrap();
        let mut connection = TcpStream::connect(address).unwrap();
        let head = format!("PUT /{} HTTP/1.1\r\nHost: {address}\r\n", self.name);
        write!(connection, "{head}Content-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// The checkpoint's location.
    pub(crate) fn url(&self) -> String {
        self.path("queries/one")
    }

    pub(crate) fn path(&self, path: &str) -> String {
        format!("s3://{}/{path}", self.name)
    }

    /// Settings under their names in the environment.
    pub(crate) fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT", self.endpoint.clone()),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ]
    }

    /// The same for a query that reaches the server at another address.
    pub(crate) fn environment_at(&self, address: SocketAddr) -> [(&'static str, String); 5] {
        let mut environment = self.environment();
        environment[0].1 = format!("http://{address}");
        environment
    }

    /// Where the server listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.endpoint.strip_prefix("http://").unwrap().parse().unwrap()
    }

    /// The same as store options.
    pub(crate) fn options(&self) -> Vec<(String, String)> {
        let option = |(name, value): (&str, String)| (name.to_ascii_lowercase(), value);
        self.environment().map(option).to_vec()
    }

    pub(crate) fn checkpoint(&self) -> Checkpoint {
        Checkpoint::open(&self.url(), &self.options()).unwrap()
    }

    /// The same checkpoint through a store that counts.
    pub(crate) fn counted(&self) -> (FaultyStore, Checkpoint) {
        let mut builder = AmazonS3Builder::new().with_url(self.url());
        for (name, value) in self.options() {
            builder = builder.with_config(name.parse().unwrap(), value);
        }
        let store = FaultyStore::new(Arc::new(builder.build().unwrap()));
        let files = CheckpointStore::from_object_store(Arc::new(store.clone()), "queries/one".into());
        (store, Checkpoint::from_store(files))
    }
}
