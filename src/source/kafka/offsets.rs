//! Kafka's offsets as Spark writes them: `{"topic":{"0":23,"1":45}}`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::epoch::{Partition, SourceOffsets};
use crate::error::{Error, ErrorKind, Result};

/// Compact JSON, topics and partitions in order.
pub(super) fn encode(offsets: &SourceOffsets) -> String {
    let mut topics: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for (partition, offset) in offsets {
        topics.entry(&partition.topic).or_default().insert(partition.number.to_string(), (*offset).into());
    }
    let topics: Map<String, Value> =
        topics.into_iter().map(|(topic, partitions)| (topic.to_owned(), partitions.into())).collect();
    Value::Object(topics).to_string()
}

/// Offsets of a checkpoint, none of them negative.
pub(super) fn decode(text: &str) -> Result<SourceOffsets> {
    let offsets = decode_lenient(text)
        .map_err(|e| Error::new(ErrorKind::Checkpoint, format!("offsets of a Kafka source: {e}")))?;
    match offsets.iter().find(|(_, offset)| **offset < 0) {
        None => Ok(offsets),
        Some((partition, offset)) => Err(Error::new(
            ErrorKind::Checkpoint,
            format!("offsets of a Kafka source: {partition} stands at {offset}; expected 0 or more"),
        )),
    }
}

/// Offsets as users give them: -1 and -2 may stand for the latest and the earliest.
pub(super) fn decode_lenient(text: &str) -> Result<SourceOffsets> {
    let refuse = || {
        Error::usage(format!(
            r#"expected JSON like {{"topicA":{{"0":23,"1":-1}},"topicB":{{"0":-2}}}}, got {text}"#
        ))
    };
    let topics: BTreeMap<String, BTreeMap<String, i64>> = serde_json::from_str(text).map_err(|_| refuse())?;
    let mut offsets = SourceOffsets::new();
    for (topic, partitions) in topics {
        let topic: Arc<str> = topic.into();
        for (number, offset) in partitions {
            let number: i32 = number.parse().ok().filter(|number| *number >= 0).ok_or_else(refuse)?;
            offsets.insert(Partition::new(Arc::clone(&topic), number), offset);
        }
    }
    Ok(offsets)
}

/// Partitions as option `assign` takes them: `{"topicA":[0,1]}`.
pub(super) fn decode_partitions(text: &str) -> Result<std::collections::BTreeSet<Partition>> {
    let refuse = || {
        Error::usage(format!(
            r#"option 'assign' has the value '{text}'; expected JSON like {{"topicA":[0,1],"topicB":[2,4]}}"#
        ))
    };
    let topics: BTreeMap<String, Vec<i32>> = serde_json::from_str(text).map_err(|_| refuse())?;
    let partitions: std::collections::BTreeSet<Partition> = topics
        .into_iter()
        .flat_map(|(topic, numbers)| {
            let topic: Arc<str> = topic.into();
            numbers.into_iter().map(move |number| Partition::new(Arc::clone(&topic), number))
        })
        .collect();
    if partitions.is_empty() || partitions.iter().any(|partition| partition.number < 0) {
        return Err(refuse());
    }
    Ok(partitions)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numeric_order_of_partitions_and_escaped_names() {
        let offsets: SourceOffsets = [("a\"b", 10, 1), ("a\"b", 2, 7), ("x", 0, 9_007_199_254_740_993)]
            .into_iter()
            .map(|(topic, number, offset)| (Partition::new(topic, number), offset))
            .collect();
        let text = encode(&offsets);
        assert_eq!(text, r#"{"a\"b":{"2":7,"10":1},"x":{"0":9007199254740993}}"#);
        assert_eq!(decode(&text).unwrap(), offsets);
    }

    #[test]
    fn what_is_not_kafkas_offsets_is_refused() {
        for text in
            ["", "12", "[]", r#"{"a":1}"#, r#"{"a":{"x":1}}"#, r#"{"a":{"0":1.5}}"#, r#"{"a":{"-1":1}}"#]
        {
            let error = decode(text).unwrap_err();
            assert!(error.to_string().contains("expected JSON like"), "{error}");
        }
        assert!(decode(r#"{"a":{"0":-2}}"#).unwrap_err().to_string().contains("a-0 stands at -2"));
    }

    proptest! {
        #[test]
        fn offsets_survive_the_round_trip(
            offsets in proptest::collection::btree_map((".{0,8}", 0..i32::MAX), 0..i64::MAX, 0..8)
        ) {
            let offsets: SourceOffsets =
                offsets.into_iter().map(|((topic, number), offset)| (Partition::new(topic, number), offset)).collect();
            prop_assert_eq!(decode(&encode(&offsets)).unwrap(), offsets);
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,64}") {
            let _ = decode(&text);
            let _ = decode_partitions(&text);
        }
    }
}
