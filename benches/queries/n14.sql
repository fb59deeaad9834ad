-- N14, Nexmark's q14: arithmetic, the hour of a time, and characters counted.
SELECT concat(
  '{"seq":', json_as_text(line, 'seq'), ',"t0":', json_as_text(line, 't0'), ',"auction":',
  json_as_text(line, 'auction'), ',"bidder":', json_as_text(line, 'bidder'), ',"price":', price,
  ',"bid_time_type":"',
  CASE
    WHEN hour BETWEEN 8 AND 18 THEN 'dayTime'
    WHEN hour <= 6 OR hour >= 20 THEN 'nightTime'
    ELSE 'otherTime'
  END,
  '","date_time":', date_time, ',"extra":"', extra, '","c_counts":', length(extra) - length(replace(extra, 'c', '')),
  '}') AS value
FROM (
  SELECT
    line,
    date_time,
    date_part('hour', to_timestamp_millis(date_time)) AS hour,
    CAST(json_as_text(line, 'price') AS DECIMAL(15, 0)) * CAST('0.908' AS DECIMAL(4, 3)) AS price,
    json_get_str(line, 'extra') AS extra
  FROM (
    SELECT line, json_get_int(line, 'date_time') AS date_time
    FROM (SELECT CAST(value AS STRING) AS line FROM events)
  )
)
WHERE price > 1000000 AND price < 50000000
