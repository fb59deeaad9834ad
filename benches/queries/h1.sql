-- H1, from TPC-H's Q1: decimal arithmetic on about 98 % of lineitem.
-- Dates in ISO order compare as text as they do as dates.
SELECT to_json(named_struct(
  'seq', seq, 't0', t0, 'l_orderkey', l_orderkey, 'l_returnflag', l_returnflag, 'l_linestatus', l_linestatus,
  'disc_price', l_extendedprice * (1 - l_discount),
  'charge', l_extendedprice * (1 - l_discount) * (1 + l_tax)
)) AS value
FROM (
  SELECT
    line['seq'] AS seq, line['t0'] AS t0, line['l_orderkey'] AS l_orderkey,
    line['l_extendedprice'] AS l_extendedprice, line['l_discount'] AS l_discount, line['l_tax'] AS l_tax,
    line['l_returnflag'] AS l_returnflag, line['l_linestatus'] AS l_linestatus, line['l_shipdate'] AS l_shipdate
  FROM (
    SELECT from_json(
      CAST(value AS STRING),
      'seq BIGINT, t0 BIGINT, l_orderkey BIGINT, l_extendedprice DECIMAL(15, 2), l_discount DECIMAL(3, 2),
       l_tax DECIMAL(3, 2), l_returnflag STRING, l_linestatus STRING, l_shipdate STRING'
    ) AS line
    FROM events
  )
)
WHERE l_shipdate <= '1998-09-02'
