do $$
declare
    -- Who owns the engine from now on.
    heir regrole := 'actions';
    change text;
begin
    for change in
        select format('alter database %I owner to %s', current_database(), heir)
        union all
        select format('alter schema %I owner to %s', nspname, heir)
        from pg_namespace
        where nspname in ('engine', 'actions', 'admin') or nspname like 'tenant\_%'
        union all
        select format('alter table %s owner to %s', relation.oid::regclass, heir)
        from pg_class as relation
        join pg_namespace as namespace on namespace.oid = relnamespace
        where (nspname in ('engine', 'actions', 'admin') or nspname like 'tenant\_%')
          and relkind in ('r', 'p', 'v')
        union all
        select format('alter routine %s owner to %s', routine.oid::regprocedure, heir)
        from pg_proc as routine
        join pg_namespace as namespace on namespace.oid = pronamespace
        where nspname in ('engine', 'actions')
    loop
        execute change;
    end loop;
end
$$;
