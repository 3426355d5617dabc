-- The sessions of an account that hold, without the newest ones.
select id
from engine_session
where tenant = ? and account = ? and ended_at is null and expires_at > ?
order by created_at desc, id desc
limit -1 offset ?
