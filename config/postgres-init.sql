-- First start of a server: the role that owns the database, and the database. Run as superuser; safe to repeat.
-- psql variables: app_user, app_password, app_db.
-- The role is deliberately no superuser: it may create the restricted roles of the migrations, nothing more.
select format('create role %I login createrole createdb password %L', :'app_user', :'app_password')
where not exists (select from pg_roles where rolname = :'app_user') \gexec

select format('grant pg_monitor to %I', :'app_user') \gexec

-- For the promote loop, which checks foreign keys per statement instead of per row.
select format('grant set on parameter session_replication_role to %I with grant option', :'app_user') \gexec

select format('create database %I owner %I encoding ''UTF8'' template template0', :'app_db', :'app_user')
where not exists (select from pg_database where datname = :'app_db') \gexec

-- By default every role may call these functions: with them, any role that may log in leaves large objects
-- that the owner cannot dump, and fills the disk with WAL. In the template too, for databases that are made later.
\connect template1
do $$ begin execute (
    select string_agg(format('revoke execute on function %s from public', p.oid::regprocedure), '; ') from pg_proc p
    where p.pronamespace = 'pg_catalog'::regnamespace and p.proname in ('lo_creat', 'lo_create', 'lo_from_bytea', 'pg_logical_emit_message'));
end $$;

\connect :"app_db"
do $$ begin execute (
    select string_agg(format('revoke execute on function %s from public', p.oid::regprocedure), '; ') from pg_proc p
    where p.pronamespace = 'pg_catalog'::regnamespace and p.proname in ('lo_creat', 'lo_create', 'lo_from_bytea', 'pg_logical_emit_message'));
end $$;

-- Comes with the server's contrib package; everything works without it, except the statement panels.
select 'create extension if not exists pg_stat_statements'
where exists (select from pg_available_extensions where name = 'pg_stat_statements') \gexec
