-- Comments on what no statement of ours creates column by column.

comment on table core.refinery_schema_history is 'Migrations that were applied; written by refinery in worker migrate';
comment on column core.refinery_schema_history.version is 'Number of the migration';
comment on column core.refinery_schema_history.name is 'Name of the migration';
comment on column core.refinery_schema_history.applied_on is 'When it was applied';
comment on column core.refinery_schema_history.checksum is 'Checksum of its text';

-- The fields of a message are described once, in the contract.
do $$
declare
    v_field record;
begin
    for v_field in select e.staging, e.domain || '.' || e.entity as entity, f.field from core.entities e, unnest(e.fields) as f (field) loop
        execute format('comment on column %s.%I is %L', v_field.staging, v_field.field,
            format('Field %s of message %s', v_field.field, v_field.entity));
    end loop;
end
$$;
