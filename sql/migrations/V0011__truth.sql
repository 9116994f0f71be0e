-- Locks that only the owner's functions can take, what workers saw of their queues, the order of the outbox.

create table core.locks (
    name text primary key
);
comment on table core.locks is 'Locks between processes: a function of the owner locks the row. No other role may, unlike with advisory locks, which every role that may log in can take under any key and keep';
comment on column core.locks.name is 'What is locked: promote.<domain>, check.<domain>, outbox.<domain>, refresh.<mart>, partitions, retain, archive';

create table core.session_locks (
    name     text primary key references core.locks,
    key      bigint not null,
    taken_at timestamptz not null default clock_timestamp()
);
comment on table core.session_locks is 'Locks that outlive a transaction; see core.hold_lock';
comment on column core.session_locks.name is 'Lock';
comment on column core.session_locks.key is 'Advisory lock that the session has for as long as it lives, drawn anew each time: nobody can take it before';
comment on column core.session_locks.taken_at is 'Since when';

create table core.queue_looks (
    queue     text primary key,
    domain    text,
    looked_at timestamptz,
    ready     bigint not null default 0,
    consumers integer not null default 0,
    passed_at timestamptz,
    mark_at   timestamptz,
    mark_left bigint,
    mark_due  timestamptz,
    mark_live integer
);
comment on table core.queue_looks is 'What is known of each queue; written by core.note_looks';
comment on column core.queue_looks.queue is 'Queue';
comment on column core.queue_looks.domain is 'Domain of its messages; null for the queue of messages that the broker gave up';
comment on column core.queue_looks.looked_at is 'Last look at which every consumer of the queue was one that tells here what it holds; null before the first';
comment on column core.queue_looks.ready is 'Messages that were ready at the last look';
comment on column core.queue_looks.consumers is 'Consumers that the broker counted then';
comment on column core.queue_looks.passed_at is 'Every message that was in the queue before has been taken and staged, or put in quarantine; null when that was never seen';
comment on column core.queue_looks.mark_at is 'The look that is being followed: passed_at moves there when everything that was in the queue then is done';
comment on column core.queue_looks.mark_left is 'Messages that were ready at that look and are not known to have been delivered';
comment on column core.queue_looks.mark_due is 'When the last of them was delivered; null before';
comment on column core.queue_looks.mark_live is 'Consumers that tell what they hold, at that look; when their number changes the look is given up for a new one';

create table core.queue_consumers (
    queue      text not null,
    worker     text not null,
    since      timestamptz not null,
    looked_at  timestamptz not null,
    arrived    bigint not null,
    held_since timestamptz,
    given_at   timestamptz,
    primary key (queue, worker)
);
comment on table core.queue_consumers is 'Workers that consume a queue, and what they hold; written by core.note_looks';
comment on column core.queue_consumers.queue is 'Queue';
comment on column core.queue_consumers.worker is 'Process';
comment on column core.queue_consumers.since is 'Its consumer began; what an earlier one held went back to the queue';
comment on column core.queue_consumers.looked_at is 'Its last look at the queue';
comment on column core.queue_consumers.arrived is 'Messages that this consumer was given since it began';
comment on column core.queue_consumers.given_at is 'By then it had been given whatever it gets of the messages of the look that is being followed; null before';
comment on column core.queue_consumers.held_since is 'Arrival of the oldest message that it has not acknowledged; null when it holds none';

alter table core.outbox
    add column key text,
    add column attempts integer not null default 0,
    add column retry_at timestamptz,
    add column error text;
create index outbox_refused on core.outbox (domain, retry_at) where published_at is null and retry_at is not null;
comment on column core.outbox.id is 'Number, in the order of writing; it is published with the message: of two messages with one key the one with the greater number is the newer';
comment on column core.outbox.key is 'What the message is about: messages with one key are published in their order, and a refused one keeps back those behind it; the routing key when null';
comment on column core.outbox.attempts is 'How often the broker refused it';
comment on column core.outbox.retry_at is 'A refused message is published again from then on';
comment on column core.outbox.error is 'Why it was refused the last time';
