-- Rights by duty, periods that the owner sets, and the programs that this schema serves.

-- Roles belong to the whole server: another database may have made them already.
do $$
declare
    v_role text;
begin
    foreach v_role in array array['acequia_archive', 'acequia_operator'] loop
        begin
            if not exists (select from pg_catalog.pg_roles where rolname = v_role) then
                execute format('create role %I login', v_role);
            end if;
        exception when duplicate_object or unique_violation then
            null; -- made by a neighbour between the look and the statement
        end;
    end loop;
end
$$;

create table core.rights (
    role      text not null,
    kind      text not null check (kind in ('schema', 'table', 'column', 'sequence', 'function')),
    object    text not null,
    privilege text not null,
    duty      text not null,
    primary key (role, kind, object, privilege)
);
comment on table core.rights is 'The rights of the roles of the platform, each with the duty that needs it; written by core.apply_rights, never by hand';
comment on column core.rights.role is 'Role';
comment on column core.rights.kind is 'schema, table (also a view), column, sequence or function';
comment on column core.rights.object is 'Name with schema; a column as table.column, a function with the types of its arguments';
comment on column core.rights.privilege is 'Privilege, as PostgreSQL names it';
comment on column core.rights.duty is 'Duty that needs it';

create table core.retention (
    what text primary key check (what in ('staging', 'quarantine', 'logs')),
    keep interval not null,
    constraint kept_long_enough check (keep >= case what
        when 'staging' then interval '1 day' when 'quarantine' then interval '30 days' else interval '7 days' end)
);
comment on table core.retention is 'How long data are kept; the owner sets it (worker migrate --staging-keep and the like), and no worker can keep them for less';
comment on column core.retention.what is 'staging: promoted rows, where copies are recognised; quarantine: messages that were replayed or discarded, and the audit log; logs: runs, refreshes, results of rules, published alerts';
comment on column core.retention.keep is 'How long; at least a day for staging, 30 days for quarantine, 7 days for logs';
insert into core.retention (what, keep) values ('staging', '30 days'), ('quarantine', '365 days'), ('logs', '90 days');

create table core.served (
    oldest_program integer not null
);
create unique index served_once on core.served ((true));
comment on table core.served is 'Which programs work on this schema, one row; written by worker migrate';
comment on column core.served.oldest_program is 'Schema version of the oldest program that works on this schema; older ones refuse to start';

create table core.routine_history (
    path       text not null,
    checksum   text not null,
    applied_at timestamptz not null default now(),
    primary key (path, checksum)
);
comment on table core.routine_history is 'Every text of a repeatable SQL file that was ever applied: a program whose text is here and not current is older than the schema';
comment on column core.routine_history.path is 'File';
comment on column core.routine_history.checksum is 'SHA-256 of its text';
comment on column core.routine_history.applied_at is 'When it was applied first';
insert into core.routine_history (path, checksum, applied_at) select r.path, r.checksum, r.applied_at from core.routines r;

create table core.kept_objects (
    position  integer primary key,
    object    text not null,
    was       oid not null,
    kind      text not null check (kind in ('view', 'index', 'grant')),
    name      text not null,
    statement text not null
);
comment on table core.kept_objects is 'What others have made of our views: their own views, indexes and grants. Written before a migration, made again and deleted after it; rows are left when it failed';
comment on column core.kept_objects.position is 'Order of making';
comment on column core.kept_objects.object is 'View of ours, or of theirs, that it belongs to';
comment on column core.kept_objects.was is 'Object id of that view before the migration';
comment on column core.kept_objects.kind is 'view, index or grant';
comment on column core.kept_objects.name is 'Name of the view or index; grantee of a grant';
comment on column core.kept_objects.statement is 'Statement that makes it again';
