//! Offsets as users and checkpoints give them.

use std::sync::Arc;

use epochflow::{Options, ReadMode, Source};

use super::wait;
use epochflow::seams::source;

const MODES: [ReadMode; 2] = [ReadMode::MicroBatch, ReadMode::Continuous];

/// `data` as offsets in options, and as a line of a checkpoint.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for name in
        ["startingOffsets", "startingOffsetsByTimestamp", "startingTimestamp", "assign", "endingOffsets"]
    {
        let mut options = kafka();
        if name == "assign" {
            options = options.iter().filter(|(name, _)| *name != "subscribe").collect();
        }
        options.set(name, text);
        let _ = source("kafka", &options);
    }
    let kafka = source("kafka", &kafka()).unwrap();
    if let Ok(offsets) = kafka.decode_offsets(text) {
        assert_eq!(kafka.decode_offsets(&kafka.encode_offsets(&offsets)).unwrap(), offsets);
    }
    for partitions in ["1", "3"] {
        for rows in ["1", "1000000"] {
            let options = [("numPartitions", partitions), ("rowsPerSecond", rows)].into_iter().collect();
            numbers(source("rate", &options).unwrap().as_ref(), text);
        }
        let options = [("numPartitions", partitions), ("rowsPerBatch", "7")].into_iter().collect();
        numbers(source("rate-micro-batch", &options).unwrap().as_ref(), text);
    }
}

fn kafka() -> Options {
    [("kafka.bootstrap.servers", "127.0.0.1:9"), ("subscribe", "a")].into_iter().collect()
}

/// A source of numbers that goes on from `line`, or began at it.
fn numbers(source: &dyn Source, line: &str) {
    for mode in MODES {
        let fresh = || -> Option<Arc<dyn Source>> { source.for_query(mode).ok().flatten() };
        let Some(began) = fresh() else { continue };
        if began.recall_start(line).is_ok() {
            let _ = wait(began.initial_offsets());
            let _ = wait(began.latest_offsets());
        }
        let Some(goes_on) = fresh() else { continue };
        let _ = goes_on.recall_start("1700000000000");
        if let Ok(offsets) = goes_on.decode_offsets(line) {
            let written = goes_on.encode_offsets(&offsets);
            // A batch begins with a second, so that what was written may stand a little later.
            if let Ok(later) = goes_on.decode_offsets(&written) {
                assert_eq!(goes_on.encode_offsets(&later), written);
            }
            let _ = wait(goes_on.latest_offsets());
        }
    }
}
