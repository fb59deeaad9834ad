-- N1, Nexmark's q1: the price in another currency.
SELECT concat(
  '{"seq":', json_as_text(line, 'seq'), ',"t0":', json_as_text(line, 't0'), ',"auction":',
  json_as_text(line, 'auction'), ',"bidder":', json_as_text(line, 'bidder'), ',"price":',
  CAST(json_as_text(line, 'price') AS DECIMAL(15, 0)) * CAST('0.908' AS DECIMAL(4, 3)), ',"date_time":',
  json_as_text(line, 'date_time'), ',"extra":"', json_get_str(line, 'extra'), '"}') AS value
FROM (SELECT CAST(value AS STRING) AS line FROM events)
