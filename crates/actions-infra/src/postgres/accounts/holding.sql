-- The sessions of an account that hold, without the newest ones.
select id
from engine.session
where tenant = $1 and account = $2 and ended_at is null and expires_at > $3
order by created_at desc, id desc
offset $4
