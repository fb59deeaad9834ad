-- N0, Nexmark's q0: bids decoded and encoded again.
SELECT concat(
  '{"seq":', json_as_text(line, 'seq'), ',"t0":', json_as_text(line, 't0'), ',"auction":',
  json_as_text(line, 'auction'), ',"bidder":', json_as_text(line, 'bidder'), ',"price":',
  json_as_text(line, 'price'), ',"date_time":', json_as_text(line, 'date_time'), ',"extra":"',
  json_get_str(line, 'extra'), '"}') AS value
FROM (SELECT CAST(value AS STRING) AS line FROM events)
