-- N22, Nexmark's q22: parts of a URL.
SELECT concat(
  '{"seq":', json_as_text(line, 'seq'), ',"t0":', json_as_text(line, 't0'), ',"auction":',
  json_as_text(line, 'auction'), ',"bidder":', json_as_text(line, 'bidder'), ',"price":',
  json_as_text(line, 'price'), ',"channel":"', json_get_str(line, 'channel'), '","dir1":"',
  split_part(url, '/', 4), '","dir2":"', split_part(url, '/', 5), '","dir3":"', split_part(url, '/', 6), '"}') AS value
FROM (
  SELECT line, json_get_str(line, 'url') AS url
  FROM (SELECT CAST(value AS STRING) AS line FROM events)
)
