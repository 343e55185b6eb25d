-- Rows of an hour or a day beside those of a minute: "span" is the minutes of a row.
ALTER TABLE usage RENAME TO usage_of_minutes;

CREATE TABLE usage (
  span INTEGER NOT NULL,
  tenant INTEGER NOT NULL,
  minute INTEGER NOT NULL,
  key INTEGER NOT NULL,
  chain TEXT NOT NULL,
  method TEXT NOT NULL,
  provider TEXT NOT NULL,
  calls INTEGER NOT NULL,
  billable INTEGER NOT NULL,
  units INTEGER NOT NULL,
  errors_client INTEGER NOT NULL,
  errors_provider INTEGER NOT NULL,
  errors_node INTEGER NOT NULL,
  bytes_in INTEGER NOT NULL,
  bytes_out INTEGER NOT NULL,
  cache_hits INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  PRIMARY KEY (span, tenant, minute, key, chain, method, provider)
) STRICT, WITHOUT ROWID;

INSERT INTO usage (span, tenant, minute, key, chain, method, provider,
  calls, billable, units, errors_client, errors_provider, errors_node, bytes_in, bytes_out, cache_hits, attempts)
SELECT 1, tenant, minute, key, chain, method, provider,
  calls, billable, units, errors_client, errors_provider, errors_node, bytes_in, bytes_out, cache_hits, attempts
FROM usage_of_minutes;

DROP TABLE usage_of_minutes;

-- What a month's count is restored from when a node starts: it would be a long read of the rows above.
CREATE TABLE key_days (
  day INTEGER NOT NULL,
  tenant INTEGER NOT NULL,
  key INTEGER NOT NULL,
  units INTEGER NOT NULL,
  PRIMARY KEY (day, tenant, key)
) STRICT, WITHOUT ROWID;

INSERT INTO key_days (day, tenant, key, units)
SELECT minute / 1440, tenant, key, CAST(SUM(units) AS INTEGER)
FROM usage WHERE units > 0 GROUP BY minute / 1440, tenant, key;
