//! Brokers of a test's own, to be harmed.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::proxy::{Proxy, free_port};

/// The script that starts and stops brokers.
pub(super) fn script(command: &str, folder: &Path) -> Command {
    let mut script = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/services/kafka.sh"));
    script.arg(command).arg(folder);
    script
}

/// Runs it, and shows what it said if it failed.
pub(super) fn run(script: &mut Command) {
    let ended = script.output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}

/// SIGKILL for the broker in `folder`.
pub(super) fn kill(folder: &Path) {
    let pid = std::fs::read_to_string(folder.join("pid")).unwrap();
    assert!(Command::new("kill").args(["-KILL", pid.trim()]).status().unwrap().success());
}

/// A broker of the test's own, stopped when dropped.
pub(crate) struct OwnBroker {
    folder: tempfile::TempDir,
}

impl OwnBroker {
    /// Starts one with these lines of settings beside `tests/services/kafka.sh`'s, and with its arguments.
    pub(crate) fn start(settings: &str, arguments: &[&str]) -> Self {
        let broker = Self { folder: tempfile::tempdir().unwrap() };
        std::fs::write(broker.file("settings"), settings).unwrap();
        run(script("start", broker.folder.path()).arg(broker.file("settings")).args(arguments));
        broker
    }

    /// Starts it again at its address, with what it had written.
    pub(crate) fn start_again(&self) {
        run(script("start", self.folder.path()).arg(self.file("settings")));
    }

    pub(crate) fn kill(&self) {
        kill(self.folder.path());
    }

    /// The path of a file of the broker's folder.
    pub(crate) fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Its address: `bootstrap`, or `bootstrap-sasl`.
    pub(crate) fn address(&self, file: &str) -> String {
        std::fs::read_to_string(self.file(file)).unwrap().trim().to_owned()
    }
}

impl Drop for OwnBroker {
    fn drop(&mut self) {
        let _ = script("stop", self.folder.path()).output();
    }
}

/// A broker that listens at two addresses, one of them behind a proxy.
pub(crate) struct ProxiedBroker {
    broker: OwnBroker,
    pub(crate) proxy: Proxy,
}

impl ProxiedBroker {
    pub(crate) fn start() -> Self {
        let behind = free_port().unwrap();
        let proxy = Proxy::start(SocketAddr::from(([127, 0, 0, 1], behind))).unwrap();
        let settings = format!(
            "listeners=PLAINTEXT://127.0.0.1:@PORT@,PROXIED://127.0.0.1:{behind},CONTROLLER://127.0.0.1:@CONTROLLER@\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:@PORT@,PROXIED://{}\n\
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT\n",
            proxy.address()
        );
        Self { broker: OwnBroker::start(&settings, &[]), proxy }
    }

    /// Without the proxy.
    pub(crate) fn direct(&self) -> String {
        self.broker.address("bootstrap")
    }

    pub(crate) fn proxied(&self) -> String {
        self.proxy.address().to_string()
    }
}
