//! Where a row comes from: which record of which source partition, and which of that record's rows it is.
//!
//! Rows of one source partition come in the order of their origins. A crash may repeat some, from an earlier origin on and
//! in the same order. So a reader drops every repetition if it remembers, for each source partition, the last origin that
//! it has seen: that is [`LastOrigins`].

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::epoch::{Offset, Partition};
use crate::error::{Error, ErrorKind, Result};

/// Columns that carry an origin through a plan, as the last ones of its rows.
pub(crate) const SOURCE: &str = "__epochflow_source";
pub(crate) const TOPIC: &str = "__epochflow_topic";
pub(crate) const PARTITION: &str = "__epochflow_partition";
pub(crate) const OFFSET: &str = "__epochflow_offset";

/// Names of the headers that carry an origin, in the order in which they are written. Their values are text.
pub(crate) const HEADERS: [&str; 5] =
    ["epochflow.source", "epochflow.topic", "epochflow.partition", "epochflow.offset", "epochflow.row"];

/// Whether a sink writes the origin with each row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Provenance {
    /// It does not.
    #[default]
    None,
    /// As headers of the record.
    Headers,
}

impl FromStr for Provenance {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.trim() {
            "none" => Ok(Provenance::None),
            "headers" => Ok(Provenance::Headers),
            _ => Err(Error::usage(format!("'{text}' is not a kind of provenance; write none or headers"))),
        }
    }
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Provenance::None => "none",
            Provenance::Headers => "headers",
        })
    }
}

/// Where a row comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// Number of the source in the query, from left to right; 0 unless the query has a `UNION ALL`.
    pub source: u32,
    /// Partition of the source.
    pub partition: Partition,
    /// The record's offset there.
    pub offset: Offset,
    /// Which of the rows that came of the record, from 0.
    pub row: u64,
}

impl Origin {
    /// The origin that a record's headers tell; `None` where the record has none.
    ///
    /// ```
    /// use epochflow::Origin;
    ///
    /// let headers = [("epochflow.source", "0"), ("epochflow.topic", "in"), ("epochflow.partition", "3"),
    ///     ("epochflow.offset", "17"), ("epochflow.row", "0")];
    /// let origin = Origin::from_headers(headers.map(|(name, value)| (name, value.as_bytes())))?;
    /// assert_eq!(origin.unwrap().offset, 17);
    /// # Ok::<_, epochflow::Error>(())
    /// ```
    ///
    /// # Errors
    /// One of the headers is missing or is not what epochflow writes.
    pub fn from_headers<'a>(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Option<Self>> {
        let mut found: [Option<&str>; 5] = [None; 5];
        for (name, value) in headers {
            if let Some(at) = HEADERS.iter().position(|known| *known == name) {
                found[at] = std::str::from_utf8(value).ok();
            }
        }
        if found == [None; 5] {
            return Ok(None);
        }
        let text = |at: usize| found[at].ok_or_else(|| malformed(HEADERS[at]));
        Ok(Some(Self {
            source: number(text(0)?, HEADERS[0])?,
            partition: Partition::new(text(1)?, number(text(2)?, HEADERS[2])?),
            offset: number(text(3)?, HEADERS[3])?,
            row: number(text(4)?, HEADERS[4])?,
        }))
    }
}

fn number<T: FromStr>(text: &str, header: &str) -> Result<T> {
    text.parse().map_err(|_| malformed(header))
}

fn malformed(header: &str) -> Error {
    Error::new(
        ErrorKind::Data,
        format!("a record's header '{header}' is missing or is not what epochflow writes there"),
    )
}

/// The last origin seen of each source partition: enough to tell a repeated row.
///
/// Use one for each partition that you read, since rows of a source partition keep their order only within one. Store it
/// with your results to go on after a restart of your own.
///
/// ```
/// use epochflow::{LastOrigins, Origin, Partition};
///
/// let origin = |offset| Origin { source: 0, partition: Partition::new("in", 0), offset, row: 0 };
/// let mut seen = LastOrigins::default();
/// let fresh: Vec<_> = [5, 6, 7, 6, 7, 8].map(origin).into_iter().filter(|row| seen.is_new(row)).collect();
/// assert_eq!(fresh, [5, 6, 7, 8].map(origin));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastOrigins(BTreeMap<(u32, Partition), (Offset, u64)>);

impl LastOrigins {
    /// Whether the row has not been seen; takes it down as seen.
    pub fn is_new(&mut self, origin: &Origin) -> bool {
        let key = (origin.source, origin.partition.clone());
        let at = (origin.offset, origin.row);
        match self.0.get_mut(&key) {
            Some(last) if at <= *last => false,
            Some(last) => {
                *last = at;
                true
            }
            None => {
                self.0.insert(key, at);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(source: u32, partition: i32, offset: Offset, row: u64) -> Origin {
        Origin { source, partition: Partition::new("in", partition), offset, row }
    }

    #[test]
    fn a_repetition_is_told_for_each_partition_of_each_source_alone() {
        let mut seen = LastOrigins::default();
        for (origin, is_new) in [
            (origin(0, 0, 7, 0), true),
            (origin(0, 0, 7, 1), true),
            (origin(0, 1, 3, 0), true),
            (origin(1, 0, 2, 0), true),
            (origin(0, 0, 7, 0), false),
            (origin(0, 0, 7, 1), false),
            (origin(0, 0, 7, 2), true),
            (origin(0, 0, 9, 0), true),
            (origin(0, 1, 3, 0), false),
        ] {
            assert_eq!(seen.is_new(&origin), is_new, "{origin:?}");
        }
    }

    #[test]
    fn headers_that_are_not_ours_are_no_origin_and_damaged_ones_an_error() {
        let parse = |headers: &[(&'static str, &'static [u8])]| Origin::from_headers(headers.iter().copied());
        assert_eq!(parse(&[("trace", b"x")]).unwrap(), None);
        assert!(parse(&[("epochflow.offset", b"1")]).unwrap_err().to_string().contains("epochflow.source"));
        let broken: [(&str, &[u8]); 5] = [
            ("epochflow.source", b"0"),
            ("epochflow.topic", b"in"),
            ("epochflow.partition", b"0"),
            ("epochflow.offset", b"one"),
            ("epochflow.row", b"0"),
        ];
        assert!(parse(&broken).unwrap_err().to_string().contains("epochflow.offset"));
    }
}
