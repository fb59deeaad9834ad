-- N21, Nexmark's q21: a regular expression for the channels that have no number of their own.
SELECT concat(
  '{"seq":', json_as_text(line, 'seq'), ',"t0":', json_as_text(line, 't0'), ',"auction":',
  json_as_text(line, 'auction'), ',"bidder":', json_as_text(line, 'bidder'), ',"price":',
  json_as_text(line, 'price'), ',"channel":"', channel, '","channel_id":"', channel_id, '"}') AS value
FROM (
  SELECT
    line,
    channel,
    CASE lower(channel)
      WHEN 'apple' THEN '0'
      WHEN 'google' THEN '1'
      WHEN 'facebook' THEN '2'
      WHEN 'baidu' THEN '3'
      ELSE regexp_match(json_get_str(line, 'url'), '(&|^)channel_id=([^&]*)')[2]
    END AS channel_id
  FROM (
    SELECT line, json_get_str(line, 'channel') AS channel
    FROM (SELECT CAST(value AS STRING) AS line FROM events)
  )
)
WHERE channel_id IS NOT NULL
