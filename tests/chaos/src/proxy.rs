//! A TCP proxy between the engine and a service: it delays, stalls and cuts connections. The integration tests use it, too.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What becomes of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    Fair,
    /// Each piece waits for so long.
    Slow(Duration),
    /// Connections stay open and nothing comes through: half-open.
    Still,
    /// Nobody is there: every connection ends at once.
    Away,
}

pub(crate) struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    target: SocketAddr,
    weather: Mutex<Weather>,
    /// Both ends of every connection that was made.
    open: Mutex<Vec<TcpStream>>,
    /// How often the connections that there were have been frozen.
    frozen: AtomicUsize,
}

impl Proxy {
    /// Listens on a port of its own and forwards to `target`.
    pub(crate) fn start(target: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let weather = Mutex::new(Weather::Fair);
        let (open, frozen) = Default::default();
        let state = Arc::new(State { target, weather, open, frozen });
        let accepting = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A service that is down looks the same through the proxy: connections end at once.
                if *lock(&accepting.weather) == Weather::Away {
                    continue;
                }
                if let Ok(server) = TcpStream::connect(accepting.target) {
                    let _ = accepting.connect(&client, &server);
                }
            }
        });
        Ok(Self { address, state })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn set(&self, weather: Weather) {
        *lock(&self.state.weather) = weather;
        if weather == Weather::Away {
            self.cut();
        }
    }

    /// The connections that there are stay open, and nothing comes through them any more; new ones are welcome.
    #[allow(dead_code, reason = "not every suite that uses the proxy does this")]
    pub(crate) fn freeze(&self) {
        self.state.frozen.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends every connection; new ones are welcome.
    pub(crate) fn cut(&self) {
        for stream in lock(&self.state.open).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl State {
    fn connect(self: &Arc<Self>, client: &TcpStream, server: &TcpStream) -> std::io::Result<()> {
        for stream in [client, server] {
            stream.set_nodelay(true)?;
            lock(&self.open).push(stream.try_clone()?);
        }
        let frozen = self.frozen.load(Ordering::Relaxed);
        for (from, to) in [(client, server), (server, client)] {
            let (from, to, state) = (from.try_clone()?, to.try_clone()?, Arc::clone(self));
            std::thread::spawn(move || state.pump(from, to, frozen));
        }
        Ok(())
    }

    fn pump(&self, mut from: TcpStream, mut to: TcpStream, frozen: usize) {
        let mut piece = vec![0; 256 * 1024];
        while let Ok(length @ 1..) = from.read(&mut piece) {
            if self.frozen.load(Ordering::Relaxed) > frozen {
                continue;
            }
            if !self.lets_through() || to.write_all(&piece[..length]).is_err() {
                break;
            }
        }
        // What a dead process had sent and the proxy still holds never arrives.
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    }

    /// Waits as long as the weather wants; whether the piece may go on then.
    fn lets_through(&self) -> bool {
        const STEP: Duration = Duration::from_millis(10);
        if let Weather::Slow(delay) = *lock(&self.weather) {
            std::thread::park_timeout(delay);
        }
        while *lock(&self.weather) == Weather::Still {
            std::thread::park_timeout(STEP);
        }
        *lock(&self.weather) != Weather::Away
    }
}

/// Below the range from which the system gives ports to outgoing connections, which could take it meanwhile.
pub(crate) fn free_port() -> std::io::Result<u16> {
    let mut free = (0..1_000).map(|_| rand::random_range(20_000..32_000));
    free.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .ok_or_else(|| std::io::Error::other("there is no free port"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo() -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (mut from, mut to) = (stream.try_clone().unwrap(), stream);
                std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            }
        });
        address
    }

    #[test]
    fn bytes_go_through_unless_it_is_still_and_connections_end_when_cut() {
        let proxy = Proxy::start(echo()).unwrap();
        let mut stream = TcpStream::connect(proxy.address()).unwrap();
        let mut answer = [0; 4];
        stream.write_all(b"fair").unwrap();
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"fair");

        proxy.set(Weather::Still);
        stream.write_all(b"calm").unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        assert!(stream.read_exact(&mut answer).is_err(), "nothing comes through");
        stream.set_read_timeout(None).unwrap();
        proxy.set(Weather::Fair);
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"calm");

        proxy.freeze();
        stream.write_all(b"lost").unwrap();
        let mut other = TcpStream::connect(proxy.address()).unwrap();
        other.write_all(b"next").unwrap();
        other.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"next", "a new connection is not frozen");
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        assert!(stream.read_exact(&mut answer).is_err(), "the one before is");
        stream.set_read_timeout(None).unwrap();

        proxy.cut();
        assert_eq!(stream.read(&mut answer).unwrap_or(0), 0, "the connection has ended");

        proxy.set(Weather::Away);
        let mut refused = TcpStream::connect(proxy.address()).unwrap();
        assert_eq!(refused.read(&mut answer).unwrap_or(0), 0, "nobody is there");
        proxy.set(Weather::Fair);
        let mut stream = TcpStream::connect(proxy.address()).unwrap();
        stream.write_all(b"back").unwrap();
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"back");
    }
}
