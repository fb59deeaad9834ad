//! The catalogue of queries: `benches/queries/`, one file each.

use super::stream::Stream;

/// A query from the table `events`, the topic, with the column `value` for its result.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) id: &'static str,
    /// What its topic holds.
    pub(super) stream: Stream,
    /// What its topic holds when throughput counts.
    pub(super) bulk: Stream,
    pub(super) select: &'static str,
    /// Whether it joins the static table `part`.
    pub(super) joins_part: bool,
}

macro_rules! query {
    ($id:literal, $stream:ident) => {
        query!($id, $stream, $stream)
    };
    ($id:literal, $stream:ident, $bulk:ident) => {
        Query {
            id: $id,
            stream: Stream::$stream,
            bulk: Stream::$bulk,
            select: include_str!(concat!("../../../../benches/queries/", $id, ".sql")),
            joins_part: false,
        }
    };
}

/// Every query, P0 first.
pub(super) const CATALOGUE: &[Query] = &[
    query!("p0", Plain),
    query!("h1", Lineitem, LineitemShort),
    query!("h6", Lineitem, LineitemShort),
    query!("h12", Lineitem),
    query!("h13", Orders),
    Query { joins_part: true, ..query!("h14", Lineitem) },
    query!("h19", LineitemPart),
    query!("h22", Customer),
    query!("n0", Bid),
    query!("n1", Bid),
    query!("n2", Bid),
    query!("n14", Bid),
    query!("n21", Bid),
    query!("n22", Bid),
];

/// For the command line.
pub(super) fn parse(id: &str) -> Result<&'static Query, String> {
    CATALOGUE.iter().find(|query| query.id.eq_ignore_ascii_case(id)).ok_or_else(|| {
        let ids: Vec<_> = CATALOGUE.iter().map(|query| query.id).collect();
        format!("there is no query '{id}'; there are {}", ids.join(", "))
    })
}
