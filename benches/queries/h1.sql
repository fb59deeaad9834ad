-- H1, from TPC-H's Q1: decimal arithmetic on about 98 % of lineitem.
-- Dates in ISO order compare as text as they do as dates.
SELECT concat(
  '{"seq":', seq, ',"t0":', t0, ',"l_orderkey":', l_orderkey, ',"l_returnflag":"', l_returnflag,
  '","l_linestatus":"', l_linestatus, '","disc_price":', l_extendedprice * (1 - l_discount),
  ',"charge":', l_extendedprice * (1 - l_discount) * (1 + l_tax), '}') AS value
FROM (
  SELECT
    json_as_text(line, 'seq') AS seq,
    json_as_text(line, 't0') AS t0,
    json_as_text(line, 'l_orderkey') AS l_orderkey,
    CAST(json_as_text(line, 'l_extendedprice') AS DECIMAL(15, 2)) AS l_extendedprice,
    CAST(json_as_text(line, 'l_discount') AS DECIMAL(3, 2)) AS l_discount,
    CAST(json_as_text(line, 'l_tax') AS DECIMAL(3, 2)) AS l_tax,
    json_get_str(line, 'l_returnflag') AS l_returnflag,
    json_get_str(line, 'l_linestatus') AS l_linestatus
  FROM (SELECT CAST(value AS STRING) AS line FROM events)
  WHERE json_get_str(line, 'l_shipdate') <= '1998-09-02'
)
