CREATE EXTERNAL TABLE events STORED AS KAFKA LOCATION 'kafka://broker1:9092,broker2:9092/in'
  OPTIONS ('startingOffsets' 'earliest', 'maxOffsetsPerTrigger' '500', 'kafka.security.protocol' 'SASL_SSL',
           'kafka.ssl.ca.location' '/etc/ssl/certs/ca.pem', 'kafka.sasl.mechanism' 'SCRAM-SHA-512',
           'kafka.sasl.username' 'me', 'kafka.sasl.password' 'secret', 'kafka.queued.min.messages' '1000');
CREATE EXTERNAL TABLE "more-events" STORED AS KAFKA LOCATION 'kafka://broker1:9092/more';
CREATE EXTERNAL TABLE errors STORED AS KAFKA LOCATION 'kafka://broker1:9092/errors';

CREATE VIEW texts AS SELECT key, CAST(value AS STRING) AS text, "offset" FROM events;

INSERT INTO errors
  SELECT key, concat("offset", ': ', upper(text)) AS value FROM texts WHERE text LIKE '%error%' OR text IS NULL
  UNION ALL
  SELECT key, CAST(value AS STRING) FROM "more-events" WHERE partition < 3;
