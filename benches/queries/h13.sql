-- H13, from TPC-H's Q13: NOT LIKE with two parts on text.
SELECT concat(
  '{"seq":', json_as_text(line, 'seq'), ',"t0":', json_as_text(line, 't0'), ',"o_orderkey":',
  json_as_text(line, 'o_orderkey'), ',"o_custkey":', json_as_text(line, 'o_custkey'), '}') AS value
FROM (SELECT CAST(value AS STRING) AS line FROM events)
WHERE json_get_str(line, 'o_comment') NOT LIKE '%special%requests%'
