-- What tells whether keys are hashed under this pepper; absent until one is made, or a node starts with no key to lose.
ALTER TABLE revision ADD COLUMN pepper BLOB;
