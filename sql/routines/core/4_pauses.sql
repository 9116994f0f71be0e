-- Pausing a domain's stream: workers take nothing more from its queues, and everything else goes on (ADR 54).

create or replace function core.pause_stream(p_domain text, p_who text, p_reason text)
returns table (domain text, paused boolean, changed boolean, since timestamptz, who text, reason text)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_changed boolean;
begin
    insert into core.stream_pauses (domain, paused_by, reason)
    select p_domain, coalesce(p_who, session_user), p_reason
    where exists (select from core.entities e where e.domain = p_domain)
    on conflict (domain) where resumed_at is null do nothing;
    v_changed := found;
    if v_changed then
        insert into core.audit_log (who, action, filters, reason)
        values (coalesce(p_who, session_user), 'pause_stream', jsonb_build_object('domain', p_domain), p_reason);
        perform pg_notify('acequia', 'pauses ' || p_domain);
    end if;
    return query
    select s.domain, true, v_changed, s.paused_at, s.paused_by, s.reason
    from core.stream_pauses s where s.domain = p_domain and s.resumed_at is null;
end
$$;
comment on function core.pause_stream(text, text, text) is 'Has workers leave the messages of a domain in its queues; a stream that is paused stays so. No row: there is no such domain';

create or replace function core.resume_stream(p_domain text, p_who text, p_reason text)
returns table (domain text, paused boolean, changed boolean, since timestamptz, who text, reason text)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_pause core.stream_pauses;
begin
    update core.stream_pauses s
    set resumed_at = clock_timestamp(), resumed_by = coalesce(p_who, session_user), resume_reason = p_reason
    where s.domain = p_domain and s.resumed_at is null
    returning s.* into v_pause;
    if v_pause.pause_id is not null then
        insert into core.audit_log (who, action, filters, reason)
        values (v_pause.resumed_by, 'resume_stream', jsonb_build_object('domain', p_domain, 'paused_at', v_pause.paused_at), p_reason);
        perform pg_notify('acequia', 'pauses ' || p_domain);
    end if;
    return query
    select p_domain, false, v_pause.pause_id is not null, v_pause.resumed_at, v_pause.resumed_by, v_pause.resume_reason
    where exists (select from core.entities e where e.domain = p_domain);
end
$$;
comment on function core.resume_stream(text, text, text) is 'Has workers take the messages of a domain again; a stream that is not paused stays so. No row: there is no such domain';
