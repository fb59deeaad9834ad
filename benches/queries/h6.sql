-- H6, from TPC-H's Q6: about 2 % of lineitem pass, and each must do so at once.
SELECT concat(
  '{"seq":', seq, ',"t0":', t0, ',"l_orderkey":', l_orderkey, ',"rev":', l_extendedprice * l_discount, '}') AS value
FROM (
  SELECT
    json_as_text(line, 'seq') AS seq,
    json_as_text(line, 't0') AS t0,
    json_as_text(line, 'l_orderkey') AS l_orderkey,
    CAST(json_as_text(line, 'l_extendedprice') AS DECIMAL(15, 2)) AS l_extendedprice,
    CAST(json_as_text(line, 'l_discount') AS DECIMAL(3, 2)) AS l_discount
  FROM (SELECT CAST(value AS STRING) AS line FROM events)
  WHERE json_get_str(line, 'l_shipdate') >= '1994-01-01'
    AND json_get_str(line, 'l_shipdate') < '1995-01-01'
    AND json_get_int(line, 'l_quantity') < 24
)
WHERE l_discount BETWEEN 0.05 AND 0.07
