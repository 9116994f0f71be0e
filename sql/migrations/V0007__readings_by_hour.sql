-- Readings arrive hour by hour, those of all clients together. In a key that begins with the client each of them goes to
-- another page, in one that begins with the hour to the same few, however many days there are. Days of a client are asked
-- of consumo.dias.

-- An archive says by itself in which order its rows were read: the key of a table may change, its checksum must not.
alter table core.archives add column key_columns text[];
comment on column core.archives.key_columns is 'Columns of the primary key when it was archived: the rows are read in their order';
update core.archives a
set key_columns = (
    select array_agg(t.attname::text order by k.position)
    from pg_index i
    cross join lateral unnest(i.indkey::int2[]) with ordinality k (attnum, position)
    join pg_attribute t on t.attrelid = i.indrelid and t.attnum = k.attnum
    where i.indrelid = a.table_name::regclass and i.indisprimary
);
alter table core.archives alter column key_columns set not null;

-- Takes about a second for a million readings, in which nobody reads or writes them.
alter table consumo.lecturas drop constraint lecturas_pkey;
alter table consumo.lecturas add primary key (instante, propietario_id);
