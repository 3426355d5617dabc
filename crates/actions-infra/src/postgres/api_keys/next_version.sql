-- Until this commits, whoever else revokes or rotates a key waits here.
update engine.api_key_version set version = version + 1 returning version
