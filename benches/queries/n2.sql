-- N2, Nexmark's q2: few auctions pass.
SELECT concat(
  '{"seq":', json_as_text(line, 'seq'), ',"t0":', json_as_text(line, 't0'), ',"auction":', auction, ',"price":',
  json_as_text(line, 'price'), '}') AS value
FROM (
  SELECT line, json_get_int(line, 'auction') AS auction
  FROM (SELECT CAST(value AS STRING) AS line FROM events)
)
WHERE auction % 123 = 0
