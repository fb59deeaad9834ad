//! The streams: what the records hold beside `seq` and `t0`. Row by row the same in every process.

use std::sync::LazyLock;

use clap::ValueEnum;
use nexmark::EventGenerator;
use nexmark::config::NexmarkConfig;
use nexmark::event::{Event, EventType};
use tpchgen::distribution::Distributions;
use tpchgen::generators::{
    CustomerGenerator, LineItem, LineItemGenerator, OrderGenerator, Part, PartGenerator,
};
use tpchgen::text::TextPool;

/// What a topic holds. TPC-H tables are of the scale factor 0.1 and begin anew when they are used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Stream {
    /// One padded field: a record of exactly the length asked for.
    Plain,
    /// TPC-H's lineitem, about 350 bytes.
    Lineitem,
    /// The columns of lineitem that H1 and H6 read, about 200 bytes.
    LineitemShort,
    /// Lineitem with its part's brand, size and container.
    LineitemPart,
    /// TPC-H's orders.
    Orders,
    /// TPC-H's customer.
    Customer,
    /// Nexmark's bids.
    Bid,
}

const SCALE: f64 = 0.1;
/// TPC-H's own pool of text has 300 MB, which takes seconds to make; a few MB of the same grammar do as well.
const TEXT_BYTES: i32 = 4 << 20;

/// 2026-01-01 00:00 UTC: the first bid's time.
const BIDS_BEGIN_MS: u64 = 1_767_225_600_000;

fn text() -> &'static TextPool {
    static POOL: LazyLock<TextPool> =
        LazyLock::new(|| TextPool::new(TEXT_BYTES, Distributions::static_default()));
    &POOL
}

/// The rows of a stream: JSON fields without brackets.
pub(super) type Rows = Box<dyn Iterator<Item = String> + Send>;

/// The rows of `stream`, without end. `plain_bytes`: the length of a whole record of [`Stream::Plain`].
pub(super) fn rows(stream: Stream, plain_bytes: usize) -> Rows {
    let distributions = Distributions::static_default();
    match stream {
        Stream::Plain => plain(plain_bytes),
        Stream::Lineitem => again(|| lineitems().map(|row| lineitem(&row))),
        Stream::LineitemShort => again(|| lineitems().map(|row| lineitem_short(&row))),
        Stream::LineitemPart => {
            let parts: Vec<String> = parts().map(|part| part_fields(&part)).collect();
            Box::new(std::iter::repeat_with(lineitems).flatten().map(move |row| {
                let part = parts.get(row.l_partkey as usize - 1).map_or("", String::as_str);
                format!("{},{part}", lineitem(&row))
            }))
        }
        Stream::Orders => again(move || {
            OrderGenerator::new_with_distributions_and_text_pool(SCALE, 1, 1, distributions, text())
                .iter()
                .map(|row| {
                    format!(
                        r#""o_orderkey":{},"o_custkey":{},"o_orderstatus":"{}","o_totalprice":{},"o_orderdate":"{}","o_orderpriority":"{}","o_clerk":"{}","o_shippriority":{},"o_comment":"{}""#,
                        row.o_orderkey, row.o_custkey, row.o_orderstatus, row.o_totalprice, row.o_orderdate,
                        row.o_orderpriority, row.o_clerk, row.o_shippriority, row.o_comment,
                    )
                })
        }),
        Stream::Customer => again(move || {
            CustomerGenerator::new_with_distributions_and_text_pool(SCALE, 1, 1, distributions, text())
                .iter()
                .map(|row| {
                    format!(
                        r#""c_custkey":{},"c_name":"{}","c_address":"{}","c_nationkey":{},"c_phone":"{}","c_acctbal":{},"c_mktsegment":"{}","c_comment":"{}""#,
                        row.c_custkey, row.c_name, row.c_address, row.c_nationkey, row.c_phone, row.c_acctbal,
                        row.c_mktsegment, row.c_comment,
                    )
                })
        }),
        Stream::Bid => {
            // The default begins now, which would make other rows in each process.
            let config = NexmarkConfig { base_time: BIDS_BEGIN_MS, ..NexmarkConfig::default() };
            let bids = EventGenerator::new(config).with_type_filter(EventType::Bid);
            Box::new(bids.filter_map(|event| match event {
                // Names, channels and URLs hold nothing that JSON would escape.
                Event::Bid(bid) => Some(format!(
                    r#""auction":{},"bidder":{},"price":{},"channel":"{}","url":"{}","date_time":{},"extra":"{}""#,
                    bid.auction, bid.bidder, bid.price, bid.channel, bid.url, bid.date_time, bid.extra,
                )),
                _ => None,
            }))
        }
    }
}

fn again<I: Iterator<Item = String> + Send + 'static>(table: impl FnMut() -> I + Send + 'static) -> Rows {
    Box::new(std::iter::repeat_with(table).flatten())
}

/// Pads to `len` bytes, whatever digits `seq` and `t0` have.
fn plain(len: usize) -> Rows {
    // Around the padding of a record with a 7-digit `seq` and a 15-digit `t0`.
    const REST: usize = r#"{"seq":1234567,"t0":123456789012345,"pad":""}"#.len();
    let fields = format!(r#""pad":"{}""#, "x".repeat(len.saturating_sub(REST)));
    Box::new(std::iter::repeat(fields))
}

fn lineitems() -> impl Iterator<Item = LineItem<'static>> {
    let distributions = Distributions::static_default();
    LineItemGenerator::new_with_distributions_and_text_pool(SCALE, 1, 1, distributions, text()).iter()
}

/// TPC-H's part, the static side of H14.
pub(super) fn parts() -> impl Iterator<Item = Part<'static>> {
    let distributions = Distributions::static_default();
    PartGenerator::new_with_distributions_and_text_pool(SCALE, 1, 1, distributions, text()).iter()
}

/// Decimals are JSON numbers: engines that read them as text lose nothing.
fn lineitem(row: &LineItem<'_>) -> String {
    format!(
        r#""l_orderkey":{},"l_partkey":{},"l_suppkey":{},"l_linenumber":{},"l_quantity":{},"l_extendedprice":{},"l_discount":{},"l_tax":{},"l_returnflag":"{}","l_linestatus":"{}","l_shipdate":"{}","l_commitdate":"{}","l_receiptdate":"{}","l_shipinstruct":"{}","l_shipmode":"{}","l_comment":"{}""#,
        row.l_orderkey,
        row.l_partkey,
        row.l_suppkey,
        row.l_linenumber,
        row.l_quantity,
        row.l_extendedprice,
        row.l_discount,
        row.l_tax,
        row.l_returnflag,
        row.l_linestatus,
        row.l_shipdate,
        row.l_commitdate,
        row.l_receiptdate,
        row.l_shipinstruct,
        row.l_shipmode,
        row.l_comment,
    )
}

fn lineitem_short(row: &LineItem<'_>) -> String {
    format!(
        r#""l_orderkey":{},"l_quantity":{},"l_extendedprice":{},"l_discount":{},"l_tax":{},"l_returnflag":"{}","l_linestatus":"{}","l_shipdate":"{}""#,
        row.l_orderkey,
        row.l_quantity,
        row.l_extendedprice,
        row.l_discount,
        row.l_tax,
        row.l_returnflag,
        row.l_linestatus,
        row.l_shipdate,
    )
}

fn part_fields(part: &Part<'_>) -> String {
    format!(r#""p_brand":"{}","p_size":{},"p_container":"{}""#, part.p_brand, part.p_size, part.p_container)
}

#[cfg(test)]
mod tests {
    use super::super::record;
    use super::*;

    #[test]
    fn every_stream_gives_json_and_the_same_rows_again() {
        for stream in Stream::value_variants() {
            let some = || rows(*stream, 110).take(100).collect::<Vec<_>>();
            for fields in some() {
                let record = record::encode(1, 2, &fields);
                let value: serde_json::Value = serde_json::from_str(&record).expect(&record);
                assert!(value.as_object().is_some_and(|fields| fields.len() > 2), "{record}");
            }
            assert_eq!(some(), some());
        }
    }

    #[test]
    fn a_table_begins_anew_when_it_is_used_up() {
        let customers = 15_000;
        let mut rows = rows(Stream::Customer, 0);
        let first = rows.next();
        assert_eq!(rows.nth(customers - 1), first);
    }

    #[test]
    fn plain_records_have_the_length_asked_for() {
        let fields = rows(Stream::Plain, 200).next().unwrap();
        assert_eq!(record::encode(1_234_567, 123_456_789_012_345, &fields).len(), 200);
    }
}
