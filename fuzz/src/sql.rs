//! A pipeline's text, from statements to a plan under both kinds of trigger, without a broker.

use std::time::Duration;

use epochflow::{StreamSession, Trigger};

use super::wait;

/// `data` as the text of a pipeline.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if reaches_out(text) {
        return;
    }
    // A session keeps what it was set to and what was created: each pipeline has its own.
    let session = StreamSession::new().unwrap();
    let is_planned = wait(explain(&session, text, Trigger::Continuous(Duration::from_secs(1))));
    if is_planned {
        let session = StreamSession::new().unwrap();
        assert!(wait(explain(&session, text, Trigger::AvailableNow)) || text.contains("rate-"));
    }
}

async fn explain(session: &StreamSession, text: &str, trigger: Trigger) -> bool {
    let writer = match session.pipeline(text).await {
        Ok(writer) => writer,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return false;
        }
    };
    writer.trigger(trigger).explain().await.is_ok()
}

/// Object stores and devices are not for a fuzzer.
fn reaches_out(text: &str) -> bool {
    let other_url = text.match_indices("://").any(|(at, _)| !text[..at].ends_with("kafka"));
    other_url || ["/dev", "/proc", "/sys"].iter().any(|place| text.contains(place))
}
