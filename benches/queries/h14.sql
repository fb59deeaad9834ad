-- H14, from TPC-H's Q14: lineitem joined with the static table part, and CASE.
SELECT concat(
  '{"seq":', seq, ',"t0":', t0, ',"l_orderkey":', l_orderkey, ',"promo":',
  CASE WHEN p_type LIKE 'PROMO%' THEN l_extendedprice * (1 - l_discount) ELSE 0 END, '}') AS value
FROM (
  SELECT
    json_as_text(line, 'seq') AS seq,
    json_as_text(line, 't0') AS t0,
    json_as_text(line, 'l_orderkey') AS l_orderkey,
    json_get_int(line, 'l_partkey') AS l_partkey,
    CAST(json_as_text(line, 'l_extendedprice') AS DECIMAL(15, 2)) AS l_extendedprice,
    CAST(json_as_text(line, 'l_discount') AS DECIMAL(3, 2)) AS l_discount
  FROM (SELECT CAST(value AS STRING) AS line FROM events)
)
JOIN part ON l_partkey = p_partkey
