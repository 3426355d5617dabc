select
    current_setting('server_version'),
    current_setting('server_version_num')::int4,
    current_setting('synchronous_commit'),
    current_setting('fsync')
