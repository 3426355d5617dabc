do $$
begin
    if to_regrole('actions_tenant') is null then
        create role actions_tenant nologin;
    end if;
    grant actions_tenant to current_user;
end
$$
