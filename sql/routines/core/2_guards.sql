-- Guards for every role: shortest retention periods, and who may discard a message.

create or replace function core.kept(p_what text, p_wish interval) returns interval
language sql stable set search_path = pg_catalog, pg_temp as $$
    -- greatest() passes over a null.
    select greatest(r.keep, p_wish) from core.retention r where r.what = p_what
$$;
comment on function core.kept(text, interval) is 'How long data are kept: the owner''s period of core.retention, or a longer one if requested; null (forever) when the owner names none';

create or replace function core.guard_discard() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    -- Only the owner may truncate. Of the login, since functions run as the owner.
    if not (pg_has_role(session_user, 'acequia_operator', 'member') or has_table_privilege(session_user, 'raw.quarantine', 'truncate')) then
        raise exception 'role % may not discard messages', session_user
            using errcode = 'insufficient_privilege', hint = 'Connect as acequia_operator: OPERATOR_DATABASE_URL.';
    end if;
    return new;
end
$$;
comment on function core.guard_discard() is 'Trigger: a message is given up by an operator, never by a program';

create or replace trigger guard_discard before update on raw.quarantine
for each row when (new.status = 'discarded' and old.status <> 'discarded') execute function core.guard_discard();
comment on trigger guard_discard on raw.quarantine is 'Lets only operators set the status discarded';
-- The worker may switch the ordinary triggers of its session off (0_references.sql).
alter table raw.quarantine enable always trigger guard_discard;
