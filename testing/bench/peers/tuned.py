"""A worker as a careful Python team would write it: aio-pika, Pydantic, asyncpg, uvloop.

Batches of up to 5,000 messages, validated with one call per entity, written with COPY in one
transaction, acknowledged with one frame after the commit; promotion by the same SQL functions on
a second connection, at the same time. The rules of delivery are the same: an acknowledged
message is committed, a copy is recognised by its id, a message that breaks its contract is kept.
"""

import asyncio
import json
import os
import signal
from collections import defaultdict
from datetime import datetime, timezone
from functools import lru_cache
from uuid import UUID, uuid5

import aio_pika
import asyncpg
import uvloop
from pydantic import TypeAdapter, ValidationError

from contract import KINDS, NO_DAY, day_of

DOMAIN = "academico"
QUEUE = f"acequia.{DOMAIN}"
BATCH_MAX = 5_000
QUIET = 0.002
PROMOTE_MAX = 40_000

ENVELOPE = ("message_id", "day", "batch_id", "event_at", "published_at")
LISTS = {name: TypeAdapter(list[kind]) for name, kind in KINDS.items()}
NAMESPACE = UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")

day_of = lru_cache(maxsize=64)(day_of)


def identity(message):
    if message.message_id:
        uid = UUID(message.message_id)
    else:
        uid = uuid5(NAMESPACE, f"{QUEUE}:{message.body!r}")
    if uid.version != 7:
        return uid, NO_DAY
    # Whole seconds, so that the days are nearly always found in the cache.
    return uid, day_of((uid.int >> 80) // 3_600_000 * 3_600_000)


def validate(name, messages):
    """Models of the good messages with their messages, and the bad ones with their errors."""
    try:
        joined = b"[" + b",".join([message.body for message in messages]) + b"]"
        models = LISTS[name].validate_json(joined)
        if len(models) == len(messages):
            return list(zip(models, messages)), []
    except ValidationError:
        pass
    good, bad = [], []
    for message in messages:
        try:
            good.append((KINDS[name].model_validate_json(message.body), message))
        except ValidationError as error:
            bad.append((message, error.errors(include_url=False, include_input=False)))
    return good, bad


def records(name, batch_id, good):
    columns = KINDS[name].columns
    rows = []
    for model, message in good:
        uid, day = identity(message)
        published = message.headers.get("x-published-at")
        if published is not None:
            published = datetime.fromtimestamp(published / 1e6, timezone.utc)
        values = model.__dict__
        event_at = values["ts"] or published or datetime.now(timezone.utc)
        rows.append((uid, day, batch_id, event_at, published, *[values[c] for c in columns]))
    return rows


class Stager:
    def __init__(self, connection, staged):
        self.connection = connection
        self.staged = staged

    async def write(self, messages):
        by_name = defaultdict(list)
        for message in messages:
            by_name[(message.type or message.routing_key).rpartition(".")[2]].append(message)
        batch_id = await self.connection.fetchval("select nextval('core.batch_id')")
        work = {}
        for name, group in by_name.items():
            if name in KINDS:
                good, bad = validate(name, group)
                work[name] = records(name, batch_id, good), bad
            else:
                work[name] = [], [(message, [{"type": "unknown_entity"}]) for message in group]
        try:
            await self.transact(batch_id, work, self.copy)
        except asyncpg.UniqueViolationError:
            # Messages that were delivered before: the slower way leaves them out.
            await self.transact(batch_id, work, self.insert)
        self.staged.set()

    async def transact(self, batch_id, work, stage):
        async with self.connection.transaction():
            entries = []
            for name, (rows, bad) in work.items():
                new = await stage(name, rows) if rows else 0
                kept = await self.quarantine(batch_id, name, bad) if bad else 0
                received = len(rows) + len(bad)
                times = [row[4] for row in rows if row[4]]
                oldest, newest = min(times, default=None), max(times, default=None)
                entries.append(
                    (batch_id, DOMAIN, name, received, received - new - kept, new, kept, oldest, newest)
                )
            state = "staged" if any(entry[5] for entry in entries) else "promoted"
            await self.connection.execute(
                "insert into core.batches (batch_id, domain, queue, worker, state) values ($1, $2, $3, 'tuned', $4)",
                batch_id, DOMAIN, QUEUE, state,
            )
            await self.connection.executemany(
                "insert into core.batch_entities (batch_id, domain, entity, received, duplicates, staged, quarantined,"
                " oldest_published_at, newest_published_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                entries,
            )

    async def copy(self, name, rows):
        kind = KINDS[name]
        await self.connection.copy_records_to_table(
            kind.table, schema_name="stg", columns=ENVELOPE + kind.columns, records=rows
        )
        return len(rows)

    async def insert(self, name, rows):
        kind = KINDS[name]
        columns = ", ".join(ENVELOPE + kind.columns)
        values = ", ".join(f"${place}" for place in range(1, len(ENVELOPE + kind.columns) + 1))
        statement = await self.connection.prepare(
            f"insert into stg.{kind.table} ({columns}) values ({values}) on conflict do nothing returning 1"
        )
        new = 0
        for row in rows:
            new += await statement.fetchval(*row) or 0
        return new

    async def quarantine(self, batch_id, name, bad):
        rows = [
            (*identity(message), batch_id, DOMAIN, name, QUEUE, "contract", errors[0]["type"],
             errors[0].get("msg", ""), json.dumps(errors, default=str), message.body, name)
            for message, errors in bad
        ]
        kept = await self.connection.fetch(
            "insert into raw.quarantine (message_id, day, batch_id, domain, entity, queue, stage, code, message,"
            " violations, body, fingerprint)"
            " select * from unnest($1::uuid[], $2::date[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[],"
            " $8::text[], $9::text[], $10::jsonb[], $11::bytea[], $12::text[]) on conflict do nothing returning 1",
            *[list(column) for column in zip(*rows)],
        )
        return len(kept)


async def consume(channel, stager, stop):
    arrivals = asyncio.Queue()
    queue = await channel.get_queue(QUEUE, ensure=False)
    await queue.consume(arrivals.put)
    while not stop.is_set():
        first = asyncio.ensure_future(arrivals.get())
        stopped = asyncio.ensure_future(stop.wait())
        await asyncio.wait({first, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not first.done():
            first.cancel()
            return
        batch = [first.result()]
        while len(batch) < BATCH_MAX:
            try:
                batch.append(arrivals.get_nowait())
            except asyncio.QueueEmpty:
                try:
                    batch.append(await asyncio.wait_for(arrivals.get(), QUIET))
                except asyncio.TimeoutError:
                    break
        await stager.write(batch)
        await batch[-1].ack(multiple=True)


async def promote(connection, staged, stop):
    while not stop.is_set():
        staged.clear()
        while await connection.fetch("select * from core.promote_domain($1, $2)", DOMAIN, PROMOTE_MAX):
            pass
        try:
            await asyncio.wait_for(staged.wait(), 0.25)
        except asyncio.TimeoutError:
            pass


async def main():
    stop, staged = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    settings = {"synchronous_commit": "on", "timezone": "UTC"}
    stage = await asyncpg.connect(os.environ["DATABASE_URL"], server_settings=settings)
    merge = await asyncpg.connect(os.environ["DATABASE_URL"], server_settings=settings)
    # Foreign keys are checked once per statement then, see sql/routines/core/0_references.sql.
    await merge.execute("set session_replication_role = replica")
    broker = await aio_pika.connect(os.environ["AMQP_URL"])
    channel = await broker.channel()
    await channel.set_qos(prefetch_count=2 * BATCH_MAX)
    await asyncio.gather(
        consume(channel, Stager(stage, staged), stop), promote(merge, staged, stop)
    )
    await broker.close()
    await stage.close()
    await merge.close()


uvloop.run(main())
