insert into engine_audit_head (tenant, seq, hash) values (?, ?, ?)
on conflict (tenant) do update set seq = excluded.seq, hash = excluded.hash
