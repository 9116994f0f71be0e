-- A feed of refused messages for their publishers, and an index for the filter by publisher.

alter table core.outbox add column exchange text not null default 'acequia.alerts';
comment on column core.outbox.exchange is 'Exchange that it is published on';
comment on column core.outbox.routing_key is 'Routing key on its exchange';
comment on table core.outbox is 'Messages that the platform publishes: written in the transaction that caused them, published at least once by the worker';

create table core.rejection_feeds (
    feed_id    bigint generated always as identity primary key,
    domain     text not null,
    started_at timestamptz not null default clock_timestamp(),
    started_by text not null,
    ended_at   timestamptz,
    ended_by   text
);
create unique index rejection_feeds_open on core.rejection_feeds (domain) where ended_at is null;
comment on table core.rejection_feeds is 'Feeds of refused messages on exchange acequia.rejected, by domain, current and past';
comment on column core.rejection_feeds.feed_id is 'Number of the entry';
comment on column core.rejection_feeds.domain is 'Domain';
comment on column core.rejection_feeds.started_at is 'Since when';
comment on column core.rejection_feeds.started_by is 'Who switched it on';
comment on column core.rejection_feeds.ended_at is 'Until when; null while it is on';
comment on column core.rejection_feeds.ended_by is 'Who switched it off';

-- Filter app_id of the command line and of the API.
create index quarantine_by_app on raw.quarantine ((properties ->> 'app_id'), quarantine_id);
