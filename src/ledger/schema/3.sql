-- The key whose quota a key takes from, where that is not itself: a rotated one shares what its predecessor was sold.
ALTER TABLE keys ADD COLUMN quota INTEGER;

CREATE INDEX keys_by_quota ON keys (quota) WHERE quota IS NOT NULL;
