-- One row, which every change of tenants, plans and keys holds until its commit.
CREATE TABLE revision (
  only_row INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
  revision INTEGER NOT NULL
) STRICT;
INSERT INTO revision (only_row, revision) VALUES (1, 0);

CREATE TABLE tenants (
  id INTEGER NOT NULL PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  note TEXT NOT NULL,
  created_s INTEGER NOT NULL,
  revision INTEGER NOT NULL
) STRICT;

CREATE TABLE plans (
  id INTEGER NOT NULL PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  terms TEXT NOT NULL,
  created_s INTEGER NOT NULL,
  revision INTEGER NOT NULL
) STRICT;

CREATE TABLE keys (
  id INTEGER NOT NULL PRIMARY KEY,
  hash BLOB NOT NULL UNIQUE,
  tenant INTEGER NOT NULL REFERENCES tenants (id),
  plan INTEGER NOT NULL REFERENCES plans (id),
  rules TEXT NOT NULL,
  label TEXT NOT NULL,
  created_s INTEGER NOT NULL,
  expires_s INTEGER,
  revoked_s INTEGER,
  revision INTEGER NOT NULL
) STRICT;
CREATE INDEX keys_by_revision ON keys (revision);
CREATE INDEX keys_by_tenant ON keys (tenant, id);

-- The last batch of each boot of a node; "place" orders boots by when they were last heard of.
CREATE TABLE commits (
  node TEXT NOT NULL,
  boot BLOB NOT NULL,
  last INTEGER NOT NULL,
  place INTEGER NOT NULL,
  PRIMARY KEY (node, boot)
) STRICT;
CREATE INDEX commits_by_place ON commits (place);

-- Names no tenant and no key: what was used is counted, whatever has become of them.
CREATE TABLE usage (
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
  PRIMARY KEY (tenant, minute, key, chain, method, provider)
) STRICT, WITHOUT ROWID;
