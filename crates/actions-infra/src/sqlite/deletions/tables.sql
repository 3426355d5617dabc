-- Tables of ours with a column for the tenant, and what identifies their rows.
select
    known.name,
    owner.name as owner,
    (select group_concat(name, ', ')
     from (select name from pragma_table_info(known.name) where pk > 0 order by pk)) as key
from sqlite_schema as known
join pragma_table_info(known.name) as owner on owner.name in ('tenant', 'tenant_id')
where known.type = 'table' and known.name like 'engine\_%' escape '\'
order by known.name
