//! How much of a source's records may be in memory, shared out over its partitions.

use rdkafka::ClientConfig;

/// Where option `maxBufferedBytes` says nothing.
pub(super) const MAX_BUFFERED_BYTES: u64 = 256 << 20;
/// A batch is no larger than this, so that large records do not pile up in memory twice.
const BATCH: u64 = 4 << 20;
/// Less at a time would cost a round trip for each few records. A record that is larger comes all the same.
const FETCH_FLOOR: u64 = 64 << 10;

/// One partition's part: a quarter waits in its queue, a quarter is what a fetch may bring on top of that, and a half is in
/// work, as the batch that is read and the columns that are made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    queue_kbytes: u64,
    fetch_bytes: u64,
    pub(super) batch_bytes: usize,
}

impl Share {
    /// Of `max_bytes` for so many partitions.
    pub(super) fn of(max_bytes: u64, partitions: usize) -> Self {
        let share = max_bytes / (partitions.max(1) as u64);
        Self {
            queue_kbytes: (share / 4 / 1024).max(1),
            fetch_bytes: (share / 4).max(FETCH_FLOOR),
            batch_bytes: usize::try_from((share / 2).min(BATCH)).unwrap_or(usize::MAX),
        }
    }

    /// Lowers what the client takes ahead; what is lower already stays.
    pub(super) fn limit(&self, client: &mut ClientConfig) {
        for (name, at_most, default) in [
            ("queued.max.messages.kbytes", self.queue_kbytes, 65_536),
            ("fetch.message.max.bytes", self.fetch_bytes, 1_048_576),
        ] {
            let set = client.get(name).and_then(|value| value.parse().ok()).unwrap_or(default);
            if set > at_most {
                client.set(name, at_most.to_string());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(max_bytes: u64, partitions: usize, set: &[(&str, &str)]) -> (Option<String>, Option<String>) {
        let mut client = ClientConfig::new();
        for (name, value) in set {
            client.set(*name, *value);
        }
        Share::of(max_bytes, partitions).limit(&mut client);
        let get = |name| client.get(name).map(str::to_owned);
        (get("queued.max.messages.kbytes"), get("fetch.message.max.bytes"))
    }

    #[test]
    fn few_partitions_have_what_the_client_is_set_to_and_many_share() {
        let queue = [("queued.max.messages.kbytes", "4096")];
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(limited(MAX_BUFFERED_BYTES, 16, &queue), (text("4096"), None));
        assert_eq!(limited(MAX_BUFFERED_BYTES, 256, &queue), (text("256"), text("262144")));
        assert_eq!(limited(1, 10_000, &[]), (text("1"), text("65536")));
        let lower = [("queued.max.messages.kbytes", "10"), ("fetch.message.max.bytes", "70000")];
        assert_eq!(limited(MAX_BUFFERED_BYTES, 256, &lower), (text("10"), text("70000")));
    }

    #[test]
    fn the_parts_are_the_whole() {
        for partitions in [32, 64, 100, 512] {
            let share = Share::of(MAX_BUFFERED_BYTES, partitions);
            let one = share.queue_kbytes * 1024 + share.fetch_bytes + share.batch_bytes as u64;
            let all = one * partitions as u64;
            assert!(all <= MAX_BUFFERED_BYTES && all > MAX_BUFFERED_BYTES / 10 * 9, "{partitions}: {all}");
        }
    }
}
