-- Who we are, whether rules for rows hold us at all, and who else owns a table of the engine.
-- Partitions are left out: whoever owns the schema may drop them, and they are read through their
-- parents.
select
    session_user::text as name,
    current_database()::text as database,
    bool_or(rolsuper) as is_superuser,
    bool_or(rolbypassrls) as bypasses_rules,
    (
        select min(pg_get_userbyid(relowner)::text)
        from pg_class
        where relnamespace = to_regnamespace('engine') and relkind in ('r', 'p')
          and not relispartition and not pg_has_role(current_user, relowner, 'usage')
    ) as stranger
from pg_roles
where rolname in (session_user, current_user)
