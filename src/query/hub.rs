//! Where a session's queries and those who watch them meet: listeners, claims of names and ids, and how queries ended.

use std::collections::BTreeSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::watch;
use uuid::Uuid;

use super::listener::{Event, StreamingQueryListener};
use crate::error::{Error, ErrorKind, Result};

/// Events kept for a listener that is slow, as many as Spark keeps.
const QUEUED_EVENTS: usize = 10_000;

/// What a session's queries share.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    listeners: Mutex<Vec<Listening>>,
    claimed: Mutex<BTreeSet<Claimed>>,
    ended: watch::Sender<Ended>,
}

/// Whether queries have ended since anybody last asked to forget it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ended {
    pub(crate) any: bool,
    /// Why the first of those that failed did.
    pub(crate) failure: Option<Error>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Claimed {
    Name(String),
    Id(Uuid),
}

/// A name or id that one active query has; given back when dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    hub: Weak<Hub>,
    claimed: Claimed,
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(hub) = self.hub.upgrade() {
            hub.claimed.lock().remove(&self.claimed);
        }
    }
}

struct Listening {
    listener: Arc<dyn StreamingQueryListener>,
    events: SyncSender<Event>,
    is_wanted: Arc<AtomicBool>,
    /// Whether the last event found no room.
    is_full: bool,
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening").field("is_full", &self.is_full).finish_non_exhaustive()
    }
}

impl Hub {
    /// # Errors
    /// The name is an active query's.
    pub(crate) fn claim_name(self: &Arc<Self>, name: &str) -> Result<Claim> {
        self.claim(Claimed::Name(name.to_owned()), || {
            format!(
                "a query with the name '{name}' is active in this session; stop it or choose another name"
            )
        })
    }

    /// # Errors
    /// The id is an active query's.
    pub(crate) fn claim_id(self: &Arc<Self>, id: Uuid) -> Result<Claim> {
        self.claim(Claimed::Id(id), || {
            format!(
                "the query {id} is active in this session already; stop it first, or use another checkpoint"
            )
        })
    }

    fn claim(self: &Arc<Self>, claimed: Claimed, message: impl Fn() -> String) -> Result<Claim> {
        if !self.claimed.lock().insert(claimed.clone()) {
            return Err(Error::usage(message()));
        }
        Ok(Claim { hub: Arc::downgrade(self), claimed })
    }

    /// # Errors
    /// The listener's thread cannot be started.
    pub(crate) fn add_listener(&self, listener: Arc<dyn StreamingQueryListener>) -> Result<()> {
        let (events, queued) = sync_channel(QUEUED_EVENTS);
        let is_wanted = Arc::new(AtomicBool::new(true));
        let (served, wanted) = (Arc::clone(&listener), Arc::clone(&is_wanted));
        std::thread::Builder::new()
            .name("epochflow-listener".into())
            .spawn(move || serve(served.as_ref(), &queued, &wanted))
            .map_err(|e| {
                Error::new(ErrorKind::Environment, "cannot start a listener's thread").with_source(e)
            })?;
        self.listeners.lock().push(Listening { listener, events, is_wanted, is_full: false });
        Ok(())
    }

    /// The listener hears nothing more; whether it was there.
    pub(crate) fn remove_listener(&self, listener: &Arc<dyn StreamingQueryListener>) -> bool {
        let mut listeners = self.listeners.lock();
        let before = listeners.len();
        listeners.retain(|listening| {
            // The address alone: one type may have several tables of functions.
            let is_other = !std::ptr::addr_eq(Arc::as_ptr(&listening.listener), Arc::as_ptr(listener));
            listening.is_wanted.store(is_other, Ordering::Relaxed);
            is_other
        });
        listeners.len() < before
    }

    pub(crate) fn listeners(&self) -> Vec<Arc<dyn StreamingQueryListener>> {
        self.listeners.lock().iter().map(|listening| Arc::clone(&listening.listener)).collect()
    }

    /// Passes `event` on without waiting for anybody.
    pub(super) fn tell(&self, event: &Event) {
        for listening in self.listeners.lock().iter_mut() {
            match listening.events.try_send(event.clone()) {
                Ok(()) | Err(TrySendError::Disconnected(_)) => listening.is_full = false,
                Err(TrySendError::Full(_)) if listening.is_full => {}
                Err(TrySendError::Full(_)) => {
                    listening.is_full = true;
                    tracing::warn!(
                        "a listener is {QUEUED_EVENTS} events behind: it misses those that come until it has caught up"
                    );
                }
            }
        }
    }

    pub(super) fn on_ended(&self, failure: Option<Error>) {
        self.ended.send_modify(|ended| {
            ended.any = true;
            ended.failure = ended.failure.take().or(failure);
        });
    }

    pub(crate) fn ended(&self) -> watch::Receiver<Ended> {
        self.ended.subscribe()
    }

    pub(crate) fn forget_ended(&self) {
        self.ended.send_replace(Ended::default());
    }
}

fn serve(listener: &dyn StreamingQueryListener, events: &Receiver<Event>, is_wanted: &AtomicBool) {
    while let Ok(event) = events.recv() {
        if !is_wanted.load(Ordering::Relaxed) {
            return;
        }
        if catch_unwind(AssertUnwindSafe(|| event.tell(listener))).is_err() {
            tracing::error!("a listener panicked at an event; it hears the next ones all the same");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;
    use crate::query::{QueryIdleEvent, QueryStartedEvent};

    /// Waits at the start of a query until it is let go on; then passes on what it hears.
    struct Slow {
        gate: Mutex<Receiver<()>>,
        heard: Sender<String>,
    }

    impl StreamingQueryListener for Slow {
        fn on_query_started(&self, _event: &QueryStartedEvent) {
            let _ = self.gate.lock().recv();
        }

        fn on_query_idle(&self, event: &QueryIdleEvent) {
            let _ = self.heard.send(event.timestamp.clone());
        }
    }

    #[test]
    fn a_listener_that_is_far_behind_misses_the_newest_events_and_then_hears_on() {
        let id = Uuid::nil();
        let idle =
            |number: usize| Event::Idle(QueryIdleEvent { id, run_id: id, timestamp: number.to_string() });
        let (name, timestamp, job_tags) = Default::default();
        let hub = Hub::default();
        let ((open, gate), (heard, hears)) = (channel(), channel());
        hub.add_listener(Arc::new(Slow { gate: Mutex::new(gate), heard })).unwrap();
        hub.tell(&Event::Started(QueryStartedEvent { id, run_id: id, name, timestamp, job_tags }));
        // It may or may not have taken the first event out by then, so that one more may fit.
        for number in 0..QUEUED_EVENTS + 100 {
            hub.tell(&idle(number));
        }
        drop(open);
        let first: Vec<String> = hears.iter().take(QUEUED_EVENTS - 1).collect();
        assert_eq!(first, (0..QUEUED_EVENTS - 1).map(|number| number.to_string()).collect::<Vec<_>>());
        hub.tell(&idle(1_000_000));
        let rest: Vec<String> = hears.iter().take_while(|number| number != "1000000").collect();
        assert!(rest.len() <= 1, "{rest:?}");
    }
}
