-- H19, from TPC-H's Q19: a long boolean tree over lineitem with its part; about 1 record in 400 passes.
SELECT concat(
  '{"seq":', json_as_text(line, 'seq'), ',"t0":', json_as_text(line, 't0'), ',"l_orderkey":',
  json_as_text(line, 'l_orderkey'), ',"revenue":',
  CAST(json_as_text(line, 'l_extendedprice') AS DECIMAL(15, 2))
    * (1 - CAST(json_as_text(line, 'l_discount') AS DECIMAL(3, 2))), '}') AS value
FROM (
  SELECT
    line,
    json_get_int(line, 'l_quantity') AS l_quantity,
    json_get_str(line, 'p_brand') AS p_brand,
    json_get_int(line, 'p_size') AS p_size,
    json_get_str(line, 'p_container') AS p_container
  FROM (SELECT CAST(value AS STRING) AS line FROM events)
)
WHERE (p_brand = 'Brand#12' AND p_container IN ('SM CASE', 'SM BOX', 'SM PACK', 'SM PKG')
    AND l_quantity BETWEEN 1 AND 11 AND p_size >= 1)
  OR (p_brand = 'Brand#23' AND p_container IN ('MED BAG', 'MED BOX', 'MED PKG', 'MED PACK')
    AND l_quantity BETWEEN 10 AND 20 AND p_size >= 1)
  OR (p_brand = 'Brand#34' AND p_container IN ('LG CASE', 'LG BOX', 'LG PACK', 'LG PKG')
    AND l_quantity BETWEEN 20 AND 30 AND p_size >= 1)
