-- H22, from TPC-H's Q22: a part of a text looked up in a list; about 28 % of customer pass.
SELECT concat(
  '{"seq":', json_as_text(line, 'seq'), ',"t0":', json_as_text(line, 't0'), ',"c_custkey":',
  json_as_text(line, 'c_custkey'), ',"cntry":"', cntry, '"}') AS value
FROM (
  SELECT line, substr(json_get_str(line, 'c_phone'), 1, 2) AS cntry
  FROM (SELECT CAST(value AS STRING) AS line FROM events)
)
WHERE cntry IN ('13', '31', '23', '29', '30', '18', '17')
