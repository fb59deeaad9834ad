-- H12, from TPC-H's Q12: dates compared with dates, and CASE.
SELECT concat(
  '{"seq":', json_as_text(line, 'seq'), ',"t0":', json_as_text(line, 't0'), ',"l_orderkey":',
  json_as_text(line, 'l_orderkey'), ',"by_mail_or_ship":',
  CASE WHEN json_get_str(line, 'l_shipmode') IN ('MAIL', 'SHIP') THEN 1 ELSE 0 END, '}') AS value
FROM (
  SELECT
    line,
    CAST(json_get_str(line, 'l_shipdate') AS DATE) AS l_shipdate,
    CAST(json_get_str(line, 'l_commitdate') AS DATE) AS l_commitdate,
    CAST(json_get_str(line, 'l_receiptdate') AS DATE) AS l_receiptdate
  FROM (SELECT CAST(value AS STRING) AS line FROM events)
)
WHERE l_commitdate < l_receiptdate AND l_shipdate < l_commitdate
