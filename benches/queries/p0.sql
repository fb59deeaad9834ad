-- P0, the reference: records pass as they are.
SELECT key, value FROM events
