-- What a failover of the database may take with it.

alter table core.batches add column identity uuid;
comment on column core.batches.identity is 'Made by the worker, one for each attempt to write a batch. Numbers of batches are used again by a server that lost those given last; this is not. Null in batches of older workers';

create table core.lost_batches (
    identity            uuid primary key,
    batch_id            bigint not null,
    domain              text not null,
    queue               text not null,
    worker              text not null,
    messages            bigint not null,
    acknowledged_at     timestamptz not null,
    oldest_published_at timestamptz,
    newest_published_at timestamptz,
    noticed_at          timestamptz not null default now(),
    noticed_by          text not null,
    system_identifier   bigint,
    timeline            integer,
    check (messages > 0)
);
create index lost_batches_noticed on core.lost_batches (noticed_at);
comment on table core.lost_batches is 'Batches that were committed and acknowledged to the broker, and that this server does not have: it took over without them. Written by the worker that acknowledged them; kept for good';
comment on column core.lost_batches.identity is 'Identity of the batch, as it stood in core.batches';
comment on column core.lost_batches.batch_id is 'Number of the batch; another batch of core.batches may have it now';
comment on column core.lost_batches.domain is 'Domain of the batch';
comment on column core.lost_batches.queue is 'Queue it came from';
comment on column core.lost_batches.worker is 'Process that acknowledged it';
comment on column core.lost_batches.messages is 'Messages in it, copies and quarantined ones among them';
comment on column core.lost_batches.acknowledged_at is 'When it was acknowledged, by the worker''s clock';
comment on column core.lost_batches.oldest_published_at is 'When the first of its valid messages was published; null when it has none';
comment on column core.lost_batches.newest_published_at is 'When the last of its valid messages was published; null when it has none';
comment on column core.lost_batches.noticed_at is 'When it was missed';
comment on column core.lost_batches.noticed_by is 'Role that noted it';
comment on column core.lost_batches.system_identifier is 'Cluster that does not have it (pg_control_system); null when the role may not ask';
comment on column core.lost_batches.timeline is 'Timeline of the server that does not have it; null when the role may not ask';

create table core.servers (
    system_identifier bigint not null,
    timeline          integer not null,
    since             timestamptz not null default now(),
    primary key (system_identifier, timeline)
);
comment on table core.servers is 'Where this database has lived: a new timeline is a standby that was promoted or a backup that was restored, a new cluster is a copy';
comment on column core.servers.system_identifier is 'Cluster, as pg_control_system tells';
comment on column core.servers.timeline is 'Timeline of its log';
comment on column core.servers.since is 'When a worker first saw it';
