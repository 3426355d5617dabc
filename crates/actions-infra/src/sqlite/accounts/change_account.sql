-- A revision that is old changes nothing.
update engine_account
set revision = revision + 1,
    password = coalesce(?5, password),
    password_set_at = case when ?5 is null then password_set_at else ?4 end,
    role = coalesce(?6, role),
    disabled_at = case ?7 when 'disable' then ?4 when 'enable' then null else disabled_at end
where tenant = ?1 and id = ?2 and revision = ?3
returning *
